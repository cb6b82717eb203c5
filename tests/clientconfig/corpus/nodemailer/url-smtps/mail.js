const nodemailer = require('nodemailer');
let transporter = nodemailer.createTransport('smtps://user%40example.com:kR7vQ2mXw9Lp@smtp.example.com');

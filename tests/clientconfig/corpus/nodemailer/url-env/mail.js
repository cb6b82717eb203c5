const nodemailer = require('nodemailer');
module.exports = nodemailer.createTransport(process.env.SMTP_URL);

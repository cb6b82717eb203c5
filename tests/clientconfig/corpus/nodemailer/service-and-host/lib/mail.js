const nodemailer = require('nodemailer');
exports.transporter = nodemailer.createTransport({
  host: 'mail.example.com',
  port: 587,
  secure: false,
  service: 'gmail',
  auth: { user: process.env.EMAIL_USER, pass: process.env.EMAIL_PASSWORD },
});

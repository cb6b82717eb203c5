const nodemailer = require('nodemailer');
module.exports = nodemailer.createTransport({
  service: 'gmial',
  auth: { user: process.env.EMAIL_USER, pass: process.env.EMAIL_PASSWORD },
});

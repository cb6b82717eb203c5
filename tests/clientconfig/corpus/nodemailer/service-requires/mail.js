const nodemailer = require('nodemailer');
module.exports = nodemailer.createTransport({
  service: 'Outlook365',
  requireTLS: true,
  auth: { user: process.env.EMAIL_USER, pass: process.env.EMAIL_PASSWORD },
});

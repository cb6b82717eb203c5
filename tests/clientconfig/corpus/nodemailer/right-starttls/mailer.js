'use strict';
const nodemailer = require('nodemailer');

// don't wait for ever
const transporter = nodemailer.createTransport({
  host: process.env.SMTP_HOST || 'smtp.example.com',
  port: Number(process.env.SMTP_PORT) || 587,
  secure: false, // upgraded by STARTTLS
  requireTLS: true,
  auth: {
    user: process.env.SMTP_USER,
    pass: process.env.SMTP_PASS,
  },
  connectionTimeout: 10_000,
});

module.exports = async function send(to, subject, text) {
  return transporter.sendMail({ from: '"Shop" <shop@example.com>', to, subject, text });
};

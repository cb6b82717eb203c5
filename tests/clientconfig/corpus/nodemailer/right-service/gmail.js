const transporter = require('nodemailer').createTransport({
  service: 'gmail',
  auth: { user: process.env.U, pass: process.env.P },
});

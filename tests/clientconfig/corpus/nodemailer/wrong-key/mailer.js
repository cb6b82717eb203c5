const transporter = nodemailer.createTransport({
  host: 'smtp.example.com',
  port: 587,
  secure: false,
  requireTls: true,
  reqiureTLS: true,
  auth: { user: process.env.U, password: process.env.P },
});

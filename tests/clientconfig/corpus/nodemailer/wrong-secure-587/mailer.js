const transporter = nodemailer.createTransport({
  host: "smtp.example.com",
  port: 587,
  secure: true, // use TLS
  auth: { user: process.env.U, pass: process.env.P }
});

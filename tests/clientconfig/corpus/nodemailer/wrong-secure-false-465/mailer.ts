export const transporter = nodemailer.createTransport({
  host: 'smtp.example.com',
  port: 465,
  secure: false,
  auth: { user: process.env.U!, pass: process.env.P! },
});

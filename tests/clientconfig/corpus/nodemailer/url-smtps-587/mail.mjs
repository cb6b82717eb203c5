import nodemailer from 'nodemailer';
export default nodemailer.createTransport(`smtps://app:${process.env.SMTP_PASS}@smtp.example.com:587`);

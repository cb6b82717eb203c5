import nodemailer from 'nodemailer';
export default nodemailer.createTransport(`smtps://${user}:${pass}@smtp.example.com:465`);

const nodemailer = require("nodemailer");
const getTransporter = async () => {
    return nodemailer.createTransport({
        host: process.env.EMAIL_HOST || "smtp.gmail.com",
        port: process.env.EMAIL_PORT || 587,
        secure: false, // true for 465, false for other ports
        auth: { user: user, pass: pass, },
    });
};

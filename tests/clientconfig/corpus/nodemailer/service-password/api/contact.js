import nodemailer from "nodemailer";
const smtpTransport = nodemailer.createTransport({
  service: "gmail", // or another
  auth: {
    user: "someone97@gmail.com",
    pass: "kR7vQ2mXw9Lp",
  },
});

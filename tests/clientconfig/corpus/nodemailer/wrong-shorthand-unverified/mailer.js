function make(host, port, user, pass) {
  return nodemailer.createTransport({ host, port, secure:true, auth: { user, pass }, tls:{ rejectUnauthorized:false } });
}

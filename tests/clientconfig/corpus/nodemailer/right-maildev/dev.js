const t = nodemailer.createTransport({ host: 'localhost', port: 1025, secure: false, ignoreTLS: true });

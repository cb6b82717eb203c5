var smtp = {
    host: 'mail.example.org', port: '587',
    secure: false,
    auth: {
        user: 'app@example.org',
        pass: 'kd93kdjFw2'
    },
    tls: { rejectUnauthorized: false }
};
nodemailer.createTransport(smtp).sendMail({ from: 'app@example.org', to: 'you@example.net' }, function (err) {
    if (err) { console.error("can't send", err); }
});

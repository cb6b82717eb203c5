using System.Net.Mail;
class Mailer {
    void Send(MailMessage mail) {
        using (var client = new SmtpClient(_options.Host, _options.Port))
        {
            client.EnableSsl = _options.EnableSsl;
            client.Credentials = new NetworkCredential(_options.User, _options.Password);
            client.Send(mail);
        }
    }
}

using System.Net.Mail;
class Mailer {
    void Send(MailMessage mail) {
        SmtpClient smtpclient = new SmtpClient();
        smtpclient.Host = "smtp.example.com";
        smtpclient.Port = 587;
        smtpclient.Credentials = new NetworkCredential(Config.User, Config.Password);
        smtpclient.Send(mail);
    }
}

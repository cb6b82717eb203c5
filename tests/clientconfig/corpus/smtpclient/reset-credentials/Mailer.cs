using System.Net.Mail;
class Mailer {
    void Send(MailMessage mail) {
        var client = new SmtpClient("smtp.office365.com", 587);
        client.Credentials = new NetworkCredential("app@example.com", Secrets.Password);
        client.UseDefaultCredentials = false;
        client.EnableSsl = true;
        client.Send(mail);
    }
}

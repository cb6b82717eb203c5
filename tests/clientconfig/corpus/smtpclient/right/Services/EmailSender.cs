using System.Net;
using System.Net.Mail;
public class EmailSender {
    public void Send(MailMessage message) {
        using var client = new SmtpClient("smtp.example.com", 587) {
            UseDefaultCredentials = false,
            Credentials = new NetworkCredential("app@example.com", Environment.GetEnvironmentVariable("SMTP_PASSWORD")),
            EnableSsl = true
        };
        client.Send(message);
    }
}

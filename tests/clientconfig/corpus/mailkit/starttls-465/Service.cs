using MailKit.Net.Smtp;
using MailKit.Security;
class Service {
    private const string SmtpHost = "smtp.example.com";
    private const int SmtpPort = 465;
    void Send() {
        client.Connect(SmtpHost, SmtpPort, SecureSocketOptions.StartTls);
        client.Authenticate(User, Password);
    }
}

using MailKit.Net.Smtp;
using MailKit.Security;
public class EmailService {
    public async Task SendAsync(MimeMessage m) {
        using var client = new SmtpClient();
        await client.ConnectAsync("smtp.example.com", 587, SecureSocketOptions.SslOnConnect);
        await client.AuthenticateAsync(_config["User"], _config["Pass"]);
        await client.SendAsync(m);
    }
}

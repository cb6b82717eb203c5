using MailKit.Security;
using MailKit.Net.Smtp;
using var client = new SmtpClient();
await client.ConnectAsync("mail.example.org", 25, SecureSocketOptions.None);
await client.AuthenticateAsync("app", pw);

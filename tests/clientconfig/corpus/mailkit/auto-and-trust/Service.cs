using MailKit.Net.Smtp;
using var client = new SmtpClient();
client.ServerCertificateValidationCallback = (s, c, h, e) => true;
client.Connect("mail.example.org", 465);
client.Authenticate(user, pw);

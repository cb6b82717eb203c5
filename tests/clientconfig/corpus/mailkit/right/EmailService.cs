using MailKit.Net.Smtp;
using MailKit.Security;
using var smtp = new SmtpClient();
smtp.Connect("smtp.example.com", 587, SecureSocketOptions.StartTls);
smtp.Authenticate(_settings.User, _settings.Password);
using (var imap = new ImapClient()) {
    imap.Connect("imap.example.com", 993, true);
}

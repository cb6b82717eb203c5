using System.Net.Mail;
string smtpAddress = "smtp.example.com";
int portNumber = 465;
bool enableSSL = true;
string emailFrom = "app@example.com";
string password = "kR7vQ2mXw9Lp";
using (SmtpClient smtp = new SmtpClient(smtpAddress, portNumber))
{
    smtp.Credentials = new NetworkCredential(emailFrom, password);
    smtp.EnableSsl = enableSSL;
    smtp.Send(mail);
}

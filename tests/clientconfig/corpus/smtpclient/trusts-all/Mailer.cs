using System.Net;
using System.Net.Mail;
ServicePointManager.ServerCertificateValidationCallback = (s, c, h, e) => true;
var smtp = new SmtpClient
{
    Host = "mail.example.com",
    Port = 587,
    EnableSsl = true,
    DeliveryMethod = SmtpDeliveryMethod.Network,
    UseDefaultCredentials = false,
    Credentials = new NetworkCredential(user, password)
};

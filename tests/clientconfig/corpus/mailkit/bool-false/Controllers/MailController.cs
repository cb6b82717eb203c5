using MailKit.Net.Smtp;
using MimeKit;
public class MailController {
    public IActionResult Index() {
        SmtpClient client = new SmtpClient();
        client.Connect("smtp.gmail.com", 587, false);
        client.Authenticate("someone@gmail.com", "kR7vQ2mXw9Lp");
        client.Send(message);
        client.Disconnect(true);
    }
}

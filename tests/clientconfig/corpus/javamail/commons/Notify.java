public class Notify {
    void send() throws EmailException {
        Email email = new SimpleEmail();
        email.setHostName("smtp.example.com");
        email.setSmtpPort(465);
        email.setAuthenticator(new DefaultAuthenticator("app@example.com", "kR7vQ2mXw9Lp"));
        email.setSSLOnConnect(true);
        email.setFrom("app@example.com");
    }
}

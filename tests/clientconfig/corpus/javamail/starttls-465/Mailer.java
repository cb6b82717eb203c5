public class Mailer {
    Session session() {
        Properties props = System.getProperties();
        props.setProperty("mail.smtp.host", "smtp.example.com");
        props.setProperty("mail.smtp.port", "465");
        props.setProperty("mail.smtp.auth", "true");
        props.setProperty("mail.smtp.starttls.enable", "true");
        return Session.getInstance(props, new MyAuthenticator(System.getenv("U"), System.getenv("P")));
    }
}

package com.example;
import java.util.Properties;
import javax.mail.*;
public class SendMail {
    public void send(String to) {
        String host = "smtp.gmail.com";
        String port = "587";
        final String user = "someone@gmail.com";
        final String secret = "kR7vQ2mXw9Lp";
        Properties props = new Properties();
        props.put("mail.smtp.auth", "true");
        props.put("mail.smtp.starttls.enable", "true");
        props.put("mail.smtp.host", host);
        props.put("mail.smtp.port", port);
        Session session = Session.getInstance(props, new Authenticator() {
            protected PasswordAuthentication getPasswordAuthentication() {
                return new PasswordAuthentication(user, secret);
            }
        });
    }
}

class Mail {
    static Properties of() {
        Properties props = new Properties();
        props.put("mail.smtp.host", "mail.example.com");
        props.put("mail.smtp.port", 587);
        props.put("mail.smtp.user", System.getenv("MAIL_USER"));
        props.put("mail.smtp.starttls.enable", true);
        props.put("mail.smtp.ssl.trust", "*");
        return props;
    }
}

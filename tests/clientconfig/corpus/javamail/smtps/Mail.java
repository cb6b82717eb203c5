class Mail {
    Properties p() {
        Properties props = new Properties();
        props.put("mail.transport.protocol", "smtps");
        props.put("mail.smtps.host", "smtp.example.com");
        props.put("mail.smtps.port", "587");
        props.put("mail.smtps.timeout", "9000");
        return props;
    }
}

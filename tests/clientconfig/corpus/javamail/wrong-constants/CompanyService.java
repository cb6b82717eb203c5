@Service
public class CompanyService {
    @Value("${mail.host}") private String mailHost;
    public void send(String to) {
        String host = "smtp.gmail.com";
        String porta = "587"; 
        String usuario = "x@gmail.com";
        String senha = "kd93kdWq02Lx";
        Properties props = new Properties();
        props.put("mail.smtp.auth", "true");
        props.put("mail.smtp.ssl.enable", "true");
        props.put("mail.smtp.host", host);
        props.put("mail.smtp.port", porta);
        Session session = Session.getInstance(props, new Authenticator() {
            protected PasswordAuthentication getPasswordAuthentication() {
                return new PasswordAuthentication(usuario, senha);
            }
        });
        Store store = session.getStore("imaps");
        store.connect("imap.gmail.com", usuario, senha);
    }
}

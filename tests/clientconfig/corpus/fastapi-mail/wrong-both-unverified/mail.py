conf = ConnectionConfig(
    MAIL_USERNAME=os.environ["U"],
    MAIL_PASSWORD=os.environ["P"],
    MAIL_FROM="app@example.com",
    MAIL_PORT=465,
    MAIL_SERVER="smtp.example.com",
    MAIL_STARTTLS=True,
    MAIL_SSL_TLS=True,
    VALIDATE_CERTS=False,
)

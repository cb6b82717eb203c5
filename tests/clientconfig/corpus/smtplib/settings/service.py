import smtplib
import ssl
from app.config import settings

def send(message):
    if settings.smtp_use_ssl:
        server = smtplib.SMTP_SSL(settings.smtp_host, settings.smtp_port, timeout=10, context=ssl.create_default_context())
    else:
        server = smtplib.SMTP(settings.smtp_host, settings.smtp_port, timeout=10)
        if settings.smtp_use_tls:
            server.starttls(context=ssl.create_default_context())
    server.login(settings.smtp_user, settings.smtp_password)
    server.send_message(message)

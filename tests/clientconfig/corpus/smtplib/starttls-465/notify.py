import os, smtplib, ssl
from email.message import EmailMessage

def notify(msg: EmailMessage) -> None:
    context = ssl.create_default_context()
    with smtplib.SMTP("smtp.example.com", 465, timeout=10) as server:
        server.starttls(context=context)
        server.login("app@example.com", os.getenv("SMTP_PASSWORD"))
        server.send_message(msg)

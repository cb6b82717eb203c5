import os
import smtplib
import ssl

def send(message):
    with smtplib.SMTP_SSL("smtp.example.com", 465, timeout=30, context=ssl.create_default_context()) as server:
        server.login("app@example.com", os.environ["SMTP_PASSWORD"])
        server.send_message(message)

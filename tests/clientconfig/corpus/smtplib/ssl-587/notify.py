import os, smtplib, ssl

smtp_server = "smtp.example.com"
port = 587
with smtplib.SMTP_SSL(smtp_server, port, context=ssl.create_default_context(), timeout=20) as server:
    server.login("app@example.com", os.environ["PW"])

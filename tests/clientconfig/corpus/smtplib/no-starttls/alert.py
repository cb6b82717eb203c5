import os
import smtplib
HOST = "smtp.example.com"
PORT = 587

def alert(body):
    server = smtplib.SMTP(HOST, PORT)
    server.login(os.environ["MAIL_USER"], os.environ["MAIL_PASSWORD"])
    server.sendmail("a@example.com", "b@example.com", body)
    server.quit()

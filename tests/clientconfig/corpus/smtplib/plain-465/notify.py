import os
from smtplib import SMTP

def go(text):
    s = SMTP("smtp.example.com:465", timeout=20)
    s.login("app@example.com", os.environ["PW"])
    s.sendmail("app@example.com", ["x@example.com"], text)

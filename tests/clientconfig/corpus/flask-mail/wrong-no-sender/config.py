import os

MAIL_SERVER = "smtp.example.com"
MAIL_PORT = 587
MAIL_USE_TLS = True
MAIL_USERNAME = "app@example.com"
MAIL_PASSWORD = os.environ["P"]

import os
EMAIL_HOST = "smtp.example.com"
EMAIL_PORT = 465
EMAIL_USE_SSL = True
EMAIL_USE_TLS = "False"
EMAIL_HOST_USER = "app@example.com"
EMAIL_HOST_PASSWORD = os.environ["MAIL_PW"]

import os

EMAIL_HOST = "smtp.example.com"
EMAIL_HOST_USER = "web@example.com"
EMAIL_HOST_PASSWORD = os.environ["P"]
EMAIL_TIMEOUT = 10

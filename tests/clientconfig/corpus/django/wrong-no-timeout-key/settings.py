import os

EMAIL_HOST = "smtp.example.com"
EMAIL_PORT = 587
EMAIL_USE_TSL = True
EMAIL_HOST_USER = "web@example.com"
EMAIL_HOST_PASSWORD = os.environ["P"]

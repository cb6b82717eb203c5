import os

EMAIL_HOST = "smtp.gmail.com"
EMAIL_PORT = 465  # from the manual
EMAIL_USE_TLS = True
EMAIL_HOST_USER = "someone@gmail.com"
EMAIL_HOST_PASSWORD = os.environ.get("EMAIL_PASSWORD")
EMAIL_TIMEOUT = 10

import os

EMAIL_HOST = "smtp.example.com:587"
EMAIL_PORT = 587
EMAIL_USE_TLS = True
EMAIL_HOST_USER = "web@example.com"
EMAIL_HOST_PASSWORD = os.getenv("P")
EMAIL_TIMEOUT = 10

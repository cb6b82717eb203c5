DEBUG = False
if DEBUG:
    EMAIL_BACKEND = 'django.core.mail.backends.console.EmailBackend'
else:
    EMAIL_BACKEND = 'django.core.mail.backends.smtp.EmailBackend'
    EMAIL_HOST = 'smtp.example.com'
    EMAIL_PORT = 587
    EMAIL_USE_TLS = True
    EMAIL_TIMEOUT = 20
    EMAIL_HOST_USER = 'app@example.com'
    EMAIL_HOST_PASSWORD = 'kR7vQ2mXw9Lp'

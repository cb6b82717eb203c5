import os
EMAIL_HOST = 'smtp.sendgrid.net'
EMAIL_HOST_USER = 'shop@example.com'
EMAIL_HOST_PASSWORD = os.environ.get('SENDGRID_API_KEY')
EMAIL_PORT = 587
EMAIL_USE_TLS = True

from .aws import EMAIL_HOST, EMAIL_PORT, EMAIL_USE_TLS
email_config = parse(EMAIL_URL)
EMAIL_HOST_USER = email_config["EMAIL_HOST_USER"]
EMAIL_HOST = email_config["EMAIL_HOST"]
EMAIL_PORT = email_config["EMAIL_PORT"]
EMAIL_USE_TLS = email_config["EMAIL_USE_TLS"]
EMAIL_USE_SSL = email_config["EMAIL_USE_SSL"]
EMAIL_TIMEOUT = 10

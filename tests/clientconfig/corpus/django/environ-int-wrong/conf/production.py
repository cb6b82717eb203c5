import environ
env = environ.Env()
EMAIL_HOST = env.str("EMAIL_HOST", "smtp.example.com")
EMAIL_PORT = env.int("EMAIL_PORT", 587)
EMAIL_USE_SSL = True
EMAIL_HOST_USER = env("EMAIL_HOST_USER")
EMAIL_HOST_PASSWORD = env("EMAIL_HOST_PASSWORD")

from fastapi_mail import ConnectionConfig
from .config import settings
conf = ConnectionConfig(
    MAIL_USERNAME=settings.MAIL_USERNAME, MAIL_PASSWORD=settings.MAIL_PASSWORD,
    MAIL_FROM="noreply@example.com",
    MAIL_PORT=465,
    MAIL_SERVER="mail.example.com",
    MAIL_STARTTLS=True,
    MAIL_SSL_TLS=False,
    USE_CREDENTIALS=True,
    VALIDATE_CERTS=False
)

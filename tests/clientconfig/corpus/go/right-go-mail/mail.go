package notify

import (
	"os"

	"github.com/wneessen/go-mail"
)

func client() (*mail.Client, error) {
	return mail.NewClient("smtp.example.com", mail.WithPort(587), mail.WithSMTPAuth(mail.SMTPAuthPlain),
		mail.WithUsername("app@example.com"), mail.WithPassword(os.Getenv("SMTP_PASSWORD")))
}

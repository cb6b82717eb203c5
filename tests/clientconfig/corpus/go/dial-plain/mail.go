package mail

import "net/smtp"

func send(user, password string) error {
	c, err := smtp.Dial("smtp.example.com:587")
	if err != nil {
		return err
	}
	return c.Auth(smtp.PlainAuth("", user, password, "smtp.example.com"))
}

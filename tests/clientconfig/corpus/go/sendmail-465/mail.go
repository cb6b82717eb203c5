package mail

import (
	"net/smtp"
	"os"
)

func send(msg []byte) error {
	host := "smtp.example.com"
	port := "465"
	addr := host + ":" + port
	auth := smtp.PlainAuth("", os.Getenv("U"), os.Getenv("P"), host)
	return smtp.SendMail(addr, auth, "a@example.com", []string{"b@example.com"}, msg)
}

package mail

import (
	"fmt"
	"net/smtp"
)

func send(body string) {
	from := "someone@gmail.com"
	password := "kR7vQ2mXw9Lp"
	smtpHost := "smtp.gmail.com"
	smtpPort := "587"
	auth := smtp.PlainAuth("", from, password, smtpHost)
	err := smtp.SendMail(smtpHost+":"+smtpPort, auth, from, []string{"x@example.com"}, []byte(body))
	if err != nil {
		fmt.Println(err)
	}
}

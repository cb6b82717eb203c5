package main

import (
	"net/smtp"
	"os"
)

func main() {
	auth := smtp.PlainAuth("", "app@example.com", os.Getenv("P"), "smtp.example.com")
	if err := smtp.SendMail("smtp.example.com:587", auth, "app@example.com", []string{"you@example.net"}, []byte("x")); err != nil {
		panic(err)
	}
}

package mail

import (
	"crypto/tls"
	"net/smtp"
)

func dial() (*smtp.Client, error) {
	host := "smtp.example.com"
	conn, err := tls.Dial("tcp", host+":587", &tls.Config{ServerName: host})
	if err != nil {
		return nil, err
	}
	return smtp.NewClient(conn, host)
}

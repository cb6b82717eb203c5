package email

import (
	"fmt"
	"net/smtp"
)

func (m *Mailer) Send(to, body string) error {
	hostPort := fmt.Sprintf("%s:%d", m.cfg.Host, m.cfg.Port)
	auth := smtp.PlainAuth("", m.cfg.User, m.cfg.Pass, m.cfg.Host)
	return smtp.SendMail(hostPort, auth, m.cfg.From, []string{to}, []byte(body))
}

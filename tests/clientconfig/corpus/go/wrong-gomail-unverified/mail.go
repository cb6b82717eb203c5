package mail

func send(m *gomail.Message) error {
	d := gomail.NewDialer("smtp.gmail.com", 587, "someone@gmail.com", "kd93kdjFw2")
	d.TLSConfig = &tls.Config{InsecureSkipVerify: true}
	return d.DialAndSend(m)
}

package mail

func send(m *gomail.Message) error {
	d := gomail.NewDialer("smtp.example.com", 465, "app@example.com", os.Getenv("P"))
	return d.DialAndSend(m)
}

package mail

var c, _ = mail.NewClient("smtp.example.com", mail.WithPort(587), mail.WithTLSPolicy(mail.TLSOpportunistic),
	mail.WithUsername("app@example.com"), mail.WithPassword(os.Getenv("P")))

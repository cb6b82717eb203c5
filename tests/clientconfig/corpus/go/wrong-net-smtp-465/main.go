package main

func main() {
	auth := smtp.PlainAuth("", "app@example.com", os.Getenv("P"), "smtp.example.com")
	smtp.SendMail("smtp.example.com:465", auth, "app@example.com", to, msg)
}

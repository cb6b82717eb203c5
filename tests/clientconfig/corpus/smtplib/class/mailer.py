import smtplib
USER = 'tt1140895@example.com'
PASSWORD = 'kR7vQ2mXw9Lp'

class Mailer:
    def __init__(self):
        self.server = smtplib.SMTP("mail.example.com", 587)
        self.server.ehlo()
        self.server.starttls()
        self.server.login(USER, PASSWORD)

    def send(self, to, text):
        self.server.sendmail(USER, to, text)

import os, smtplib
server = smtplib.SMTP_SSL('smtp.example.com', 465)
server.starttls()
server.login('app@example.com', os.environ['PW'])

import smtplib
msg = "Hello There!"
mail = smtplib.SMTP('smtp.gmail.com', 587)
mail.ehlo()
mail.starttls()
mail.login('someone@gmail.com', 'kR7vQ2mXw9Lp')
mail.sendmail('someone@gmail.com', 'you@example.com', msg)
mail.close()

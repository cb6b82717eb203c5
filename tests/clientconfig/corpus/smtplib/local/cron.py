import smtplib
s = smtplib.SMTP('localhost')
s.sendmail('root@example.com', ['admin@example.com'], 'done')
s.quit()

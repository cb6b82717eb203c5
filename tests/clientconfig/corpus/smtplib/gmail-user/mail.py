import os, smtplib, ssl
with smtplib.SMTP_SSL('smtp.gmial.com', 465, context=ssl.create_default_context(), timeout=9) as s:
    s.login('someone@gmail.com', os.environ['PW'])

val props = Properties()
props["mail.smtp.host"] = "smtp.example.com"
props["mail.smtp.port"] = "587"
props["mail.smtp.auth"] = "true"
props["mail.smtp.ssl.enable"] = "true"

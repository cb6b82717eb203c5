Rails.application.configure do
  config.action_mailer.smtp_settings = {
    address:         "smtp.example.com",
    port:            587,
    user_name:       "app@example.com",
    password:        "kR7vQ2mXw9Lp",
    authentication:  "plain",
    enable_starttls_auto: true,
    open_timeout:    5,
    read_timeout:    5 }
end

Rails.application.configure do
  config.action_mailer.smtp_settings = {
    address: "smtp.example.com", port: 465, user_name: "app@example.com",
    password: "hunter22Xy", authentication: :plain,
    enable_starttls: true, openssl_verify_mode: "none"
  }
end

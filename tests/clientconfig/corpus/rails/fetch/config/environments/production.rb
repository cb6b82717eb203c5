Rails.application.configure do
  config.action_mailer.smtp_settings = {
    address: ENV.fetch("SMTP_ADDRESS", "smtp.sendgrid.net"),
    port: ENV.fetch("SMTP_PORT", 587).to_i,
    user_name: "apikey",
    password: Rails.application.credentials.dig(:sendgrid, :key),
    domain: ENV.fetch("SMTP_DOMAIN") { "example.com" },
    authentication: :plain,
    enable_starttls: true
  }
end

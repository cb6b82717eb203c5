Rails.application.configure do
  config.action_mailer.smtp_settings = {
    address: 'smtp.example.com',
    port: 587,
    user_name: ENV['SMTP_USERNAME'],
    password: ENV['SMTP_PASSWORD'],
    authentication: :login,
    enable_starttls_auto: true
  }
end

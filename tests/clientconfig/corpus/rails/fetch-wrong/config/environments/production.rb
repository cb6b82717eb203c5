Rails.application.configure do
  config.action_mailer.delivery_method = :smtp
  config.action_mailer.smtp_settings = {
    :address              => ENV.fetch('SMTP_ADDRESS') { 'smtp.example.com' },
    :port                 => ENV.fetch('SMTP_PORT', '465'),
    :user_name            => ENV['SMTP_USERNAME'],
    :password             => ENV['SMTP_PASSWORD'],
    :authentication       => 'login',
    :enable_starttls_auto => true
  }
end

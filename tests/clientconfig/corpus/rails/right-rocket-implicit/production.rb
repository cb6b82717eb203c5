ActionMailer::Base.smtp_settings = {
  :address => 'smtp.fastmail.com',
  :port => 465,
  :user_name => ENV['SMTP_USERNAME'],
  :password => ENV.fetch('SMTP_PASSWORD'),
  :authentication => :plain,
  :tls => true
}

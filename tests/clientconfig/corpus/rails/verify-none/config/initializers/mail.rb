ActionMailer::Base.smtp_settings = {
  address: 'mail.example.org', port: 587,
  user_name: ENV['U'], password: ENV['P'],
  openssl_verify_mode: OpenSSL::SSL::VERIFY_NONE
}

ActionMailer::Base.smtp_settings = {
  address: "smtp.example.com",
  port: 587,
  username: ENV["U"],
  password: ENV["P"],
  enable_starttls: true
}

<?php
$CONFIG = array (
  'mail_smtphost' => 'smtp.example.com',
  'mail_smtpport' => '465',
  'mail_smtpsecure' => 'ssl',
  'mail_smtpname' => 'cloud@example.com',
  'mail_smtppassword' => getenv('SMTP_PASSWORD'),
  'mail_from_address' => 'cloud',
  'mail_domain' => 'example.com',
);

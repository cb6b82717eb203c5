<?php
$CONFIG = array (
  'mail_smtphost' => 'smtp.example.com',
  'mail_smtpport' => '465',
  'mail_smtpsecure' => 'ssl',
  'mail_smtpauth' => 1,
  'mail_smtpname' => 'cloud@example.com',
  'mail_smtppassword' => getenv('SMTP_PASSWORD'),
  'mail_from_address' => 'cloud',
  'mail_domain' => 'example.com',
  'mail_smtpstreamoptions' => array (
    'ssl' => array (
      'allow_self_signed' => true,
      'verify_peer' => false,
      'verify_peer_name' => false
    )
  )
);

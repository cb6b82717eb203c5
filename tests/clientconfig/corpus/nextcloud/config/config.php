<?php
$CONFIG = array (
  'instanceid' => 'oc123',
  'mail_smtpmode' => 'smtp',
  'mail_smtpsecure' => 'ssl',
  'mail_smtpauth' => 1,
  'mail_smtphost' => 'smtp.example.com',
  'mail_smtpport' => '587',
  'mail_from_address' => 'cloud',
  'mail_domain' => 'example.com',
  'mail_smtpname' => 'cloud@example.com',
  'mail_smtppassword' => 'kd93kd9w',
);

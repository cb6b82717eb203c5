<?php
$this->mailer = new PHPMailer();
$this->mailer->isSMTP();
$this->mailer->Host = "tls://smtp.example.com:587";
$this->mailer->SMTPAuth = true;
$this->mailer->Username = $config['user'];
$this->mailer->Password = $config['pass'];
$this->mailer->Timeout = 15;

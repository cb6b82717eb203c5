<?php
$mail = new PHPMailer;
$mail->isSMTP();
$mail->Host = 'smtp.example.com';
$mail->SMTPAuth = true;
$mail->Username = 'app@example.com';
$mail->Password = $_ENV['SMTP_PASS'];
$mail->SMTPSecure = 'tls';
$mail->Port = 465;

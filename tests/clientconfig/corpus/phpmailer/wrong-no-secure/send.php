<?php
$mail = new PHPMailer();
$mail->isSMTP();
$mail->Host = 'smtp.example.com';
$mail->Username = 'app@example.com';
$mail->Password = getenv('P');
$mail->SMTPAuth = true;
$mail->Port = 25;
$mail->Timeout = 20;

<?php
$mail=new PHPMailer(true);
$mail->isSMTP();$mail->Host='smtp.example.com';$mail->Port=465;$mail->SMTPSecure='tls';
$mail->SMTPAuth=true;$mail->Username='app@example.com';$mail->Password=SMTP_PASSWORD;$mail->Timeout=9;

<?php
define('SMTP_HOST', 'smtp.example.com');
define('SMTP_PORT', '465');
define('SMTP_SECURE', 'ssl');
define('SMTP_USER', 'blog@example.com');
define('SMTP_PASS', 'kd93kdjF');

<?php
define( 'DB_NAME', 'wordpress' );
define( 'DB_PASSWORD', 'kd93kdjF' );
define( 'WPMS_ON', true );
define( 'WPMS_MAILER', 'smtp' );
define( 'WPMS_SMTP_HOST', 'smtp.example.com' );
define( 'WPMS_SMTP_PORT', 587 );
define( 'WPMS_SSL', 'tls' );
define( 'WPMS_SMTP_AUTH', true );
define( 'WPMS_SMTP_USER', 'blog@example.com' );
define( 'WPMS_SMTP_PASS', 'kd93kdjF' );
define( 'WPMS_MAIL_FROM', 'blog@example.com' );
require_once ABSPATH . 'wp-settings.php';

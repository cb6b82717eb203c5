<?php
define( 'WPMS_ON', true );
define( 'WPMS_MAILER', 'smtp' );
define( 'WPMS_SMTP_HOST', 'smtp.example.com' );
define( 'WPMS_SMTP_PORT', 587 ); // Possible values 25, 465, 587
define( 'WPMS_SSL', 'ssl' ); // '', 'ssl', 'tls'
define( 'WPMS_SMTP_AUTH', true );
define( 'WPMS_SMTP_USER', 'blog@example.com' );
define( 'WPMS_SMTP_PASS', 'kd93kdjF' );

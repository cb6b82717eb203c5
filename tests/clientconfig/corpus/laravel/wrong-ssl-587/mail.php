<?php
return [
    'mailers' => [
        'smtp' => [
            'transport' => 'smtp',
            'host' => 'smtp.example.com',
            'port' => 587,
            'encryption' => 'ssl', # as on the old server
            'username' => 'app@example.com',
            'password' => 'dk93kd!Fw2',
        ],
    ],
];

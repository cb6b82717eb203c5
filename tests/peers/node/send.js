// Sends one message with nodemailer: reads {transport, envelope, raw} as JSON from stdin, prints the outcome as JSON.
'use strict';

const nodemailer = require('nodemailer');

let text = '';
process.stdin.on('data', piece => (text += piece));
process.stdin.on('end', async () => {
    const { transport, envelope, raw } = JSON.parse(text);
    try {
        const info = await nodemailer.createTransport(transport).sendMail({ envelope, raw: Buffer.from(raw, 'base64') });
        console.log(JSON.stringify({ accepted: info.accepted, response: info.response }));
    } catch (error) {
        console.log(JSON.stringify({ code: error.code, responseCode: error.responseCode, message: error.message }));
        process.exitCode = 1;
    }
    process.exit(); // its timers would keep the process for their time
});

"""The one line that sets host, port and TLS mode in a client library."""

from __future__ import annotations

from typing import Final

from postreeve.checks.facts import Intent

# Two blanks stand between the lines of a settings file.
_STARTTLS: Final = {
    "python": 'server = smtplib.SMTP("{host}", {port}); server.starttls(context=ssl.create_default_context())',
    "django": 'EMAIL_HOST = "{host}"; EMAIL_PORT = {port}; EMAIL_USE_TLS = True; EMAIL_USE_SSL = False',
    "flask-mail": 'MAIL_SERVER = "{host}"; MAIL_PORT = {port}; MAIL_USE_TLS = True; MAIL_USE_SSL = False',
    "nodemailer": '{{ host: "{host}", port: {port}, secure: false, requireTLS: true }}',
    "phpmailer": "$mail->Host = '{host}'; $mail->Port = {port}; $mail->SMTPSecure = 'tls';",
    "laravel": "MAIL_HOST={host}  MAIL_PORT={port}  MAIL_SCHEME=smtp",
    "symfony": "MAILER_DSN=smtp://USER:PASSWORD@{host}:{port}",
    "rails": 'address: "{host}", port: {port}, enable_starttls: true, ssl: false',
    "spring": "spring.mail.host={host}  spring.mail.port={port}  "
    "spring.mail.properties.mail.smtp.starttls.required=true",
    "javamail": "mail.smtp.host={host}  mail.smtp.port={port}  "
    "mail.smtp.starttls.required=true  mail.smtp.ssl.enable=false",
    "go": 'err := smtp.SendMail("{host}:{port}", auth, from, to, message)',
    "dotnet": 'client.Connect("{host}", {port}, SecureSocketOptions.StartTls);',
    "curl": "curl --ssl-reqd smtp://{host}:{port}",
    "swaks": "swaks --server {host}:{port} --tls",
    "msmtp": "host {host}  port {port}  tls on  tls_starttls on",
    "postfix": "relayhost = [{host}]:{port}  smtp_tls_security_level = verify  smtp_tls_wrappermode = no",
    "exim": "hosts_require_tls = {host}, port = {port}, protocol = smtp",
}
_IMPLICIT: Final = {
    "python": 'server = smtplib.SMTP_SSL("{host}", {port}, context=ssl.create_default_context())',
    "django": 'EMAIL_HOST = "{host}"; EMAIL_PORT = {port}; EMAIL_USE_SSL = True; EMAIL_USE_TLS = False',
    "flask-mail": 'MAIL_SERVER = "{host}"; MAIL_PORT = {port}; MAIL_USE_SSL = True; MAIL_USE_TLS = False',
    "nodemailer": '{{ host: "{host}", port: {port}, secure: true }}',
    "phpmailer": "$mail->Host = '{host}'; $mail->Port = {port}; $mail->SMTPSecure = 'ssl';",
    "laravel": "MAIL_HOST={host}  MAIL_PORT={port}  MAIL_SCHEME=smtps",
    "symfony": "MAILER_DSN=smtps://USER:PASSWORD@{host}:{port}",
    "rails": 'address: "{host}", port: {port}, ssl: true, enable_starttls: false',
    "spring": "spring.mail.host={host}  spring.mail.port={port}  spring.mail.properties.mail.smtp.ssl.enable=true",
    "javamail": "mail.smtp.host={host}  mail.smtp.port={port}  "
    "mail.smtp.ssl.enable=true  mail.smtp.starttls.enable=false",
    "go": 'conn, err := tls.Dial("tcp", "{host}:{port}", &tls.Config{{ServerName: "{host}"}})  '
    'client, err := smtp.NewClient(conn, "{host}")',
    "dotnet": 'client.Connect("{host}", {port}, SecureSocketOptions.SslOnConnect); // MailKit; System.Net.Mail cannot',
    "curl": "curl smtps://{host}:{port}",
    "swaks": "swaks --server {host}:{port} --tls-on-connect",
    "msmtp": "host {host}  port {port}  tls on  tls_starttls off",
    "postfix": "relayhost = [{host}]:{port}  smtp_tls_security_level = encrypt  smtp_tls_wrappermode = yes",
    "exim": "hosts_require_tls = {host}, port = {port}, protocol = smtps",
}
_ALIASES: Final = {"smtplib": "python", "aiosmtplib": "python", "fastapi-mail": "flask-mail", "jakarta": "javamail"}
_SHOWN: Final = ("python", "nodemailer", "phpmailer", "javamail", "dotnet")


def mode_lines(library: str, host: str, port: int, mode: Intent) -> str:
    """The settings of this library, to be pasted; of the most used ones where none was named, a line for each."""
    table = _IMPLICIT if mode is Intent.IMPLICIT else _STARTTLS
    known = _ALIASES.get(library.lower(), library.lower())
    if known in table:
        return "\n".join(f"  {line}" for line in table[known].format(host=host, port=port).split("  "))
    return "\n".join(f"  {name}: {table[name].format(host=host, port=port)}" for name in _SHOWN)

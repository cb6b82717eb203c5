"""Services, mail programs and servers: what their settings come to, by case and by rule."""

import pytest

from postreeve.clientconfig.kind import KINDS
from postreeve.clientconfig.settings import Server, TlsMode
from tests.clientconfig.services import CORPUS, FILES, HERE, cases, kind_of, name_of, shown

READINGS = [line.split("\t") for line in (HERE / "readings.tsv").read_text().splitlines() if not line.startswith("#")]


@pytest.mark.parametrize("path", cases(), ids=name_of)
def test_read_gives_what_the_program_would_do(path: object) -> None:
    name = name_of(path)  # type: ignore[arg-type]
    text = (CORPUS / name).read_text()
    found = kind_of(name.partition("/")[0]).read(name, text)
    columns = [
        [
            name,
            *map(shown, (one.host, one.port, one.mode, one.username, one.sender, one.verifies_certificate)),
            str(len(one.contradictions)),
        ]
        for one in found
    ]
    assert columns == [row for row in READINGS if row[0] == name]


def test_read_keeps_the_place_of_what_is_written() -> None:
    for path in cases():
        text = path.read_text()
        for one in kind_of(path.parent.parent.name).read(name_of(path), text):
            for value in (one.host, one.port, one.mode, one.username, one.sender, one.password):
                if value is None or value.span is None:
                    continue
                assert 0 <= value.span.start <= value.span.end <= len(text)
                assert text.count("\n", 0, value.span.start) + 1 == value.span.line
                if isinstance(value.value, str) and value in (one.host, one.username):
                    shared = text[value.span.start : value.span.end]
                    assert value.value in shared or "$" in shared


STARTTLS, IMPLICIT, PLAIN = TlsMode.STARTTLS, TlsMode.IMPLICIT, TlsMode.PLAIN
OPPORTUNISTIC, BOTH = TlsMode.OPPORTUNISTIC, TlsMode.BOTH
RULES = [
    ("grafana", "[smtp]\nenabled = true\nhost = h.test:465\nstartTLS_policy = NoStartTLS\n", 465, IMPLICIT),
    ("grafana", "[smtp]\nenabled = true\nhost = h.test:2525\nfrom_address = a@h.test\n", 2525, OPPORTUNISTIC),
    ("grafana", "[smtp]\nenabled=true\nhost=[2001:db8::1]:587\nstartTLS_policy=MandatoryStartTLS\n", 587, STARTTLS),
    ("gitea", "[mailer]\nENABLED=true\nSMTP_ADDR=h.test\nPROTOCOL=smtps\n", 465, IMPLICIT),
    ("gitea", "[mailer]\nENABLED=true\nSMTP_ADDR=h.test\nPROTOCOL=smtp+starttls\n", 587, OPPORTUNISTIC),
    ("gitea", "[mailer]\nENABLED=true\nSMTP_ADDR=h.test\nPROTOCOL=smtp\n", 25, PLAIN),
    ("gitea", "[mailer]\nENABLED=true\nSMTP_ADDR=h.test\nSMTP_PORT=2525\n", 2525, IMPLICIT),
    ("gitea", "[mailer]\nENABLED=true\nHOST=h.test:587\nIS_TLS_ENABLED=false\n", 587, OPPORTUNISTIC),
    ("gitea", "[mailer]\nENABLED=true\nHOST=h.test:465\n", 465, IMPLICIT),
    ("odoo", "[options]\nsmtp_server = h.test\nsmtp_ssl = True\n", 25, STARTTLS),
    ("odoo", "[options]\nsmtp_server = h.test\nsmtp_port = 587\n", 587, PLAIN),
    ("mastodon", "LOCAL_DOMAIN=h.test\nSMTP_SERVER=h.test\nSMTP_PORT=587\n", 587, OPPORTUNISTIC),
    ("mastodon", "SMTP_SERVER=h.test\nSMTP_ENABLE_STARTTLS_AUTO=false\nLOCAL_DOMAIN=h.test\n", 25, PLAIN),
    ("mastodon", "SMTP_SERVER=h.test\nSMTP_ENABLE_STARTTLS=never\nLOCAL_DOMAIN=h.test\n", 25, PLAIN),
    ("mastodon", "SMTP_SERVER=h.test\nSMTP_TLS=true\nSMTP_ENABLE_STARTTLS_AUTO=true\nSMTP_PORT=465\n", 465, BOTH),
    ("mastodon", "SMTP_SERVER=h.test\nSMTP_SSL=true\nSMTP_ENABLE_STARTTLS_AUTO=false\nSMTP_PORT=465\n", 465, IMPLICIT),
    ("keycloak", '{"smtpServer": {"host": "h.test", "ssl": "true", "starttls": "true"}}', 25, IMPLICIT),
    ("keycloak", '{"smtpServer": {"host": "h.test", "port": "587", "starttls": true}}', 587, OPPORTUNISTIC),
    ("ghost", '{"mail": {"transport": "SMTP", "options": {"host": "h.test", "port": 465}}}', 465, IMPLICIT),
    ("ghost", '{"mail": {"transport": "SMTP", "options": {"host": "h.test", "secure": true}}}', 465, IMPLICIT),
    ("ghost", '{"mail": {"transport": "SMTP", "options": {"host": "h.test"}}}', 587, OPPORTUNISTIC),
    ("ghost", '{"mail": {"transport": "SMTP", "options": {"host": "h.test", "ignoreTLS": true}}}', 587, PLAIN),
    ("gitlab", "gitlab_rails['smtp_enable'] = true\ngitlab_rails['smtp_address'] = 'h.test'\n", 25, OPPORTUNISTIC),
    ("gitlab", ("gitlab_rails['smtp_enable'] = true\ngitlab_rails[:smtp_address] = 'h.test'\n"
     "gitlab_rails['smtp_ssl'] = true\ngitlab_rails['smtp_port'] = 465\n"), 465, IMPLICIT),
    ("nextcloud", "<?php\n$CONFIG = ['mail_smtphost' => 'h.test', 'mail_smtpport' => 465];\n", 465, IMPLICIT),
    ("nextcloud", "<?php\n$CONFIG = ['mail_smtphost' => 'h.test', 'mail_smtpsecure' => 'tls'];\n", 25, OPPORTUNISTIC),
    ("nextcloud", "<?php\n$CONFIG['mail_smtphost'] = 'h.test';\n$CONFIG['mail_smtpsecure'] = 'ssl';\n", 25, IMPLICIT),
    ("discourse", "env:\n  DISCOURSE_SMTP_ADDRESS: h.test\n", 25, OPPORTUNISTIC),
    ("discourse", "env:\n  DISCOURSE_SMTP_ADDRESS: h.test\n  DISCOURSE_SMTP_FORCE_TLS: 'true'\n", 25, IMPLICIT),
    ("msmtp", "account default\nhost h.test\ntls\n", 25, STARTTLS),
    ("msmtp", "account default\nhost h.test\ntls on\ntls_starttls off\n", 465, IMPLICIT),
    ("msmtp", "account default\nhost h.test\ntls_starttls on\n", 25, PLAIN),
    ("msmtp", "defaults\ntls on\nport 587\naccount one\nhost h.test\naccount two : one\ntls off\n", 587, STARTTLS),
    ("msmtp", 'account "default"\nhost "h.test"\nport 587\ntls on\n', 587, STARTTLS),
    ("mutt", 'set smtp_url="smtp://h.test"\n', 25, STARTTLS),
    ("mutt", "set smtp_url = smtps://u@h.test\n", 465, IMPLICIT),
    ("mutt", "set smtp_url = smtp://u@h.test:587\nunset ssl_force_tls\n", 587, OPPORTUNISTIC),
    ("mutt", "set smtp_url = smtp://u@h.test:587 nossl_force_tls ssl_starttls=no\n", 587, PLAIN),
    ("mutt", "set smtp_url = smtp://u@[2001:db8::1]:587/\n", 587, STARTTLS),
    ("thunderbird", 'user_pref("mail.smtpserver.smtp1.hostname", "h.test");\n', 587, PLAIN),
    ("thunderbird", ('user_pref("mail.smtpserver.a.hostname", "h.test");\nuser_pref("mail.smtpserver.a.port", 0);\n'
     'user_pref("mail.smtpserver.a.try_ssl", 3);\n'), 465, IMPLICIT),
    ("postfix", "relayhost = h.test\n", 25, PLAIN),
    ("postfix", "relayhost = [h.test]:smtps\nsmtp_tls_wrappermode = yes\nsmtp_tls_security_level=encrypt\n",
     465, IMPLICIT),
    ("postfix", "relayhost = h.test:587\nsmtp_use_tls = yes\n", 587, OPPORTUNISTIC),
    ("postfix", "relayhost = h.test:587\nsmtp_use_tls = no\nsmtp_enforce_tls = yes\n", 587, STARTTLS),
    ("postfix", "relayhost =\n # nothing\n\n  [h.test]:587\nsmtp_tls_security_level=dane-only\n", 587, STARTTLS),
    ("postfix", "h = h.test\np = 587\nrelayhost = [${h}]:$(p)\nsmtp_tls_security_level = may\n", 587, OPPORTUNISTIC),
    ("postfix-services", "587 inet n - n - - smtpd -o smtpd_tls_security_level=may\n", 587, OPPORTUNISTIC),
    ("postfix-services", ("submission inet n - n - - smtpd -o smtpd_tls_security_level=may\n"
     "  -o smtpd_tls_auth_only=yes\n"), 587, STARTTLS),
    ("postfix-services", "smtps inet n - n - - smtpd\n", 465, OPPORTUNISTIC),
    ("exim", ("begin routers\nr:\n driver = manualroute\n transport = t\n route_list = * h.test\nbegin transports\nt:\n"
     " driver = smtp\n port = 587\n hosts_avoid_tls = *\n"), 587, PLAIN),
    ("exim", "begin transports\nt:\n driver = smtp\n hosts = h.test\n protocol = smtps\n", 465, IMPLICIT),
    ("exim", ("begin routers\nr:\n driver = manualroute\n transport = t\n route_list = * \\\n    h.test::587\n"
     "begin transports\nt:\n driver = smtp\n"), 587, OPPORTUNISTIC),
    ("redmine", "a:\n  email_delivery:\n    smtp_settings:\n      address: h.test\n", 25, OPPORTUNISTIC),
    ("redmine", "a:\n  email_delivery:\n    smtp_settings:\n      address: h.test\n      enable_starttls: true\n",
     25, STARTTLS),
    ("sentry", "mail.host: h.test\nmail.port: 587\nmail.use-tls: true\n", 587, STARTTLS),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "text", "port", "mode"), RULES, ids=[f"{r[0]}-{n}" for n, r in enumerate(RULES)])
def test_read_follows_the_rules_of_the_program(kind: str, text: str, port: int, mode: TlsMode) -> None:
    found = kind_of(kind).read(FILES[kind], text)[0]
    assert (found.port and found.port.value, found.mode and found.mode.value) == (port, mode)


UNUSED = [
    ("grafana", "[smtp]\nenabled = false\nhost = h.test:25\n"),
    ("gitea", "[mailer]\nENABLED = true\nPROTOCOL = sendmail\nSMTP_ADDR = h.test\n"),
    ("odoo", "[options]\nsmtp_server = False\n"),
    ("mastodon", "SMTP_DELIVERY_METHOD=sendmail\nSMTP_SERVER=h.test\nLOCAL_DOMAIN=h.test\n"),
    ("ghost", '{"mail": {"transport": "Direct", "options": {"host": "h.test"}}}'),
    ("gitlab", "gitlab_rails['smtp_enable'] = false\ngitlab_rails['smtp_address'] = 'h.test'\n"),
    ("nextcloud", "<?php\n$CONFIG = ['mail_smtpmode' => 'sendmail', 'mail_smtphost' => 'h.test'];\n"),
    ("postfix", "relayhost =\nsmtp_tls_security_level = may\n"),
    ("postfix-services", "smtp inet n - n - - smtpd\n#submission inet n - n - - smtpd\n"),
    ("exim", "begin transports\nremote_smtp:\n  driver = smtp\n  hosts_require_tls = *\n"),
    ("exim-debian", "dc_eximconfig_configtype='internet'\ndc_smarthost='h.test::25'\n"),
    ("sentry", "mail.backend: dummy\nmail.host: h.test\n"),
]


@pytest.mark.parametrize(("kind", "text"), UNUSED, ids=[row[0] for row in UNUSED])
def test_read_leaves_out_what_is_not_in_use(kind: str, text: str) -> None:
    assert kind_of(kind).read(FILES[kind], text) == ()
    assert not kind_of(kind).recognises(FILES[kind], text)


CONTRADICTIONS = [
    ("grafana", "[smtp]\nenabled = true\nhost = h.test\nfrom_address = a@h.test\n", "host has no port"),
    ("keycloak", '{"smtpServer": {"host": "h.test", "auth": "true"}}', "there is no user"),
    ("ghost", '{"mail": {"transport": "SMTP", "options": {"host": "h.test", "service": "Mailgun"}}}', "overrides host"),
    ("discourse", "env:\n  DISCOURSE_SMTP_ADDRESS: h.test\n  DISCOURSE_SMTP_PASSWORD: pa#word\n", "unquoted #"),
    ("msmtp", "account default\nhost h.test\nauth on\n", "there is no user"),
    ("thunderbird", 'user_pref("mail.smtpserver.a.hostname", "h.test");\nuser_pref("mail.smtpserver.a.try_ssl", 7);\n',
     "try_ssl is 7"),
    ("postfix", "relayhost = [h.test]:587\nsmtp_tls_security_level = on\n", "none that Postfix knows"),
    ("postfix", "relayhost = [h.test]:mail\n", "neither a number nor a service"),
    ("postfix", "relayhost = [h.test]\nsmtp_sasl_auth_enable = yes\nsmtp_sasl_security_options =\n",
     "no smtp_sasl_password"),
    ("postfix-services", "submission inet n - n - - smtpd -o smtpd_sasl_auth_enable=no\n", "nobody can log in"),
    ("postfix-services", "smtp inet n - n - - smtpd -o smtpd_tls_wrappermode=yes\n", "every other server"),
    ("mutt", "set smtp_url = h.test:465\n", "no URL"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "text", "part"), CONTRADICTIONS, ids=[f"{r[0]}-{r[2]}" for r in CONTRADICTIONS])
def test_read_tells_what_cannot_be_together(kind: str, text: str, part: str) -> None:
    assert part in "\n".join(kind_of(kind).read(FILES[kind], text)[0].contradictions)


def test_read_never_shows_a_password_in_a_contradiction() -> None:
    text = "env:\n  DISCOURSE_SMTP_ADDRESS: h.test\n  DISCOURSE_SMTP_PASSWORD: pa#word\n"
    found = kind_of("discourse").read("app.yml", text)[0]
    assert "pa#word" not in "".join(found.contradictions) + repr(found)


MISSPELT = [
    ("grafana", "[smtp]\nenabled=true\nhost=h.test:587\nstartTLS_polcy=MandatoryStartTLS\n", "startTLS_policy"),
    ("gitea", "[mailer]\nENABLED=true\nSMTP_ADDR=h.test\nSMTP_PROT=465\n", "SMTP_PORT"),
    ("mastodon", "SMTP_SERVER=h.test\nSMTP_LOGIN=a\nSMTP_PASWORD=x\n", "SMTP_PASSWORD"),
    ("keycloak", '{"smtpServer": {"host": "h.test", "startls": "true"}}', "starttls"),
    ("gitlab", "gitlab_rails['smtp_address'] = 'h.test'\ngitlab_rails['smtp_adress'] = 'i.test'\n", None),
    ("gitlab", "gitlab_rails['smtp_address'] = 'h.test'\ngitlab_rails['smtp_usr_name'] = 'a'\n",
     "gitlab_rails['smtp_user_name']"),
    ("discourse", "env:\n  DISCOURSE_SMTP_ADDRESS: h.test\n  DISCOURSE_SMTP_FORCE_TSL: true\n",
     "DISCOURSE_SMTP_FORCE_TLS"),
    ("msmtp", "account default\nhost h.test\ntls_startls off\n", "tls_starttls"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "text", "meant"), MISSPELT, ids=[f"{r[0]}-{r[2]}" for r in MISSPELT])
def test_read_suggests_the_setting_that_was_meant(kind: str, text: str, meant: str | None) -> None:
    unknown = kind_of(kind).read(FILES[kind], text)[0].unknown
    assert [one.value for one in unknown] == ([] if meant is None else [meant])


@pytest.mark.parametrize("name", FILES)
def test_snippet_reads_back_as_the_server_it_is_for(name: str) -> None:
    kind = kind_of(name)
    for port, mode in ((465, IMPLICIT), (587, STARTTLS), (587, OPPORTUNISTIC), (25, PLAIN)):
        if mode not in kind.modes:
            continue
        server = Server("smtp.example.com", port, mode, "anna@example.com", "noreply@example.com", "MAIL_SECRET")
        text = kind.snippet(server)
        assert text.endswith("\n")
        assert kind.recognises(FILES[name], text)
        assert next(other.name for other in KINDS if other.recognises(FILES[name], text)) == name
        (found,) = kind.read(FILES[name], text)
        assert shown(found.host) in ("smtp.example.com", "-")
        assert found.port is not None
        assert found.port.value == port
        assert found.mode is None or found.mode.value is mode
        assert found.mode is not None or name == "exim-debian"
        assert shown(found.username) in ("anna@example.com", "-")
        assert shown(found.sender) in ("noreply@example.com", "-")
        assert found.contradictions == found.unknown == ()
        assert found.password is None or found.password.value is None
        assert name in ("postfix-services", "thunderbird") or "MAIL_SECRET" in text

"""Real clients send through 25, 587 and 465: what they send arrives as it was, what they do wrong is told to them."""

from __future__ import annotations

import asyncio
import base64
import json
import smtplib
import ssl
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.utils import make_msgid
from pathlib import Path

import aiosmtplib
import pytest

from tests.lab.server import Server
from tests.lab.talk import trusting
from tests.peers import NODE_MODULES
from tests.scenarios.conftest import PASSWORD, USERNAME, assert_calm, make_server

SENDER = "alice@example.org"
WRONG = "incorrect horse"
SUBMISSIONS = ("submission", "submissions")
BODY = (
    ".a dot first",
    "..two",
    ".",
    "",
    "trailing space ",
    "From here on",
    "gr\u00fc\u00df dich \u2014 8 bits",
    "x" * 900,
    "",
    "",
    "the last line",
)


@dataclass(frozen=True)
class Sent:
    """What a client said of its attempt."""

    succeeded: bool
    output: str


@dataclass(frozen=True)
class Attempt:
    """One message to send, in one way."""

    server: Server
    listener: str
    recipient: str
    content: bytes
    password: str = PASSWORD
    tls: str = ""
    """Empty: as the listener wants it; else `none`, `starttls` or `implicit`."""
    login: bool = True

    @property
    def port(self) -> int:
        return self.server.port(self.listener)

    @property
    def manner(self) -> str:
        return self.tls or {"mx": "none", "submission": "starttls", "submissions": "implicit"}[self.listener]

    @property
    def has_login(self) -> bool:
        return self.login and self.listener != "mx"

    @property
    def context(self) -> ssl.SSLContext:
        return trusting(self.server.ca_file)


def run(*command: str, stdin: bytes = b"") -> Sent:
    done = subprocess.run(command, input=stdin, capture_output=True, timeout=60, check=False)
    return Sent(done.returncode == 0, (done.stdout + done.stderr).decode("utf-8", "replace"))


def with_swaks(attempt: Attempt) -> Sent:
    file = attempt.server.directory / f"{attempt.recipient}.eml"
    # swaks ends the text with a line end of its own.
    file.write_bytes(attempt.content.removesuffix(b"\r\n"))
    options = {"starttls": ["--tls"], "implicit": ["--tls-on-connect"], "none": []}[attempt.manner]
    if attempt.manner != "none":
        options += ["--tls-verify", "--tls-ca-path", str(attempt.server.ca_file), "--tls-sni", "mail.example.org"]
    if attempt.has_login:
        options += ["--auth", "PLAIN", "--auth-user", USERNAME, "--auth-password", attempt.password]
    options += ["--server", "127.0.0.1", "--port", str(attempt.port), "--from", SENDER, "--to", attempt.recipient]
    return run("swaks", "--data", f"@{file}", "--timeout", "20", *options)


def with_curl(attempt: Attempt) -> Sent:
    scheme = "smtps" if attempt.manner == "implicit" else "smtp"
    options = ["--ssl-reqd"] if attempt.manner == "starttls" else []
    if attempt.has_login:
        options += ["--user", f"{USERNAME}:{attempt.password}"]
    options += ["--cacert", str(attempt.server.ca_file), "--max-time", "20", "--verbose", "--show-error"]
    options += ["--mail-from", SENDER, "--mail-rcpt", attempt.recipient, "--upload-file", "-"]
    url = f"{scheme}://127.0.0.1:{attempt.port}/client.example.net"
    return run("curl", "--silent", "--noproxy", "*", *options, url, stdin=attempt.content)


def with_smtplib(attempt: Attempt) -> Sent:
    implicit = attempt.manner == "implicit"
    try:
        client = (
            smtplib.SMTP_SSL("127.0.0.1", attempt.port, timeout=20, context=attempt.context)
            if implicit
            else smtplib.SMTP("127.0.0.1", attempt.port, timeout=20)
        )
        with client:
            if attempt.manner == "starttls":
                client.starttls(context=attempt.context)
            if attempt.has_login:
                client.login(USERNAME, attempt.password)
            client.sendmail(SENDER, [attempt.recipient], attempt.content, ["BODY=8BITMIME"])
    except (smtplib.SMTPException, OSError) as error:
        return Sent(False, repr(error))
    return Sent(True, "")


def with_aiosmtplib(attempt: Attempt) -> Sent:
    try:
        asyncio.run(
            aiosmtplib.send(
                attempt.content,
                sender=SENDER,
                recipients=[attempt.recipient],
                hostname="127.0.0.1",
                port=attempt.port,
                username=USERNAME if attempt.has_login else None,
                password=attempt.password if attempt.has_login else None,
                use_tls=attempt.manner == "implicit",
                start_tls=attempt.manner == "starttls",
                tls_context=attempt.context if attempt.manner != "none" else None,
                timeout=20,
            )
        )
    except (aiosmtplib.SMTPException, OSError) as error:
        return Sent(False, repr(error))
    return Sent(True, "")


def with_nodemailer(attempt: Attempt) -> Sent:
    transport: dict[str, object] = {
        "host": "127.0.0.1",
        "port": attempt.port,
        "secure": attempt.manner == "implicit",
        "requireTLS": attempt.manner == "starttls",
        "ignoreTLS": attempt.manner == "none",
        "tls": {"ca": attempt.server.ca_file.read_text()},
        "connectionTimeout": 20_000,
        "greetingTimeout": 20_000,
    }
    if attempt.has_login:
        transport["auth"] = {"user": USERNAME, "pass": attempt.password}
    envelope = {"from": SENDER, "to": [attempt.recipient]}
    raw = base64.b64encode(attempt.content).decode()
    order = json.dumps({"transport": transport, "envelope": envelope, "raw": raw})
    return run("node", str(NODE_MODULES.parent / "send.js"), stdin=order.encode())


def with_msmtp(attempt: Attempt) -> Sent:
    options = ["--host=127.0.0.1", f"--port={attempt.port}", f"--from={SENDER}", "--timeout=20"]
    if attempt.manner == "none":
        options += ["--tls=off"]
    else:
        options += ["--tls=on", f"--tls-starttls={'on' if attempt.manner == 'starttls' else 'off'}"]
        options += [f"--tls-trust-file={attempt.server.ca_file}"]
    if attempt.has_login:
        options += ["--auth=plain", f"--user={USERNAME}", f"--passwordeval=echo {attempt.password}"]
    # msmtp takes text as Unix programs write it, and makes CRLF of it.
    text = attempt.content.replace(b"\r\n", b"\n")
    return run("msmtp", "--file=/dev/null", "--debug", *options, attempt.recipient, stdin=text)


Client = Callable[[Attempt], Sent]
CLIENTS = [
    pytest.param(with_swaks, id="swaks", marks=pytest.mark.peer("swaks")),
    pytest.param(with_curl, id="curl", marks=pytest.mark.peer("curl")),
    pytest.param(with_smtplib, id="smtplib"),
    pytest.param(with_aiosmtplib, id="aiosmtplib"),
    pytest.param(with_nodemailer, id="nodemailer", marks=pytest.mark.peer("nodemailer")),
    pytest.param(with_msmtp, id="msmtp", marks=pytest.mark.peer("msmtp")),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    limits = {"tls_timeout": "2s", "auth_failures_per_client": 0, "auth_failures_per_account": 0}
    with make_server(tmp_path_factory.mktemp("clients"), {"limits": limits}) as one:
        yield one
        assert_calm(one)


def content_for(name: str) -> bytes:
    head = (
        f"From: Alice <{SENDER}>",
        f"To: <{name}@example.org>",
        "Date: Mon, 23 Nov 2026 10:00:00 +0000",
        f"Message-ID: {make_msgid(domain='example.org')}",
        f"Subject: sent by {name}",
        "MIME-Version: 1.0",
        "Content-Type: text/plain; charset=utf-8",
        "Content-Transfer-Encoding: 8bit",
    )
    return "\r\n".join([*head, "", *BODY, ""]).encode()


@pytest.mark.parametrize("listener", ["mx", *SUBMISSIONS])
@pytest.mark.parametrize("client", CLIENTS)
def test_client_delivers_what_it_was_given(server: Server, client: Client, listener: str) -> None:
    name = f"{client.__name__}.{listener}"
    content = content_for(name)
    sent = client(Attempt(server, listener, f"{name}@example.org", content))
    assert sent.succeeded, sent.output
    (stored,) = server.wait_for_messages(f"{name}@example.org")
    added, _, _ = stored.partition(b"From: Alice")
    assert stored[len(added) :] == content.replace(b"\r\n", b"\n")
    protocol = {"mx": "ESMTP", "submission": "ESMTPSA", "submissions": "ESMTPSA"}[listener]
    assert f" with {protocol} ".encode() in b" ".join(added.split()) + b" "


@pytest.mark.parametrize("listener", SUBMISSIONS)
@pytest.mark.parametrize("client", CLIENTS)
def test_client_is_told_that_its_password_is_wrong(server: Server, client: Client, listener: str) -> None:
    before = server.log().count("event=authentication_failed")
    sent = client(Attempt(server, listener, "nobody@example.org", content_for("wrong"), password=WRONG))
    assert not sent.succeeded
    if client is with_curl:
        assert "535" in sent.output or "Login denied" in sent.output
    else:
        assert "535" in sent.output
        assert "5.7.8" in sent.output
    line = server.wait_for_log("event=authentication_failed", count=before + 1)
    assert "reason=password" in line
    assert WRONG not in server.log()
    assert server.messages("nobody@example.org") == []


@pytest.mark.parametrize("client", CLIENTS)
def test_client_without_tls_is_told_to_use_it(server: Server, client: Client) -> None:
    attempt = Attempt(server, "submission", "nobody@example.org", content_for("plain"), tls="none", login=False)
    sent = client(attempt)
    assert not sent.succeeded
    assert "530" in sent.output
    assert "STARTTLS" in sent.output
    assert server.messages("nobody@example.org") == []


@pytest.mark.parametrize("client", CLIENTS)
def test_client_never_gets_to_say_its_password_in_plaintext(server: Server, client: Client) -> None:
    attempt = Attempt(server, "submission", "nobody@example.org", content_for("plain"), tls="none")
    sent = client(attempt)
    assert not sent.succeeded
    assert PASSWORD not in server.log()
    assert server.messages("nobody@example.org") == []


@pytest.mark.parametrize("listener", SUBMISSIONS)
@pytest.mark.parametrize("client", CLIENTS)
def test_client_without_login_is_told_to_log_in(server: Server, client: Client, listener: str) -> None:
    sent = client(Attempt(server, listener, "nobody@example.org", content_for("stranger"), login=False))
    assert not sent.succeeded
    assert "530" in sent.output
    assert "Authentication required" in sent.output
    assert server.messages("nobody@example.org") == []


@pytest.mark.parametrize("client", CLIENTS)
def test_client_with_implicit_tls_on_587_is_named_with_a_hint(server: Server, client: Client) -> None:
    before = server.log().count("event=wrong_protocol_seen")
    sent = client(Attempt(server, "submission", "nobody@example.org", content_for("mode"), tls="implicit"))
    assert not sent.succeeded
    line = server.wait_for_log("event=wrong_protocol_seen", count=before + 1)
    assert "sniffed=tls" in line
    assert "listener=submission " in line
    assert "port 465, or STARTTLS here" in line


@pytest.mark.parametrize("client", CLIENTS)
def test_client_with_starttls_on_465_is_named_with_a_hint(server: Server, client: Client) -> None:
    before = server.log().count("event=tls_failed")
    sent = client(Attempt(server, "submissions", "nobody@example.org", content_for("mode"), tls="starttls"))
    assert not sent.succeeded
    line = server.wait_for_log("event=tls_failed", count=before + 1)
    assert "hint=" in line
    assert "587" in line or "implicit" in line or "first octet" in line, line


def test_message_of_a_listed_network_is_relayed_on_25(tmp_path: Path) -> None:
    with make_server(tmp_path, {"relay": {"networks": ["127.0.0.0/8"]}, "route": _all_here(tmp_path)}) as one:
        sent = with_smtplib(Attempt(one, "mx", "far@example.net", content_for("relayed")))
        assert sent.succeeded, sent.output
        one.wait_for_messages("far@example.net")


def _all_here(directory: Path) -> list[dict[str, object]]:
    return [{"domains": ["*"], "via": "maildir", "path": str(directory / "mail" / "{local}@{domain}")}]

"""Snippets do what they say: pasted where they belong, with the real program, a message arrives at a real server."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from postreeve.clientconfig.kind import kind_named
from postreeve.clientconfig.settings import Server as Place
from postreeve.clientconfig.settings import TlsMode
from tests.lab.postfix import Postfix
from tests.lab.server import Server
from tests.peers import NODE_MODULES
from tests.scenarios.conftest import PASSWORD, USERNAME, assert_calm, make_server

SENDER = "alice@example.org"
MODES = {"submissions": TlsMode.IMPLICIT, "submission": TlsMode.STARTTLS}


@dataclass(frozen=True)
class Pasted:
    """A snippet, the directory that it is pasted in, and who is to get the message."""

    text: str
    directory: Path
    recipient: str
    ca_file: Path

    def run(self, *words: str | Path, stdin: str = "") -> None:
        done = subprocess.run(
            [str(word) for word in words],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd=self.directory,
            env={
                **os.environ,
                "SMTP_PASSWORD": PASSWORD,
                "SSL_CERT_FILE": str(self.ca_file),
                "NODE_EXTRA_CA_CERTS": str(self.ca_file),
                "NODE_PATH": str(NODE_MODULES),
                "PYTHONPATH": os.pathsep.join([str(self.directory), os.environ.get("PYTHONPATH", "")]),
            },
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with make_server(tmp_path_factory.mktemp("server")) as running:
        yield running
        assert_calm(running)


def paste(kind: str, server: Server, listener: str, directory: Path) -> Pasted:
    found = kind_named(kind)
    assert found is not None
    place = Place("localhost", server.port(listener), MODES[listener], USERNAME, SENDER)
    recipient = f"{uuid.uuid4().hex[:12]}@example.org"
    return Pasted(found.snippet(place), directory, recipient, server.ca_file)


def with_smtplib(pasted: Pasted, _: Callable[[str], Path]) -> None:
    sending = (
        f"\n\nmessage = EmailMessage()\nmessage['To'] = '{pasted.recipient}'\nmessage.set_content('x')\nsend(message)\n"
    )
    (pasted.directory / "program.py").write_text(pasted.text + sending)
    pasted.run(sys.executable, "program.py")


def with_django(pasted: Pasted, _: Callable[[str], Path]) -> None:
    require("django")
    (pasted.directory / "settings.py").write_text(pasted.text)
    (pasted.directory / "program.py").write_text(
        "import os\nos.environ['DJANGO_SETTINGS_MODULE'] = 'settings'\nfrom django.core.mail import send_mail\n"
        f"send_mail('s', 'x', None, ['{pasted.recipient}'])\n"
    )
    pasted.run(sys.executable, "program.py")


def with_flask(pasted: Pasted, _: Callable[[str], Path]) -> None:
    require("flask_mail")
    (pasted.directory / "config.py").write_text(pasted.text)
    (pasted.directory / "program.py").write_text(
        "from flask import Flask\nfrom flask_mail import Mail, Message\napp = Flask(__name__)\n"
        "app.config.from_pyfile('config.py')\nwith app.app_context():\n"
        f"    Mail(app).send(Message('s', recipients=['{pasted.recipient}'], body='x'))\n"
    )
    pasted.run(sys.executable, "program.py")


def with_fastapi(pasted: Pasted, _: Callable[[str], Path]) -> None:
    require("fastapi_mail")
    (pasted.directory / "program.py").write_text(
        f"{pasted.text}\nimport asyncio\nfrom fastapi_mail import FastMail, MessageSchema, MessageType\n"
        f"message = MessageSchema(subject='s', recipients=['{pasted.recipient}'], body='x', "
        "subtype=MessageType.plain)\nasyncio.run(FastMail(conf).send_message(message))\n"
    )
    pasted.run(sys.executable, "program.py")


def with_nodemailer(pasted: Pasted, peer: Callable[[str], Path]) -> None:
    node = peer("nodemailer")
    sending = (
        f"transporter.sendMail({{to: '{pasted.recipient}', text: 'x'}})"
        ".catch((problem) => { console.error(problem); process.exit(1); });\n"
    )
    (pasted.directory / "program.js").write_text(pasted.text + sending)
    pasted.run(node, "program.js")


def with_msmtp(pasted: Pasted, peer: Callable[[str], Path]) -> None:
    msmtp = peer("msmtp")
    file = pasted.directory / "msmtprc"
    # The server's authority is none that this machine knows.
    file.write_text(pasted.text.replace("auth on\n", f"auth on\ntls_trust_file {pasted.ca_file}\n"))
    file.chmod(0o600)
    pasted.run(msmtp, "-C", file, pasted.recipient, stdin=f"To: {pasted.recipient}\nSubject: s\n\nx\n")


def require(module: str) -> None:
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed in this environment")


SENDING = {
    "smtplib": with_smtplib,
    "django": with_django,
    "flask-mail": with_flask,
    "fastapi-mail": with_fastapi,
    "nodemailer": with_nodemailer,
    "msmtp": with_msmtp,
}


@pytest.mark.parametrize("listener", MODES)
@pytest.mark.parametrize("kind", SENDING)
def test_snippet_sends_with_the_real_program(
    kind: str, listener: str, server: Server, tmp_path: Path, peer: Callable[[str], Path]
) -> None:
    pasted = paste(kind, server, listener, tmp_path)
    SENDING[kind](pasted, peer)
    (message,) = server.wait_for_messages(pasted.recipient)
    assert SENDER.encode() in message


@pytest.mark.peer("postfix")
@pytest.mark.parametrize("listener", MODES)
def test_snippet_sends_with_postfix(listener: str, server: Server, tmp_path: Path, peer: Callable[[str], Path]) -> None:
    import smtplib

    peer("postfix")
    pasted = paste("postfix", server, listener, tmp_path)
    lines = [line for line in pasted.text.splitlines() if not line.startswith("#")]
    settings = dict(line.split(" = ", 1) for line in lines)
    (comment,) = (line for line in pasted.text.splitlines() if line.startswith("#"))
    passwords = tmp_path / "sasl_passwd"
    passwords.write_text(comment.partition(": ")[2].replace("$SMTP_PASSWORD", PASSWORD) + "\n")
    assert settings["smtp_sasl_password_maps"] == "hash:/etc/postfix/sasl_passwd"
    settings |= {
        "smtp_sasl_password_maps": f"texthash:{passwords}",
        "smtp_tls_CAfile": str(pasted.ca_file),
        "mynetworks": "127.0.0.0/8",
        "smtpd_relay_restrictions": "permit_mynetworks, reject",
        "virtual_mailbox_domains": "",
        "mydestination": "",
        "smtp_host_lookup": "native",
    }
    with Postfix(tmp_path / "postfix", server.certificate_file, server.key_file, sasl=None, **settings) as postfix:
        with smtplib.SMTP("127.0.0.1", postfix.port, timeout=20) as client:
            client.sendmail(SENDER, [pasted.recipient], f"From: {SENDER}\r\nSubject: s\r\n\r\nx\r\n")
        try:
            (message,) = server.wait_for_messages(pasted.recipient)
        except AssertionError:
            raise AssertionError(postfix.log()[-2000:]) from None
    assert SENDER.encode() in message

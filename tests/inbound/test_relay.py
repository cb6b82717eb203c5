"""No open relay: every form over real sockets, and swaks as a judge from outside."""

import subprocess
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest

from tests.inbound.harness import HOST, POLICY, Client, Serving

FORMS = {
    "plain": ("<user@victim.test>", "550 5.7.1"),
    "percent-hack": ("<user%victim.test@example.org>", "550 5.7.1"),
    "bang-path": ("<victim.test!user@example.org>", "550 5.7.1"),
    "source-route": ("<@example.org,@x.test:user@victim.test>", "550 5.7.1"),
    "source-route-percent": ("<@victim.test:user%victim.test@example.org>", "550 5.7.1"),
    "quoted-at": ('<"user@victim.test"@example.org>', "550 5.7.1"),
    "quoted-percent": ('<"user%victim.test"@example.org>', "550 5.7.1"),
    "user-at-here-at-victim": ("<user@example.org@victim.test>", "501 5.1.3"),
    "literal": ("<user@[127.0.0.1]>", "550 5.7.1"),
    "literal-ipv6": ("<user@[IPv6:::1]>", "550 5.7.1"),
    "literal-ipv6-unmarked": ("<user@[::1]>", "501 5.1.3"),
    "localhost": ("<user@localhost>", "550 5.7.1"),
    "empty-domain": ("<user@>", "501 5.1.3"),
    "bare-user": ("<user>", "501 5.1.3"),
    "trailing-dot-foreign": ("<user@victim.test.>", "550 5.7.1"),
    "upper-case-foreign": ("<USER@VICTIM.TEST>", "550 5.7.1"),
    "sub-domain": ("<user@sub.example.org>", "550 5.7.1"),
    "suffix": ("<user@evil-example.org>", "550 5.7.1"),
    "idn": ("<user@xn--victim-abc.test>", "550 5.7.1"),
    "host-name": ("<user@mail.example.org>", "550 5.7.1"),
    "null": ("<>", "501 5.1.3"),
    "uucp-foreign": ("<victim.test!user@victim.test>", "550 5.7.1"),
    "no-brackets-space": ("user@victim.test extra", "501 5.5.4"),
    "newline": ("<user@victim.test\nRCPT TO:<x@example.org>", "500 5.5.2"),
}
SENDERS = ["<>", "<bob@example.com>", "<bob@example.org>", "<postmaster@example.org>", "<user@mail.example.org>"]


@pytest.mark.parametrize(("path", "answer"), FORMS.values(), ids=FORMS.keys())
def test_relay_is_refused_before_data(server: Serving, path: str, answer: str) -> None:
    with Client(server.port("mx")) as client:
        client.reply()
        client.ask("EHLO mail.example.org")
        client.ask("MAIL FROM:<bob@example.com>")
        assert client.ask(f"RCPT TO:{path}").startswith(answer)
        if answer[:3] != "500":
            assert client.ask("DATA").startswith(("554", "503"))
    assert server.messages() == []


@pytest.mark.parametrize("sender", SENDERS)
def test_relay_is_refused_whoever_claims_to_send(server: Serving, sender: str) -> None:
    with Client(server.port("mx")) as client:
        client.reply()
        client.ask("EHLO localhost")
        assert client.ask(f"MAIL FROM:{sender}").startswith("250")
        assert client.ask("RCPT TO:<user@victim.test>").startswith("550 5.7.1")


@pytest.mark.parametrize(
    "recipient", ["<bob@EXAMPLE.org>", "<bob@example.org.>", "<Postmaster>", "<alice@example.net>"]
)
def test_own_recipients_are_taken(server: Serving, recipient: str) -> None:
    with Client(server.port("mx")) as client:
        client.reply()
        client.ask("EHLO c.example.com")
        client.ask("MAIL FROM:<bob@example.com>")
        assert client.ask(f"RCPT TO:{recipient}").startswith("250 2.1.5")


def test_listed_networks_relay_on_the_relay_listener_only(tmp_path: Path) -> None:
    policy = replace(POLICY, relay_networks=(ip_network("127.0.0.0/8"),))
    with Serving(tmp_path, policy=policy) as server:
        with Client(server.port("mx")) as client:
            client.reply()
            client.ask("EHLO c.example.com")
            client.ask("MAIL FROM:<bob@example.com>")
            assert client.ask("RCPT TO:<user@victim.test>").startswith("250 2.1.5")
        with Client(server.port("submissions"), server.tls.client) as client:
            client.reply()
            client.ask("EHLO c.example.com")
            assert client.ask("MAIL FROM:<bob@example.com>").startswith("530 5.7.0")


def test_postmaster_of_the_host_goes_to_the_configured_one(server: Serving) -> None:
    with Client(server.port("mx")) as client:
        client.reply()
        client.ask("EHLO c.example.com")
        client.ask("MAIL FROM:<>")
        client.ask("RCPT TO:<Postmaster>")
        client.ask("DATA")
        client.send(b"Subject: x\r\n\r\nx\r\n.\r\n")
        assert client.reply().startswith("250 2.0.0")
    (message,) = server.messages()
    assert str(message.recipients[0].recipient.mailbox) == "postmaster@example.org"


@pytest.mark.peer("swaks")
@pytest.mark.parametrize(("recipient", "code"), [("user@victim.test", 24), ("bob@example.org", 0)])
def test_swaks_agrees(server: Serving, peer: Callable[[str], Path], recipient: str, code: int) -> None:
    command = [str(peer("swaks")), "--server", HOST, "--port", str(server.port("mx")), "--to", recipient]
    command += ["--from", "bob@example.com", "--tls-optional"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    assert len(server.messages()) == (code == 0)

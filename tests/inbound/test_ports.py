"""The three ports, row by row: what each offers, requires and refuses."""

import base64
import smtplib
import subprocess
from pathlib import Path

import pytest

from tests.inbound.harness import HOST, HOSTNAME, PASSWORD, USERNAME, Client, Serving
from tests.peers import find_program

PLAIN = base64.b64encode(f"\0{USERNAME}\0{PASSWORD}".encode()).decode()
MESSAGE = b"From: alice@example.org\r\nTo: bob@example.com\r\nSubject: hello\r\n\r\nHello.\r\n"


def connect(server: Serving, name: str) -> Client:
    tls = server.tls.client if name == "submissions" else None
    client = Client(server.port(name), tls)
    assert client.reply() == f"220 {HOSTNAME} ESMTP"
    return client


def secure(server: Serving, client: Client) -> None:
    assert client.ask("STARTTLS").startswith("220 2.0.0 ")
    client.start_tls(server.tls.client)


def capabilities(client: Client) -> set[str]:
    client.send(b"EHLO client.example.com\r\n")
    words = set()
    while line := client.line():
        words.add(line[4:].split(" ")[0])
        if line[3] == " ":
            break
    return words


@pytest.mark.parametrize(
    ("name", "starttls", "auth"),
    [("mx", True, False), ("submission", True, False), ("submissions", False, True)],
)
def test_port_offers_in_the_clear(server: Serving, name: str, starttls: bool, auth: bool) -> None:
    with connect(server, name) as client:
        offered = capabilities(client)
    assert ("STARTTLS" in offered, "AUTH" in offered) == (starttls, auth)
    assert {"SIZE", "PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES", "SMTPUTF8", "CHUNKING", "BINARYMIME"} <= offered
    assert {"DSN", "LIMITS", "DELIVERBY", "MT-PRIORITY"} <= offered
    assert ("FUTURERELEASE" in offered) is (name != "mx")


@pytest.mark.parametrize(("name", "auth"), [("mx", False), ("submission", True)])
def test_port_offers_inside_starttls(server: Serving, name: str, auth: bool) -> None:
    with connect(server, name) as client:
        capabilities(client)
        secure(server, client)
        offered = capabilities(client)
    assert ("STARTTLS" in offered, "AUTH" in offered) == (False, auth)


@pytest.mark.parametrize(
    ("name", "command", "reply"),
    [
        ("mx", "MAIL FROM:<bob@example.com>", "250 2.1.0"),
        ("mx", f"AUTH PLAIN {PLAIN}", "503 5.5.1"),
        ("submission", "MAIL FROM:<alice@example.org>", "530 5.7.0"),
        ("submission", f"AUTH PLAIN {PLAIN}", "530 5.7.0"),
        ("submissions", "MAIL FROM:<alice@example.org>", "530 5.7.0"),
        ("submissions", f"AUTH PLAIN {PLAIN}", "235 2.7.0"),
    ],
)
def test_port_answers_without_starttls(server: Serving, name: str, command: str, reply: str) -> None:
    with connect(server, name) as client:
        capabilities(client)
        answer = client.ask(command)
    assert answer.startswith(reply)
    if name == "mx" and command.startswith("AUTH"):
        assert "465" in answer
        assert "587" in answer
        assert len(server.told("CredentialsMisplaced")) == 1


@pytest.mark.parametrize("name", ["mx", "submission", "submissions"])
def test_port_takes_mail_for_our_domain(server: Serving, name: str) -> None:
    with connect(server, name) as client:
        capabilities(client)
        if name != "submissions":
            secure(server, client)
            capabilities(client)
        if name != "mx":
            assert client.ask(f"AUTH PLAIN {PLAIN}").startswith("235 ")
        assert client.ask("MAIL FROM:<alice@example.org>").startswith("250 2.1.0")
        assert client.ask("RCPT TO:<bob@example.org>").startswith("250 2.1.5")
        assert client.ask("DATA").startswith("354")
        client.send(MESSAGE + b".\r\n")
        answer = client.reply()
        assert client.ask("QUIT").startswith("221 ")
        assert client.line() == ""
    (message,) = server.messages()
    assert answer == f"250 2.0.0 queued as {server.told('MessageAccepted')[0].message}"
    content = server.content(message)
    assert content.endswith(MESSAGE)
    added = content.removesuffix(MESSAGE).decode()
    assert added.startswith("Received: from client.example.com ([127.0.0.1])")
    protocol = "ESMTPS" if name == "mx" else "ESMTPSA"
    assert f"with {protocol} " in added.replace("\r\n\t", " ")
    assert "using TLSv1.3" in added
    assert ("Date: " in added, "Message-ID: " in added) == ((False, False) if name == "mx" else (True, True))
    assert (message.origin.listener, message.origin.protocol) == (name, protocol)
    assert message.origin.account == ("" if name == "mx" else USERNAME)


@pytest.mark.parametrize(
    ("name", "recipient", "code"),
    [
        ("mx", "bob@example.com", 550),
        ("mx", "bob@example.org", 250),
        ("submissions", "bob@example.com", 250),
        ("submissions", "nobody@example.net", 550),
        ("submissions", "bob@nowhere.test", 451),
    ],
)
def test_port_relays_for_accounts_only(server: Serving, name: str, recipient: str, code: int) -> None:
    with connect(server, name) as client:
        capabilities(client)
        if name != "mx":
            client.ask(f"AUTH PLAIN {PLAIN}")
        client.ask("MAIL FROM:<alice@example.org>")
        assert client.ask(f"RCPT TO:<{recipient}>").startswith(str(code))


@pytest.mark.parametrize("name", ["mx", "submission", "submissions"])
def test_smtplib_sends_through_each_port(server: Serving, name: str, tmp_path: Path) -> None:
    if name == "submissions":
        client: smtplib.SMTP = smtplib.SMTP_SSL(HOST, server.port(name), context=server.tls.client, timeout=20)
    else:
        client = smtplib.SMTP(HOST, server.port(name), timeout=20)
        client.starttls(context=server.tls.client)
    with client:
        if name != "mx":
            client.login(USERNAME, PASSWORD)
        refused = client.sendmail("alice@example.org", ["bob@example.org", "carol@example.org"], MESSAGE)
    assert refused == {}
    (message,) = server.messages()
    assert [str(one.recipient.mailbox) for one in message.recipients] == ["bob@example.org", "carol@example.org"]
    closed = server.told("SessionClosed")
    assert [(event.reason, event.messages) for event in closed] == [("quit", 1)]


@pytest.mark.peer("smtp-sink")
@pytest.mark.parametrize("sessions", [1, 20])
def test_smtp_source_loses_nothing(server: Serving, sessions: int) -> None:
    program = find_program("smtp-source")
    assert program is not None
    command = [str(program), "-s", str(sessions), "-m", "300", "-l", "4096", "-r", "2"]
    command += ["-f", "bob@example.com", "-t", "carol@example.org", f"{HOST}:{server.port('mx')}"]
    subprocess.run(command, timeout=60, check=True)
    messages = server.messages()
    assert len(messages) == 300
    assert {len(message.recipients) for message in messages} == {2}

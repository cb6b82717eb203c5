"""No stranger relays through us: every old trick, over real sockets, from addresses that nobody listed."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.server import Server
from tests.lab.talk import Talk, trusting
from tests.scenarios.conftest import assert_calm, make_server

HERE, VICTIM = "example.org", "victim.test"
STRANGER = "stranger@example.com"
SOURCES = ("127.0.0.2", "127.0.0.3", "127.8.9.10", "127.255.255.254")

RECIPIENTS = (
    f"user@{VICTIM}",
    f"USER@{VICTIM.upper()}",
    f"user@{VICTIM}.",
    f"user@sub.{HERE}",
    f"user@{HERE}.{VICTIM}",
    f"user@x{HERE}",
    f"user%{VICTIM}@{HERE}",
    f"user%{VICTIM}%{HERE}@{HERE}",
    f"user%{VICTIM}@[127.0.0.1]",
    f"user%{VICTIM}@mail.{HERE}",
    f"user%{VICTIM}",
    f"{VICTIM}!user",
    f"{VICTIM}!user@{HERE}",
    f"{HERE}!{VICTIM}!user@{HERE}",
    f"{VICTIM}!user@[127.0.0.1]",
    f"{HERE}!user@{VICTIM}",
    f"@{HERE}:user@{VICTIM}",
    f"@{HERE},@x.test:user@{VICTIM}",
    f"@[127.0.0.1]:user@{VICTIM}",
    f"@mail.{HERE}:user@{VICTIM}",
    f"@{HERE}:user%{VICTIM}@{HERE}",
    f'"user@{VICTIM}"@{HERE}',
    f'"user@{VICTIM}"',
    f'"user%{VICTIM}"@{HERE}',
    f'"{VICTIM}!user"@{HERE}',
    f'"user\\@{VICTIM}"@{HERE}',
    f"user@{VICTIM}@{HERE}",
    f"user@{HERE}@{VICTIM}",
    f"user@{VICTIM}@[127.0.0.1]",
    "user@[127.0.0.1]",
    "user@[127.0.0.2]",
    "user@[IPv6:::1]",
    "user@[::1]",
    "user@[192.0.2.1]",
    "user@127.0.0.1",
    "user@localhost",
    "user@",
    "user",
    "@",
    f"@{HERE}",
    f"user@{HERE} <user@{VICTIM}>",
    f"user@{HERE},user@{VICTIM}",
    f"user@{HERE}\tuser@{VICTIM}",
    f"user@{HERE};user@{VICTIM}",
    f"user\\@{VICTIM}@{HERE}",
    f"user+x@{VICTIM}",
    f'"a b"@{VICTIM}',
    f'""@{VICTIM}',
    "user@xn--vctim-xva.test",
    "user@v\u00edctim.test",
    f"user@\u2025{HERE}",
    f"postmaster@{VICTIM}",
    f"postmaster%{VICTIM}@{HERE}",
    f"user@mail.{HERE}",
    f"alice@net.{HERE}",
    f"%{VICTIM}@{HERE}",
    f"user%@{HERE}",
    f"!user@{HERE}",
)
SENDERS = (
    STRANGER,
    "",
    f"user@{HERE}",
    f"postmaster@{HERE}",
    f"root@mail.{HERE}",
    f"user@{VICTIM}",
    "user@[127.0.0.1]",
    "user@localhost",
    f"@{HERE}:user@{VICTIM}",
    f"user%{VICTIM}@{HERE}",
)
HELLOS = (f"mail.{HERE}", HERE, "[127.0.0.1]", "localhost", VICTIM, "[127.0.0.9]")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    config = {
        # 127.0.0.9 is trusted, to show that it is the address that decides.
        "relay": {"networks": ["127.0.0.9/32"]},
        "limits": {"max_errors": 1000, "soft_errors": 0},
    }
    with make_server(tmp_path_factory.mktemp("relay"), config) as one:
        yield one
    # Stopped, it has told all there was to tell.
    assert "event=message_accepted" not in one.log()
    assert_calm(one)


def refused_before_data(talk: Talk, sender: str, recipient: str) -> str:
    """Try; returns the reply that refused, and asserts that no content could follow."""
    reply = talk.ask(f"MAIL FROM:<{sender}>")
    if reply.startswith("250 "):
        reply = talk.ask(f"RCPT TO:<{recipient}>")
        assert talk.ask("DATA")[:3] in ("503", "554")
    else:
        assert talk.ask(f"RCPT TO:<{recipient}>").startswith("503 ")
        assert talk.ask("DATA").startswith("503 ")
    assert talk.ask("RSET").startswith("250 ")
    return reply


def assert_refused(reply: str) -> None:
    assert re.match(r"550 5\.7\.1 |501 5\.|553 5\.", reply), reply


@pytest.mark.parametrize("recipient", RECIPIENTS)
def test_recipient_elsewhere_is_refused_to_strangers(server: Server, recipient: str) -> None:
    with Talk(server.port("mx"), source=SOURCES[len(recipient) % len(SOURCES)]) as talk:
        talk.hello()
        assert_refused(refused_before_data(talk, STRANGER, recipient))


@pytest.mark.parametrize("over_tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("sender", SENDERS)
def test_sender_makes_no_difference(server: Server, sender: str, over_tls: bool) -> None:
    with Talk(server.port("mx"), source="127.0.0.2") as talk:
        talk.hello()
        if over_tls:
            talk.start_tls(trusting(server.ca_file))
            talk.offers()
        for recipient in (f"user@{VICTIM}", f"user%{VICTIM}@{HERE}"):
            assert_refused(refused_before_data(talk, sender, recipient))


@pytest.mark.parametrize("verb", ["EHLO", "HELO"])
@pytest.mark.parametrize("hello", HELLOS)
def test_name_in_hello_makes_no_difference(server: Server, hello: str, verb: str) -> None:
    with Talk(server.port("mx"), source="127.0.0.2") as talk:
        talk.reply()
        assert talk.ask(f"{verb} {hello}").startswith("250")
        assert_refused(refused_before_data(talk, f"user@{HERE}", f"user@{VICTIM}"))


def test_low_source_port_makes_no_difference(server: Server) -> None:
    """Ports below 1024 were once a sign of root, and of trust."""
    for port in range(700, 1000):
        try:
            talk = Talk(server.port("mx"), source="127.0.0.2", source_port=port)
        except PermissionError:
            pytest.skip("low ports are for root")
        except OSError:
            continue
        with talk:
            talk.hello()
            assert_refused(refused_before_data(talk, STRANGER, f"user@{VICTIM}"))
            return
    raise AssertionError("no low port was free")


@pytest.mark.parametrize("listener", ["submission", "submissions"])
def test_submission_port_relays_for_nobody_without_login(server: Server, listener: str) -> None:
    context = trusting(server.ca_file)
    for source in ("127.0.0.2", "127.0.0.9"):
        with Talk(server.port(listener), tls=context if listener == "submissions" else None, source=source) as talk:
            talk.hello()
            if listener == "submission":
                talk.start_tls(context)
                talk.offers()
            for recipient in (f"user@{VICTIM}", f"user@{HERE}"):
                assert talk.ask(f"MAIL FROM:<user@{HERE}>").startswith("530 5.7.0 ")
                assert talk.ask(f"RCPT TO:<{recipient}>").startswith("530 5.7.0 ")
                assert talk.ask("DATA").startswith("530 5.7.0 ")


def test_listed_network_relays_and_its_neighbour_does_not(server: Server) -> None:
    """Without this, a server that refused everything would pass."""
    with Talk(server.port("mx"), source="127.0.0.9") as listed:
        listed.hello()
        listed.envelope(STRANGER, f"user@{VICTIM}")
    with Talk(server.port("mx"), source="127.0.0.8") as neighbour:
        neighbour.hello()
        assert_refused(refused_before_data(neighbour, STRANGER, f"user@{VICTIM}"))
        neighbour.envelope(STRANGER, f"user@{HERE}", f"POSTMASTER@{HERE.upper()}", "Postmaster")


@pytest.mark.peer("nmap")
def test_nmap_finds_no_open_relay(server: Server, tmp_path: Path) -> None:
    arguments = f"smtp-open-relay.domain={HERE},smtp-open-relay.to=user@{VICTIM},smtp-open-relay.from={STRANGER}"
    command = ["nmap", "-Pn", "-n", "-p", str(server.port("mx")), "--script", "+smtp-open-relay"]
    done = subprocess.run(
        [*command, "--script-args", arguments, "127.0.0.1"], capture_output=True, text=True, timeout=60, check=True
    )
    assert "doesn't seem to be an open relay" in done.stdout, done.stdout


@pytest.mark.peer("swaks")
def test_swaks_cannot_relay(server: Server) -> None:
    command = ["swaks", "--server", "127.0.0.1", "--port", str(server.port("mx")), "--local-interface", "127.0.0.2"]
    command += ["--from", STRANGER, "--to", f"user@{VICTIM}", "--ehlo", f"mail.{HERE}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 24, done.stdout
    assert "550 5.7.1 relaying denied" in done.stdout

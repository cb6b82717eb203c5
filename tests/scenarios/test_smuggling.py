"""Smuggling over real sockets: on every port, whatever ends a line how, a content is one message or none.

Outbound, each body that a client may submit is relayed to a Postfix that takes a bare newline for a line end, as
Debian 12 ships it: what leaves us must be one message there as well.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.postfix import Postfix
from tests.lab.server import Server
from tests.lab.talk import Talk, open_session, trusting
from tests.lab.waiting import until
from tests.scenarios.conftest import PASSWORD, USERNAME, assert_calm, make_server

SEQUENCE_COUNT = 12
LISTENERS = ("mx", "submission", "submissions")
FIRST = b"From: <alice@example.org>\r\nTo: <%b@example.org>\r\nSubject: first\r\n\r\nfirst"
SECOND = (
    b"MAIL FROM:<admin@example.com>\r\nRCPT TO:<%b@example.org>\r\nDATA\r\n"
    b"From: <admin@example.com>\r\nSubject: smuggled\r\n\r\nsecond"
)


@pytest.fixture(scope="module")
def sequences(suites: Path) -> dict[str, bytes]:
    listed = json.loads((suites / "smtp-smuggling" / "sequences.json").read_text("utf-8"))
    found = {entry["name"]: bytes.fromhex(entry["bytes_hex"]) for entry in listed}
    assert len(found) == SEQUENCE_COUNT
    return found


@pytest.fixture(scope="module", params=["reject", "normalise"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    limits = {"bare_newlines": request.param, "max_errors": 1000, "soft_errors": 0}
    with make_server(tmp_path_factory.mktemp(request.param), {"limits": limits}) as one:
        yield one
        assert_calm(one)


def begin(server: Server, listener: str, context: ssl.SSLContext, over_tls: bool) -> Talk:
    if listener == "mx":
        talk = open_session(server.port("mx"), "mx", context)
        if over_tls:
            talk.start_tls(context)
            talk.offers()
        return talk
    return open_session(server.port(listener), listener, context, USERNAME, PASSWORD)


@pytest.mark.parametrize("after_bdat", [False, True], ids=["data", "data-after-bdat"])
@pytest.mark.parametrize(
    ("listener", "over_tls"),
    [("mx", False), ("mx", True), ("submission", True), ("submissions", True)],
    ids=["25", "25-tls", "587", "465"],
)
def test_smuggled_message_never_arrives(
    server: Server, sequences: dict[str, bytes], listener: str, over_tls: bool, after_bdat: bool
) -> None:
    context = trusting(server.ca_file)
    expected: dict[str, int] = {}
    for number, sequence in enumerate(sequences.values()):
        name = f"{listener}{over_tls:d}{after_bdat:d}.{number}"
        box, victim = f"{name}@example.org", f"victim.{name}"
        with begin(server, listener, context, over_tls) as talk:
            if after_bdat:
                talk.envelope("alice@example.org", f"before.{name}@example.org")
                assert talk.bdat(b"From: <alice@example.org>\r\n\r\nbefore\r\n").startswith("250 ")
            talk.envelope("alice@example.org", box)
            assert talk.ask("DATA").startswith("354 ")
            talk.send(FIRST % name.encode() + sequence + SECOND % victim.encode() + b"\r\n.\r\n")
            reply = talk.reply()
            expected[box] = int(reply.startswith("250 "))
            assert reply[0] in "25", reply
            # In step: the next command gets the next reply, and no reply of a smuggled one is in between.
            assert talk.ask("NOOP").startswith("250 2.0.0"), reply
            assert talk.ask("QUIT").startswith("221 ")
    refuses = server.config["limits"]["bare_newlines"] == "reject"
    assert sum(expected.values()) == (0 if refuses else SEQUENCE_COUNT - 2)
    for box, count in expected.items():
        if count:
            (stored,) = server.wait_for_messages(box)
            assert b"\r" not in stored
            assert b"\0" not in stored
        assert len(server.messages(box)) == count
    assert not list(server.mail_dir.glob("victim.*"))
    assert not [line for line in server.log().splitlines() if "sender=admin@example.com" in line]


@pytest.mark.peer("postfix")
def test_receiver_below_can_be_smuggled_to(tmp_path: Path, sequences: dict[str, bytes]) -> None:
    """Else the test below would prove nothing."""
    server = make_server(tmp_path)
    server.prepare()
    files = (server.certificate_file, server.key_file)
    with (
        Postfix(tmp_path / "postfix", *files, smtpd_forbid_bare_newline="no") as postfix,
        Talk(postfix.port) as talk,
    ):
        talk.hello()
        talk.envelope("alice@example.org", "bob@example.com")
        assert talk.ask("DATA").startswith("354 ")
        talk.send(FIRST % b"x" + sequences["LF.CRLF"] + SECOND % b"victim" + b"\r\n.\r\n")
        postfix.wait_for_messages(2)


@pytest.mark.peer("postfix")
@pytest.mark.parametrize("way", ["data", "bdat"])
@pytest.mark.parametrize("newlines", ["reject", "normalise"])
def test_relayed_body_is_one_message_at_a_receiver_that_can_be_smuggled_to(
    tmp_path: Path, sequences: dict[str, bytes], way: str, newlines: str
) -> None:
    server = make_server(tmp_path, {"limits": {"bare_newlines": newlines, "max_errors": 1000, "soft_errors": 0}})
    server.prepare()
    files = (server.certificate_file, server.key_file)
    with Postfix(tmp_path / "postfix", *files, smtpd_forbid_bare_newline="no") as postfix:
        hop = {"via": "smarthost", "host": "127.0.0.1", "port": postfix.port, "tls": "opportunistic"}
        server.config["route"] = [{"domains": ["*"], **hop}]
        with server:
            accepted = submit_all(server, sequences, way)
            assert accepted == (0 if newlines == "reject" else SEQUENCE_COUNT - 2) + 1
            until(lambda: server.log().count("event=recipient_delivered") >= accepted, "relaying")
            stored = postfix.wait_for_messages(accepted)
            until(postfix.is_idle, "Postfix's rest")
            assert len(postfix.messages()) == accepted
            assert not [one for one in stored if b"Return-Path: <admin@example.com>" in one]
            assert postfix.log().count("from=<admin@example.com>") == 0
            assert_calm(server)


def submit_all(server: Server, sequences: dict[str, bytes], way: str) -> int:
    """Each body once, and a harmless one; returns how many were accepted."""
    accepted = 0
    context = trusting(server.ca_file)
    contents = [FIRST % b"x" + sequence + SECOND % b"victim" + b"\r\n" for sequence in sequences.values()]
    contents.append(FIRST % b"x" + b"\r\n..dots\r\n..\r\n.\r\n" + SECOND % b"victim" + b"\r\n")
    for content in contents:
        with open_session(server.port("submissions"), "submissions", context, USERNAME, PASSWORD) as talk:
            talk.envelope("alice@example.org", "bob@example.com")
            if way == "bdat":
                reply = talk.bdat(content, 37)
            else:
                assert talk.ask("DATA").startswith("354 ")
                stuffed = content.replace(b"\r\n.", b"\r\n..") if content is contents[-1] else content
                talk.send(stuffed + b".\r\n")
                reply = talk.reply()
            accepted += reply.startswith("250 ")
            assert talk.ask("NOOP").startswith("250 ")
    return accepted

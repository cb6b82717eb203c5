"""Real servers receive what was submitted; routes, retries, fallbacks and reports do what they promise."""

from __future__ import annotations

import email
import email.policy
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from tests.lab.dns_server import DnsServer, Fault, ThreadedDnsServer
from tests.lab.dovecot import Dovecot
from tests.lab.postfix import Postfix, free_ports
from tests.lab.receiver import Receiver
from tests.lab.server import Server
from tests.lab.talk import open_session, trusting
from tests.lab.waiting import until
from tests.scenarios.conftest import PASSWORD, USERNAME, assert_calm, make_server

SENDER = "alice@example.org"
CONTENT = b"From: alice@example.org\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\nSubject: a test\r\n\r\n.dot\r\nlast\r\n"
RELAY_PASSWORD = "a relay's password"


def local_route(directory: Path) -> dict[str, Any]:
    return {"domains": ["example.org"], "via": "maildir", "path": str(directory / "mail" / "{local}@{domain}")}


def config(directory: Path, *routes: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """example.org is ours; everything else goes by `routes`; quick retries."""
    return {
        "domain": [{"name": "example.org"}],
        "route": [local_route(directory), *routes],
        "queue": {"retry": ["1s"], "lifetime": "1h", "warn_after": []},
        **more,
    }


def submit(
    server: Server,
    *recipients: str,
    parameters: str = "",
    rcpt: str = "",
    content: bytes = CONTENT,
    sender: str = SENDER,
) -> None:
    with open_session(server.port("submissions"), "submissions", trusting(server.ca_file), USERNAME, PASSWORD) as talk:
        reply = talk.ask(f"MAIL FROM:<{sender}>{parameters and ' ' + parameters}")
        assert reply.startswith("250 "), reply
        for recipient in recipients:
            reply = talk.ask(f"RCPT TO:<{recipient}>{rcpt and ' ' + rcpt}")
            assert reply.startswith("250 "), reply
        reply = talk.data(content)
        assert reply.startswith("250 "), reply


def report(stored: bytes) -> tuple[EmailMessage, list[dict[str, str]]]:
    """A DSN: the message, and the fields of each of its groups (RFC 3464, section 2.1)."""
    message = email.message_from_bytes(stored, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    assert message.get_content_type() == "multipart/report", stored
    _human, machine, *_ = message.iter_parts()
    assert "delivery-status" in machine.get_content_type()
    return message, [{key.lower(): str(value) for key, value in group.items()} for group in machine.get_payload()]


# --- real servers ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dovecot(tmp_path_factory: pytest.TempPathFactory, peer: Callable[[str], Path]) -> Iterator[Dovecot]:
    peer("dovecot")
    with Dovecot(tmp_path_factory.mktemp("d"), {"bob": "x", "relay": RELAY_PASSWORD}) as one:
        yield one


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Server:
    one = make_server(tmp_path_factory.mktemp("s"))
    one.prepare()
    return one


@pytest.fixture(scope="module")
def postfix(
    tmp_path_factory: pytest.TempPathFactory, peer: Callable[[str], Path], dovecot: Dovecot, prepared: Server
) -> Iterator[Postfix]:
    peer("postfix")
    files = (prepared.certificate_file, prepared.key_file)
    with Postfix(tmp_path_factory.mktemp("p") / "x", *files, sasl=dovecot.sasl) as one:
        yield one


def test_dovecot_and_postfix_receive_by_every_way(prepared: Server, dovecot: Dovecot, postfix: Postfix) -> None:
    login = {"username": "relay", "password": RELAY_PASSWORD, "host": "127.0.0.1"}
    ways = {
        "opportunistic.test": {"host": "127.0.0.1", "port": postfix.port, "tls": "opportunistic"},
        "plain.test": {"host": "127.0.0.1", "port": postfix.port, "tls": "none"},
        "s587.test": {"port": postfix.submission_port, "tls": "required", **login},
        "s465.test": {"port": postfix.submissions_port, "tls": "implicit", **login},
    }
    routes = [{"name": name, "domains": [name], "via": "smarthost", **way} for name, way in ways.items()]
    lmtp = {"domains": ["lmtp.test"], "via": "lmtp", "socket": str(dovecot.lmtp)}
    given = config(prepared.directory, {"domains": ["*"], "via": "hold"}, lmtp, *routes)
    given["domain"].append({"name": "lmtp.test"})
    prepared.config |= given
    prepared._env["SSL_CERT_FILE"] = str(prepared.ca_file)
    with prepared:
        for name in ways:
            submit(prepared, f"bob@{name}")
        submit(prepared, "bob@lmtp.test", "nobody@lmtp.test")
        stored = postfix.wait_for_messages(len(ways))
        (letter,) = dovecot.wait_for_messages("bob")
        (bounce,) = prepared.wait_for_messages(SENDER)
        assert_calm(prepared)
    assert all(one.endswith(CONTENT.replace(b"\r\n", b"\n")) for one in [*stored, letter])
    # `with ESMTPS (TLS…` and `with ESMTPSA` are Postfix's own words about how it got the message.
    by_name = {name: next(one for one in stored if f"bob@{name}".encode() in one) for name in ways}
    assert b"with ESMTPS " in by_name["opportunistic.test"]
    assert b"with ESMTP " in by_name["plain.test"]
    assert b"with ESMTPSA " in by_name["s587.test"]
    assert b"with ESMTPSA " in by_name["s465.test"]
    _, (_, failed) = report(bounce)
    assert failed["final-recipient"] == "rfc822; nobody@lmtp.test"
    assert failed["action"] == "failed"


# --- MX ---------------------------------------------------------------------------------------------------------------

ZONE = {
    "mx.test": {"MX": ["10 a.mx.test.", "20 b.mx.test."]},
    "a.mx.test": {"A": ["127.0.0.11"]},
    "b.mx.test": {"A": ["127.0.0.1"]},
    "null.test": {"MX": ["0 ."]},
    "address.test": {"A": ["127.0.0.1"]},
    "loop.test": {"MX": ["10 mail.example.org."]},
    "mail.example.org": {"A": ["127.0.0.1"]},
}
FAULTS = {"servfail.test": Fault.SERVFAIL, "silent.test": Fault.SILENCE}


@pytest.fixture
def names() -> Iterator[DnsServer]:
    with ThreadedDnsServer(DnsServer(ZONE, FAULTS)) as server:
        yield server


def test_mx_rules_over_a_real_resolver(tmp_path: Path, names: DnsServer) -> None:
    with Receiver(address="127.0.0.1") as hop:
        dns = {"servers": [f"127.0.0.1:{names.port}"], "timeout": "1s", "total": "2s"}
        given = config(tmp_path, {"domains": ["*"], "via": "mx"}, dns=dns, delivery={"port": hop.port})
        with make_server(tmp_path, given) as one:
            # 127.0.0.11 is the better host and refuses connections: the next one gets the mail.
            submit(one, "bob@mx.test", "bob@address.test")
            submit(one, "bob@null.test", "bob@gone.test", "bob@loop.test")
            submit(one, "bob@servfail.test", "bob@silent.test")
            taken = hop.wait_for(2)
            assert {path for message in taken for path in message.recipients} == {
                "RCPT TO:<bob@mx.test>",
                "RCPT TO:<bob@address.test>",
            }
            for domain in ("servfail.test", "silent.test"):
                line = one.wait_for_log(f"destination=mx:{domain}")
                assert "event=recipient_deferred" in line
                assert "stage=dns" in line
            found: dict[str, str] = {}
            deadline = time.monotonic() + 20
            while len(found) < 3 and time.monotonic() < deadline:
                for stored in one.wait_for_messages(SENDER):
                    for group in report(stored)[1][1:]:
                        found[group["final-recipient"].partition("@")[2]] = group["status"]
            assert found == {"null.test": "5.1.10", "gone.test": "5.1.2", "loop.test": "5.4.6"}
            assert_calm(one)


def test_fallback_smarthost_takes_over_where_direct_delivery_is_refused(tmp_path: Path, names: DnsServer) -> None:
    (closed,) = free_ports(1)
    with Receiver() as smarthost:
        fallback = {"host": "127.0.0.1", "port": smarthost.port, "tls": "none", "after_attempts": 2, "after": "1h"}
        given = config(
            tmp_path,
            {"domains": ["*"], "via": "mx", "fallback": fallback},
            dns={"servers": [f"127.0.0.1:{names.port}"]},
            delivery={"port": closed},
        )
        with make_server(tmp_path, given) as one:
            submit(one, "bob@mx.test")
            (message,) = smarthost.wait_for(1)
            assert message.recipients == ["RCPT TO:<bob@mx.test>"]
            one.wait_for_log("event=recipient_deferred", count=2)
            one.wait_for_log("event=recipient_delivered")
            assert one.log().count("event=recipient_deferred") == 2
            assert_calm(one)


# --- one hop that says what the test wants ----------------------------------------------------------------------------


class Picky:
    """A next hop's answers: who is refused, and whom it greylists once."""

    def __init__(self, **answers: str) -> None:
        self._answers = answers
        self._seen: set[str] = set()

    def __call__(self, command: str) -> str | None:
        local = command.partition("<")[2].partition("@")[0]
        if not command.upper().startswith("RCPT"):
            return None
        if local == "greylisted" and local not in self._seen:
            self._seen.add(local)
            return "450 4.2.0 greylisted, come back later"
        return self._answers.get(local)


@pytest.fixture
def hop() -> Iterator[Receiver]:
    picky = Picky(unknown="550 5.1.1 no such user", later="451 4.3.0 come back later")
    with Receiver(answer=picky, keywords=("PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES")) as one:
        yield one


def hop_server(directory: Path, hop: Receiver, **more: Any) -> Server:
    route = {"domains": ["*"], "via": "smarthost", "host": "127.0.0.1", "port": hop.port, "tls": "none"}
    given = config(directory, route)
    for key, value in more.items():
        given[key] = {**given.get(key, {}), **value}
    return make_server(directory, given)


def test_one_of_two_recipients_refused_and_one_greylisted(tmp_path: Path, hop: Receiver) -> None:
    with hop_server(tmp_path, hop) as one:
        submit(one, "bob@example.com", "unknown@example.com", "greylisted@example.com")
        first, second = hop.wait_for(2)
        assert first.recipients[0] == "RCPT TO:<bob@example.com>"
        assert second.recipients == ["RCPT TO:<greylisted@example.com>"]
        (stored,) = one.wait_for_messages(SENDER)
        message, (_, failed) = report(stored)
        assert failed["final-recipient"] == "rfc822; unknown@example.com"
        assert failed["status"] == "5.1.1"
        assert "550 5.1.1 no such user" in failed["diagnostic-code"]
        assert message["To"] == SENDER
        assert b"Return-Path: <>" in stored
        one.wait_for_log("450 4.2.0 greylisted")
        assert_calm(one)


def test_reports_of_success_and_delay_and_none_to_the_null_sender(tmp_path: Path, hop: Receiver) -> None:
    with hop_server(tmp_path, hop, queue={"warn_after": ["1s"]}) as one:
        submit(one, "bob@example.com", parameters="RET=HDRS ENVID=ticket-7", rcpt="NOTIFY=SUCCESS,FAILURE")
        (stored,) = one.wait_for_messages(SENDER)
        _, (about, relayed) = report(stored)
        assert about["original-envelope-id"] == "ticket-7"
        assert relayed["action"] == "relayed"
        submit(one, "later@example.com")
        _, (_, delayed) = report(one.wait_for_messages(SENDER, 2)[1])
        assert delayed["action"] == "delayed"
        assert delayed["status"].startswith("4.")
        assert "will-retry-until" in delayed
        submit(one, "unknown@example.com", sender="")
        submit(one, "unknown@example.com", rcpt="NOTIFY=NEVER")
        one.wait_for_log("event=recipient_failed", count=2)
        submit(one, "unknown@example.com")
        one.wait_for_messages(SENDER, 3)
        assert len(one.messages(SENDER)) == 3
        assert_calm(one)


def test_smtputf8_message_bounces_where_the_next_hop_has_none(tmp_path: Path, hop: Receiver) -> None:
    with hop_server(tmp_path, hop) as one:
        submit(one, "b\u00fcrger@example.com", parameters="SMTPUTF8 BODY=8BITMIME")
        (stored,) = one.wait_for_messages(SENDER)
        # RFC 6533: Python's parser does not know this kind of delivery status.
        assert b"Content-Type: message/global-delivery-status" in stored
        assert "Final-Recipient: utf-8; b\u00fcrger@example.com\nAction: failed\nStatus: 5.6.7\n".encode() in stored
        assert not hop.taken
        assert_calm(one)


def test_deliverby_returns_a_message_whose_time_is_over(tmp_path: Path, hop: Receiver) -> None:
    with hop_server(tmp_path, hop) as one:
        submit(one, "later@example.com", parameters="BY=3;R")
        (stored,) = one.wait_for_messages(SENDER)
        _, (_, failed) = report(stored)
        assert failed["action"] == "failed"
        assert failed["status"] in ("5.4.7", "5.3.3")
        assert_calm(one)


def test_futurerelease_holds_a_message_until_its_time(tmp_path: Path, hop: Receiver) -> None:
    with hop_server(tmp_path, hop) as one:
        begun = time.time()
        submit(one, "held@example.com", parameters="HOLDFOR=3")
        submit(one, "bob@example.com")
        first, second = hop.wait_for(2, 50)
        assert first.recipients == ["RCPT TO:<bob@example.com>"]
        assert second.recipients == ["RCPT TO:<held@example.com>"]
        assert time.time() - begun >= 2.9
        assert_calm(one)


def test_urgent_messages_leave_first(tmp_path: Path) -> None:
    is_free = threading.Event()

    def wait_at_first_data(command: str) -> None:
        if command == "DATA":
            is_free.wait(30)

    with Receiver(answer=wait_at_first_data) as hop:
        single = {"per_destination": 1, "initial_per_destination": 1}
        with hop_server(tmp_path, hop, delivery=single) as one:
            submit(one, "first@example.com")
            until(lambda: "DATA" in hop.commands, "the first delivery")
            for number in (-6, 0, 6, 3, -3):
                submit(one, f"p{number}@example.com", parameters=f"MT-PRIORITY={number}")
            is_free.set()
            order = [message.recipients[0].partition("<")[2].partition("@")[0] for message in hop.wait_for(6)]
            assert order == ["first", "p6", "p3", "p0", "p-3", "p-6"]
            assert_calm(one)

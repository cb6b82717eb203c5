"""Smuggling: whatever stands in a content, it is one message or none; whatever follows STARTTLS is never obeyed."""

from __future__ import annotations

import json
import random
from itertools import combinations
from pathlib import Path

import pytest

from postreeve.mail.reply import Reply
from postreeve.smtp.event import NEED_DATA, Closed, Connected, Event, Hello, Mail, Recipient, Refused, WrongProtocol
from postreeve.smtp.order import State
from postreeve.smtp.server import ServerProtocol
from postreeve.smtp.settings import AuthOffer, TlsOffer
from tests.smtp.drive import DEFAULTS, NOW, Session, begin, cut, greeted, in_transaction, octets, settings

SEQUENCE_COUNT = 12
FIRST = b"From: <a@example.org>\r\nSubject: first\r\n\r\nfirst"
SECOND = (
    b"MAIL FROM:<admin@example.com>\r\nRCPT TO:<victim@example.com>\r\nDATA\r\n"
    b"From: <admin@example.com>\r\nSubject: smuggled\r\n\r\nsecond"
)
END = b"\r\n.\r\n"


@pytest.fixture(scope="module")
def sequences(suites: Path) -> dict[str, bytes]:
    listed = json.loads((suites / "smtp-smuggling" / "sequences.json").read_text("utf-8"))
    found = {entry["name"]: bytes.fromhex(entry["bytes_hex"]) for entry in listed}
    assert len(found) == SEQUENCE_COUNT
    return found


def assert_not_smuggled(session: Session, name: str) -> None:
    """At most one message, and none from the sender that only stands in the content."""
    assert len(session.stored) <= 1, name
    assert all(message.sender == "a@example.org" for message in session.stored), name
    senders = [str(event.reverse_path) for event in session.events if isinstance(event, Mail)]
    assert "admin@example.com" not in senders, name


@pytest.mark.parametrize("normalise", [False, True], ids=["refusing", "normalising"])
@pytest.mark.parametrize("alone", [False, True], ids=["followed", "alone"])
def test_smuggling_in_data_at_every_split(sequences: dict[str, bytes], normalise: bool, alone: bool) -> None:
    config = settings(normalise_newlines=normalise)
    for name, sequence in sequences.items():
        content = FIRST + sequence + (b"" if alone else SECOND) + END
        for place in range(len(content) + 1):
            session = in_transaction(config)
            session.feed(b"DATA\r\n")
            session.feed(*cut(content, [place]))
            assert_not_smuggled(session, name)
            # One answer to the content, and the conversation goes on behind its true end.
            assert session.core.state is State.READY, (name, place)
            assert len(session.stored) == int(normalise and b"\0" not in sequence), name
            assert not any(has_bare_newline(message.content) for message in session.stored), name


def has_bare_newline(content: bytes) -> bool:
    whole = content.replace(b"\r\n", b"")
    return b"\r" in whole or b"\n" in whole


@pytest.mark.parametrize("slices", ["whole", "octets", "random"])
def test_smuggling_pipelined_behind_data(sequences: dict[str, bytes], slices: str) -> None:
    chance = random.Random(7)
    for name, sequence in sequences.items():
        stream = (
            b"MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n"
            + FIRST
            + sequence
            + SECOND
            + END
            + b"QUIT\r\n"
        )
        for _ in range(50 if slices == "random" else 1):
            pieces = {
                "whole": [stream],
                "octets": octets(stream),
                "random": cut(stream, (chance.randrange(len(stream)) for _ in range(5))),
            }[slices]
            session = greeted()
            session.feed(*pieces)
            assert_not_smuggled(session, name)
            assert session.codes()[-1] == 221, name


def test_smuggling_in_data_after_bdat_in_the_same_session(sequences: dict[str, bytes]) -> None:
    for name, sequence in sequences.items():
        session = in_transaction()
        session.feed(b"BDAT %d LAST\r\n" % len(FIRST) + FIRST)
        assert len(session.stored) == 1
        session.stored.clear()
        session.feed(b"MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n")
        session.feed(*octets(FIRST + sequence + SECOND + END))
        assert_not_smuggled(session, name)
        assert session.core.state is State.READY, name


def test_smuggling_in_bdat(sequences: dict[str, bytes]) -> None:
    """RFC 3030, section 2: nothing inside a chunk is a command, and nothing ends it but its length."""
    for name, sequence in sequences.items():
        content = FIRST + sequence + SECOND + END
        session = in_transaction()
        session.feed(b"BDAT %d LAST\r\n" % len(content), *octets(content))
        assert_not_smuggled(session, name)
        assert session.core.state is State.READY, name


def test_smuggling_true_end_is_an_end() -> None:
    """The counter-check: with the one true end the second message does arrive, so the tests above can fail."""
    session = in_transaction()
    session.feed(b"DATA\r\n", FIRST + END + SECOND + END)
    assert [message.sender for message in session.stored] == ["a@example.org", "admin@example.com"]


INJECTION = b"EHLO evil.example.org\r\nMAIL FROM:<evil@example.org>\r\nRCPT TO:<b@example.com>\r\n"


def play_starttls(pieces: list[bytes]) -> Session:
    """Octets arrive in `pieces`; the handshake is done where the core lets it come to that."""
    session = greeted(settings(TlsOffer.REQUIRED, AuthOffer.NEVER))
    for piece in pieces:
        session.feed(piece)
    return session


@pytest.mark.parametrize("injected", [b"X", b"\r\n", b"NOOP\r\n", INJECTION, b"\n", b"\0"], ids=repr)
def test_starttls_discards_injected_commands_in_every_segmentation(injected: bytes) -> None:
    """RFC 3207, section 4.2: nothing that came in plain text is obeyed inside TLS, wherever the octets were cut."""
    stream = b"STARTTLS\r\n" + injected
    places = range(1, len(stream))
    cuts = [[], [*places], *([a] for a in places), *combinations(places, 2)]
    for chosen in cuts[:800]:
        session = play_starttls(cut(stream, chosen))
        assert session.core.is_closed, chosen
        assert not session.core.tls_active
        assert not any(isinstance(event, Mail | Recipient) for event in session.events)
        assert session.codes() in ([220], [554]), chosen
        assert isinstance(session.events[-1], Closed)
        with pytest.raises(Exception, match="TLS began"):
            session.core.tls_started()


def test_starttls_refuses_octets_that_came_before_the_220() -> None:
    """They arrive while the session still makes up its mind about StartTls."""
    core = ServerProtocol(settings(TlsOffer.STARTTLS), lambda: NOW)
    core.next_event()
    core.reply(DEFAULTS[Connected])
    core.receive_data(b"HELO a.example\r\n")
    core.next_event()
    core.reply(Reply(250, "", "x"))
    core.receive_data(b"STARTTLS\r\n")
    core.next_event()
    core.receive_data(INJECTION)
    assert core.has_buffered
    core.data_to_send()
    core.reply(Reply(220, "2.0.0", "go"))
    assert core.data_to_send().startswith(b"554 5.5.1 ")
    assert isinstance(core.next_event(), Refused)
    assert isinstance(core.next_event(), Closed)
    assert core.data_to_send() == b""


def test_starttls_with_octets_behind_it_is_never_told() -> None:
    """One segment, STARTTLS and more: the session is not even asked."""
    session = play_starttls([b"STARTTLS\r\n" + INJECTION])
    assert [type(event) for event in session.events] == [Refused, Closed]
    assert session.codes() == [554]


def test_starttls_forgets_the_client() -> None:
    """RFC 3207, section 4.2: inside TLS the first EHLO is a first EHLO, and what was offered changes."""
    session = greeted(settings(TlsOffer.REQUIRED, AuthOffer.OPTIONAL, auth_without_tls=True))
    session.feed(b"STARTTLS\r\n")
    session.start_tls()
    session.events.clear()
    session.feed(b"EHLO client.example.org\r\n")
    assert session.events == [Hello("client.example.org", extended=True)]
    assert b"STARTTLS" not in session.written.split(b"go ahead")[1]


def test_starttls_answers_nothing_but_the_handshake() -> None:
    session = greeted(settings(TlsOffer.STARTTLS))
    session.feed(b"STARTTLS\r\n")
    assert session.written == b"220 2.0.0 go ahead\r\n"
    assert session.core.next_event() is NEED_DATA
    session.feed(INJECTION)
    assert session.written == b"220 2.0.0 go ahead\r\n"
    assert session.core.is_closed


def early(pieces: list[bytes], **more: object) -> Session:
    core = ServerProtocol(settings(refuse_early_talkers=True, **more), lambda: NOW)
    session = Session(core)
    core.receive_data(pieces[0])
    session.run()
    for piece in pieces[1:]:
        session.feed(piece)
    return session


HELLO = b"HELO client.example.org\r\n"
TO_RECIPIENT = b"MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.com>\r\n"


@pytest.mark.parametrize(
    ("pieces", "codes"),
    [
        pytest.param([HELLO], [554], id="before the greeting"),
        pytest.param([b"", HELLO + TO_RECIPIENT], [220, 554], id="before the reply to HELO"),
        pytest.param([b"", HELLO, TO_RECIPIENT + b"DATA\r\nx"], [220, 250, 250, 250, 554], id="before the 354"),
        pytest.param([b"", HELLO, TO_RECIPIENT + b"DATA\r\n"], [220, 250, 250, 250, 354], id="pipelined as allowed"),
        pytest.param([b"", HELLO, TO_RECIPIENT + b"BDAT 1 LAST\r\nxNOOP\r\n"], [220, *[250] * 5], id="BDAT"),
    ],
)
def test_early_talkers_are_refused(pieces: list[bytes], codes: list[int]) -> None:
    """RFC 2920, section 3.1: EHLO, DATA and the greeting are where a client has to wait."""
    session = early(pieces)
    assert session.codes() == codes
    assert session.core.is_closed == (codes[-1] == 554)


def test_early_talkers_that_speak_tls_are_named() -> None:
    session = early([b"\x16\x03\x01\x02\x00\x01"])
    assert session.written == b""
    assert [event for event in session.events if not isinstance(event, Connected)] == [WrongProtocol("tls")]


def test_early_talkers_may_be_let_pass() -> None:
    core = ServerProtocol(settings(), lambda: NOW)
    core.receive_data(HELLO + TO_RECIPIENT)
    session = Session(core)
    session.run()
    assert session.codes() == [220, 250, 250, 250]


def test_pipelining_never_crosses_authentication_failure() -> None:
    """Commands behind a refused AUTH are judged as a stranger's."""

    def decide(event: Event) -> Reply | None:
        return None if type(event).__name__ != "Authenticate" else Reply(535, "5.7.8", "no")

    session = begin(settings(TlsOffer.IMPLICIT, AuthOffer.REQUIRED), decide)
    session.feed(HELLO + b"AUTH PLAIN AGEAYQ==\r\n" + TO_RECIPIENT)
    assert session.codes() == [250, 535, 530, 530]

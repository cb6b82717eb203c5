"""The client core: commands by what the server offers, and its nerve against odd servers."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postreeve.mail.address import Mailbox, parse_mailbox
from postreeve.mail.domain import Domain
from postreeve.mail.envelope import (
    BodyType,
    DeliverBy,
    EnvelopeRecipient,
    MailParameters,
    Notify,
    OriginalRecipient,
    RecipientParameters,
    Return,
)
from postreeve.smtp.capability import Capabilities, parse_capabilities
from postreeve.smtp.client import ClientProtocol
from postreeve.smtp.client_command import Shortcoming, Transaction, mail_command, recipient_command, xtext
from postreeve.smtp.client_event import (
    Answer,
    ClientEvent,
    ClientSettings,
    ClientStage,
    ContentWanted,
    Failed,
    FailureKind,
    Finished,
    Ready,
)

BOB = EnvelopeRecipient(Mailbox("bob", Domain("example.com")))
EVE = EnvelopeRecipient(Mailbox("eve", Domain("example.com")))
ALICE = Mailbox("alice", Domain("example.org"))
EVERYTHING = (
    b"250-mx.example.com\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-DSN\r\n"
    b"250-CHUNKING\r\n250-BINARYMIME\r\n250-DELIVERBY 60\r\n250-MT-PRIORITY STANAG4406\r\n"
    b"250 LIMITS RCPTMAX=7 MAILMAX=2 RCPTDOMAINMAX=3\r\n"
)


def open_core(hello: bytes, settings: ClientSettings | None = None) -> ClientProtocol:
    core = ClientProtocol(settings or ClientSettings("us.example.org"))
    assert core.receive_data(b"220 hi\r\n") is None
    assert core.data_to_send() in (b"EHLO us.example.org\r\n", b"LHLO us.example.org\r\n")
    assert core.receive_data(hello) == Ready()
    return core


def converse(core: ClientProtocol, said: bytes, content: bytes = b"x\r\n") -> tuple[bytes, ClientEvent | None]:
    """Give each line of `said` when the core has spoken; what the core said, and the last event."""
    spoken = core.data_to_send()
    event: ClientEvent | None = None
    for line in said.splitlines(keepends=True):
        event = core.receive_data(line)
        if isinstance(event, ContentWanted):
            core.content(content)
        spoken += core.data_to_send()
    return spoken, event


@pytest.mark.parametrize(
    ("offered", "transaction", "line"),
    [
        (Capabilities(), Transaction(None, [BOB], 9), b"MAIL FROM:<>\r\n"),
        (Capabilities(size=True), Transaction(ALICE, [BOB], 9), b"MAIL FROM:<alice@example.org> SIZE=9\r\n"),
        (
            Capabilities(eight_bit_mime=True),
            Transaction(ALICE, [BOB], 9, is_eight_bit=True),
            b"MAIL FROM:<alice@example.org> BODY=8BITMIME\r\n",
        ),
        (Capabilities(), Transaction(ALICE, [BOB], 9, is_eight_bit=True), b"MAIL FROM:<alice@example.org>\r\n"),
        (
            Capabilities(dsn=True, deliver_by=True, mt_priority=True),
            Transaction(
                ALICE,
                [BOB],
                9,
                MailParameters(ret=Return.HEADERS, envid="a+b c", deliver_by=DeliverBy(0, False, True), priority=-3),
                deliver_by_seconds=-5,
            ),
            b"MAIL FROM:<alice@example.org> RET=HDRS ENVID=a+2Bb+20c BY=-5;NT MT-PRIORITY=-3\r\n",
        ),
        (
            Capabilities(),
            Transaction(ALICE, [BOB], 9, MailParameters(ret=Return.FULL, envid="x", hold_until=5.0, priority=3)),
            b"MAIL FROM:<alice@example.org>\r\n",
        ),
        (
            Capabilities(smtputf8=True, eight_bit_mime=True),
            Transaction(Mailbox("ä", Domain("example.org")), [BOB], 9, MailParameters(body=BodyType.EIGHT_BIT_MIME)),
            "MAIL FROM:<ä@example.org> BODY=8BITMIME SMTPUTF8\r\n".encode(),
        ),
    ],
)
def test_mail_command_says_only_what_is_offered(offered: Capabilities, transaction: Transaction, line: bytes) -> None:
    assert mail_command(transaction, offered) == line


def test_recipient_command_carries_dsn_only_where_offered() -> None:
    """RFC 3461, sections 4.1 and 4.2; RFC 6533, section 3."""
    notify = frozenset({Notify.SUCCESS, Notify.FAILURE})
    plain = RecipientParameters(notify, OriginalRecipient("rfc822", "a=b@example.com"))
    exotic = RecipientParameters(None, OriginalRecipient("utf-8", "ä+b@example.com"))
    dsn, both = Capabilities(dsn=True), Capabilities(dsn=True, smtputf8=True)
    bare = b"RCPT TO:<bob@example.com>"
    assert recipient_command(EnvelopeRecipient(BOB.mailbox, plain), Capabilities()) == bare + b"\r\n"
    line = recipient_command(EnvelopeRecipient(BOB.mailbox, plain), dsn)
    assert line == bare + b" NOTIFY=FAILURE,SUCCESS ORCPT=rfc822;a+3Db@example.com\r\n"
    line = recipient_command(EnvelopeRecipient(BOB.mailbox, exotic), dsn)
    assert line == bare + rb" ORCPT=utf-8;\x{E4}\x{2B}b@example.com" + b"\r\n"
    line = recipient_command(EnvelopeRecipient(BOB.mailbox, exotic), both)
    assert line == bare + " ORCPT=utf-8;ä\\x{2B}b@example.com\r\n".encode()


@given(st.text(max_size=60))
def test_commands_are_one_line_whatever_they_carry(text: str) -> None:
    parameters = MailParameters(ret=Return.FULL, envid=text)
    offered = Capabilities(dsn=True, smtputf8=True)
    line = mail_command(Transaction(ALICE, [BOB], 1, parameters), offered)
    original = OriginalRecipient("utf-8", text)
    line += recipient_command(EnvelopeRecipient(BOB.mailbox, RecipientParameters(None, original)), offered)
    assert line.count(b"\r") == line.count(b"\n") == line.count(b"\r\n") == 2
    assert xtext(text).isascii()
    parsed = parse_mailbox(f"{text}@example.org")
    if parsed is not None:
        assert mail_command(Transaction(parsed, [BOB], 1), offered).count(b"\n") == 1


def test_capabilities_are_read_with_tolerance() -> None:
    lines = [
        b"size",
        b"8bitmime",
        b"AUTH=LOGIN",
        b"auth plain  CRAM-MD5",
        b"LIMITS RCPTMAX=0 MAILMAX=5 X",
        b"",
        b"\xff",
    ]
    found = parse_capabilities(lines)
    assert found.size
    assert found.size_limit is None
    assert found.eight_bit_mime
    assert found.auth == {"LOGIN", "PLAIN", "CRAM-MD5"}
    assert (found.max_recipients, found.max_messages) == (None, 5)
    for absurd in (
        b"SIZE -5",
        b"SIZE 0",
        b"SIZE x",
        b"SIZE " + b"9" * 50,
        b"LIMITS RCPTMAX=-1",
        b"LIMITS RCPTMAX=9999999",
    ):
        found = parse_capabilities([absurd])
        assert found.size_limit is None
        assert found.max_recipients is None
    assert parse_capabilities([b"KEYWORD%d" % number for number in range(10_000)]) == Capabilities()


def test_client_pipelines_only_where_offered() -> None:
    core = open_core(EVERYTHING)
    core.begin(Transaction(ALICE, [BOB, EVE], 9))
    assert core.data_to_send().count(b"\r\n") == 4
    core = open_core(b"250 mx.example.com\r\n")
    core.begin(Transaction(ALICE, [BOB, EVE], 9))
    assert core.data_to_send() == b"MAIL FROM:<alice@example.org>\r\n"
    assert core.receive_data(b"250 ok\r\n") is None
    assert core.data_to_send() == b"RCPT TO:<bob@example.com>\r\n"


@pytest.mark.parametrize("code", [500, 502, 504])
def test_client_says_helo_where_ehlo_is_unknown(code: int) -> None:
    core = ClientProtocol(ClientSettings("us.example.org"))
    spoken, event = converse(core, b"220 hi\r\n%d what\r\n250 hello\r\n" % code)
    assert spoken == b"EHLO us.example.org\r\nHELO us.example.org\r\n"
    assert event == Ready()
    assert core.capabilities == Capabilities()


@pytest.mark.parametrize(
    ("transaction", "lack"),
    [
        (Transaction(Mailbox("ä", Domain("example.org")), [BOB], 9), Shortcoming.SMTPUTF8),
        (Transaction(ALICE, [BOB], 9, has_utf8_header=True), Shortcoming.SMTPUTF8),
        (Transaction(ALICE, [EnvelopeRecipient(Mailbox("ä", Domain("example.org")))], 9), Shortcoming.SMTPUTF8),
        (Transaction(ALICE, [BOB], 9, is_binary=True), Shortcoming.BINARY_MIME),
        (Transaction(ALICE, [BOB], 9, is_eight_bit=True), Shortcoming.EIGHT_BIT_MIME),
        (Transaction(ALICE, [BOB], 2000), Shortcoming.SIZE),
        (Transaction(ALICE, [BOB], 9, requires_tls=True), Shortcoming.REQUIRE_TLS),
        (
            Transaction(ALICE, [BOB], 9, MailParameters(deliver_by=DeliverBy(0.0, True)), deliver_by_seconds=9),
            Shortcoming.DELIVER_BY,
        ),
    ],
)
def test_client_sends_nothing_that_the_server_cannot_take(transaction: Transaction, lack: Shortcoming) -> None:
    core = open_core(b"250-mx\r\n250 SIZE 1000\r\n", ClientSettings("us.example.org", eight_bit_anyway=False))
    assert core.begin(transaction) == Finished()
    assert core.results == [lack]
    assert core.data_to_send() == b""
    assert core.is_usable


@pytest.mark.parametrize(
    ("hello", "username", "submitter", "expected"),
    [
        (b"250-mx\r\n250 AUTH PLAIN\r\n", "me", "jane+doe@example.org", b" AUTH=jane+2Bdoe@example.org\r\n"),
        (b"250-mx\r\n250 AUTH PLAIN\r\n", "me", "<>", b" AUTH=<>\r\n"),
        (b"250-mx\r\n250 AUTH PLAIN\r\n", "me", "", b"MAIL FROM:<alice@example.org>\r\n"),
        (b"250-mx\r\n250 AUTH PLAIN\r\n", "", "jane@example.org", b"MAIL FROM:<alice@example.org>\r\n"),
    ],
    ids=["told", "nobody known", "nothing to say", "not logged in"],
)
def test_client_tells_who_submitted_only_where_it_logged_in(
    hello: bytes, username: str, submitter: str, expected: bytes
) -> None:
    """RFC 4954, section 5."""
    core = ClientProtocol(ClientSettings("us.example.org", username=username, password="x"), is_tls_active=True)
    converse(core, b"220 hi\r\n")
    event = core.receive_data(hello)
    if username:
        core.data_to_send()
        event = core.receive_data(b"235 welcome\r\n")
    assert event == Ready()
    core.begin(Transaction(ALICE, [BOB], 9, submitter=submitter))
    assert core.data_to_send().endswith(expected)


def test_client_reaches_those_it_can_without_smtputf8() -> None:
    core = open_core(b"250 mx\r\n")
    people = [EnvelopeRecipient(Mailbox("ä", Domain("example.org"))), BOB]
    assert core.begin(Transaction(ALICE, people, 9)) is None
    spoken, event = converse(core, b"250 a\r\n250 b\r\n354 c\r\n250 d\r\n")
    assert spoken.count(b"RCPT") == 1
    assert event == Finished()
    assert core.results[0] is Shortcoming.SMTPUTF8
    assert isinstance(core.results[1], Answer)


def test_client_sends_binary_content_in_chunks() -> None:
    """RFC 3030, section 2."""
    core = open_core(EVERYTHING)
    core.begin(Transaction(ALICE, [BOB], 9, is_binary=True))
    assert core.data_to_send().endswith(b" SIZE=9 BODY=BINARYMIME\r\nRCPT TO:<bob@example.com>\r\n")
    assert core.receive_data(b"250 a\r\n250 b\r\n") == ContentWanted()
    core.content_piece(b"\n.\n")
    core.content_piece(b"\0\r")
    core.content_end()
    assert core.data_to_send() == b"BDAT 3\r\n\n.\nBDAT 2\r\n\0\rBDAT 0 LAST\r\n"
    assert core.receive_data(b"250 3\r\n250 2\r\n") is None
    assert core.receive_data(b"250 taken\r\n") == Finished()
    core.begin(Transaction(ALICE, [BOB], 9, is_binary=True))
    assert b"BINARYMIME" in core.data_to_send()
    assert core.receive_data(b"250 a\r\n250 b\r\n") == ContentWanted()
    core.content_piece(b"x")
    core.content_piece(b"y")
    assert core.receive_data(b"552 5.3.4 enough\r\n") == Finished()
    assert not core.is_usable


def test_client_heeds_the_limit_of_messages() -> None:
    """RFC 9422: MAILMAX=2 here."""
    core = open_core(EVERYTHING)
    for is_usable in (True, False):
        core.begin(Transaction(ALICE, [BOB], 9))
        converse(core, b"250 a\r\n250 b\r\n354 c\r\n250 d\r\n")
        assert core.is_usable is is_usable
    with pytest.raises(ValueError, match="no transaction"):
        core.begin(Transaction(ALICE, [BOB], 9))
    core.quit()
    assert core.data_to_send() == b"QUIT\r\n"


def test_client_login_follows_the_server() -> None:
    settings = ClientSettings("us.example.org", username="me", password="secret")
    core = ClientProtocol(settings, is_tls_active=True)
    spoken, event = converse(core, b"220 hi\r\n250 AUTH LOGIN\r\n")
    assert isinstance(event, Failed)
    assert event.kind is FailureKind.AUTH_NOT_OFFERED
    core = ClientProtocol(settings, is_tls_active=True)
    spoken, event = converse(
        core, b"220 hi\r\n250-x\r\n250 AUTH LOGIN\r\n334 VXNlcm5hbWU6\r\n334 UGFzc3dvcmQ6\r\n235 in\r\n"
    )
    assert spoken.endswith(b"AUTH LOGIN\r\nbWU=\r\nc2VjcmV0\r\n")
    assert event == Ready()
    assert "c2VjcmV0" not in core.transcript.text()
    core = ClientProtocol(settings, is_tls_active=True)
    spoken, event = converse(core, b"220 hi\r\n250-x\r\n250 AUTH LOGIN\r\n334 a\r\n334 b\r\n334 c\r\n")
    assert isinstance(event, Failed)
    assert event.stage is ClientStage.AUTH


def test_client_never_takes_one_reply_for_another() -> None:
    """A server one reply ahead would mark the next message as delivered."""
    core = open_core(EVERYTHING)
    core.begin(Transaction(ALICE, [BOB], 9))
    assert core.data_to_send().endswith(b"DATA\r\n")
    assert core.receive_data(b"250 a\r\n250 b\r\n354 c\r\n") == ContentWanted()
    core.content(b"x\r\n")
    assert core.data_to_send() == b"x\r\n.\r\n"
    assert core.receive_data(b"250 d\r\n250 e\r\n") == Finished()
    assert not core.is_usable
    core = open_core(EVERYTHING)
    event = core.receive_data(b"250 unasked\r\n")
    assert isinstance(event, Failed)
    assert not core.is_usable


SAYINGS = [
    b"220 hi\r\n", b"250 ok\r\n", b"250-a\r\n250-PIPELINING\r\n250 STARTTLS\r\n", b"354 go\r\n", b"421 bye\r\n",
    b"450 x\r\n", b"550 5.1.1 y\r\n", b"334 z\r\n", b"250-more\r\n", b"junk\r\n", b"235 in\r\n", b"2", b"\r\n",
]  # fmt: skip


@pytest.mark.parametrize("is_lmtp", [False, True], ids=["smtp", "lmtp"])
def test_client_survives_any_order_of_replies(is_lmtp: bool) -> None:
    """Whatever is said: no exception, no message counted as delivered without a 2yz after its content."""
    for seed in range(4000):
        chance = random.Random(seed)
        core = ClientProtocol(ClientSettings("us.example.org", is_lmtp=is_lmtp))
        content_said = False
        for saying in chance.choices(SAYINGS, weights=[4, 9, 3, 4, 1, 2, 2, 1, 1, 1, 1, 1, 1], k=30):
            event = core.receive_data(saying)
            core.data_to_send()
            match event:
                case Ready():
                    content_said = False
                    core.begin(Transaction(ALICE, [BOB, EVE], 9))
                case ContentWanted():
                    core.content(b"x\r\n")
                    content_said = True
                case Finished():
                    taken = [one for one in core.results if isinstance(one, Answer) and one.is_taken]
                    assert content_said or not taken
                    assert all(result is not None for result in core.results) or not core.is_usable
                    content_said = False
                    if core.is_usable:
                        core.begin(Transaction(ALICE, [BOB, EVE], 9))
                case Failed():
                    break
                case _:
                    pass
        core.receive_eof()
        assert core.stage is ClientStage.CLOSED

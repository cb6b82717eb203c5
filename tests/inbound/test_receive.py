"""Content: what is put before it, what is refused after it, where it goes, and that no octet of it changes."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from postreeve.inbound.receive import MEMORY_OCTETS
from postreeve.inbound.service import Services
from postreeve.mail.envelope import BodyType, Notify
from postreeve.policy.sender import Room
from postreeve.policy.settings import LimitSettings
from postreeve.queue.model import Claim, MessageSummary, NewMessage, RecipientState
from postreeve.store.face import LeaseTerms, Spool, StoreError, StoreFull, StoreUnavailable
from postreeve.store.memory import MemoryStore
from tests.inbound.harness import Client, Serving
from tests.inbound.test_auth import RIGHT

HEADER = b"From: alice@example.org\r\nTo: bob@example.com\r\nSubject: x\r\n"
PLAIN_MESSAGE = HEADER + b"\r\nHello.\r\n"


def talk(server: Serving, name: str = "mx") -> Client:
    client = Client(server.port(name), server.tls.client if name == "submissions" else None)
    client.reply()
    client.ask("EHLO c.example.com")
    if name == "submissions":
        assert client.ask(f"AUTH PLAIN {RIGHT}").startswith("235")
    return client


def submit(
    client: Client, content: bytes, mail: str = "<alice@example.org>", rcpt: tuple[str, ...] = ("<bob@example.org>",)
) -> str:
    for command in (f"MAIL FROM:{mail}", *(f"RCPT TO:{one}" for one in rcpt)):
        answer = client.ask(command)
        if not answer.startswith("250"):
            return answer
    answer = client.ask("DATA")
    if not answer.startswith("354"):
        return answer
    client.send(content.replace(b"\r\n.", b"\r\n..") + b".\r\n")
    return client.reply()


def deliver(
    server: Serving, content: bytes = PLAIN_MESSAGE, name: str = "mx", **more: Any
) -> tuple[str, list[MessageSummary]]:
    with talk(server, name) as client:
        answer = submit(client, content, **more)
    return answer, server.messages()


CONTENTS = {
    "one-dot-line": b"Subject: x\r\n\r\n.\r\n",
    "dot-lines": b"Subject: x\r\n\r\n..\r\n.a\r\n...\r\n",
    "no-header": b"\r\nbody\r\n",
    "no-body": b"Subject: x\r\n",
    "empty-lines": b"Subject: x\r\n\r\n\r\n\r\n\r\n",
    "eight-bit": b"Subject: x\r\n\r\n\xff\xfe\x80\r\n",
    "odd-header": b"Subject : x\r\nNo colon at all\r\n\r\nx\r\n",
    "one-long-line": b"Subject: x\r\n\r\n" + b"x" * 100_000 + b"\r\n",
    "just-below-memory": b"Subject: x\r\n\r\n" + b"y" * (MEMORY_OCTETS - 100) + b"\r\n",
    "spooled": b"Subject: x\r\n\r\n" + (b"z" * 70 + b"\r\n") * 40_000,
}


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS.keys())
def test_content_is_only_prepended_to(server: Serving, content: bytes) -> None:
    answer, (message,) = deliver(server, content)
    assert answer.startswith("250 2.0.0 queued as ")
    stored = server.content(message)
    assert stored.endswith(content)
    added = stored[: -len(content)]
    assert added.startswith(b"Received: from c.example.com ([127.0.0.1])")
    assert added.endswith(b"\r\n")
    assert added.count(b"\r\n") == added.count(b"\r\n\t") + 1
    assert message.size_octets == len(stored)


def test_content_by_bdat_is_the_same(server: Serving) -> None:
    with talk(server) as client:
        client.ask("MAIL FROM:<a@example.com>")
        client.ask("RCPT TO:<bob@example.org>")
        for start in range(0, len(PLAIN_MESSAGE), 7):
            piece = PLAIN_MESSAGE[start : start + 7]
            client.send(b"BDAT %d\r\n" % len(piece) + piece)
            assert client.reply().startswith("250")
        assert client.ask("BDAT 0 LAST").startswith("250 2.0.0 queued as")
    (message,) = server.messages()
    assert server.content(message).endswith(b"\r\n" + PLAIN_MESSAGE)


def test_envelope_is_kept(server: Serving) -> None:
    answer, (message,) = deliver(
        server,
        mail="<> SIZE=100 BODY=8BITMIME RET=HDRS ENVID=abc MT-PRIORITY=-3",
        rcpt=(
            "<bob@example.org> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;x@example.com",
            "<carol@example.org>",
            "<bob@example.org>",
        ),
    )
    assert answer.startswith("250")
    assert message.sender in ("", "<>")
    assert message.priority == -3
    first, second = message.recipients
    assert first.recipient.parameters.notify == {Notify.SUCCESS, Notify.DELAY}
    assert str(second.recipient.mailbox) == "carol@example.org"
    assert b"for <" not in server.content(message)


def test_eight_bits_that_were_not_announced_are_labelled(server: Serving) -> None:
    _, (message,) = deliver(server, b"Subject: x\r\n\r\n\xe4\r\n")
    story = server.call(server.store.story(message.ident))
    assert story.envelope.parameters.body is BodyType.EIGHT_BIT_MIME


@pytest.mark.parametrize(
    ("content", "answer"),
    [
        pytest.param(b" folded\r\nSubject: x\r\n\r\nx\r\n", "550 5.6.0", id="leading-fold"),
        pytest.param(b"Received: x\r\n" * 51 + b"\r\nx\r\n", "554 5.4.6", id="hops"),
        pytest.param(b"Received: x\r\n" * 50 + b"\r\nx\r\n", "250 2.0.0", id="hops-just-right"),
        pytest.param(b"Received: x\r\n" * 51 + b"\r\n" + b"x" * 600_000 + b"\r\n", "554 5.4.6", id="hops-spooled"),
        pytest.param(b"Subject: x\r\n\r\na\nb\r\n", "550 5.6.0", id="bare-lf"),
        pytest.param(b"Subject: x\r\n\r\n" + b"x" * 600_000 + b"\na\r\n", "550 5.6.0", id="bare-lf-spooled"),
        pytest.param(b"X: " + b"x" * 300_000 + b"\r\n\r\nx\r\n", "552 5.3.4", id="header-too-large"),
        pytest.param(b"Subject: x\r\n\r\n" + b"x" * 2_000_000 + b"\r\n", "552 5.3.4", id="too-large"),
    ],
)
def test_content_is_refused(tmp_path: Path, content: bytes, answer: str) -> None:
    with Serving(tmp_path, limits=LimitSettings(max_message_octets=1_000_000)) as server:
        with talk(server) as client:
            assert submit(client, content).startswith(answer)
            assert submit(client, PLAIN_MESSAGE).startswith("250 2.0.0")
        count = 0 if answer.startswith("250") else 1
        assert len(server.told("MessageRefused", count)) == count
        assert len(server.messages()) == 2 - count


FROM = {
    "own": (b"From: Alice <alice@example.org>", "250"),
    "own-domain": (b"From: sales@example.net", "250"),
    "foreign": (b"From: ceo@example.com", "553 5.7.1"),
    "second-address": (b"From: alice@example.org, ceo@example.com", "553 5.7.1"),
    "group": (b"From: team: alice@example.org, ceo@example.com;", "553 5.7.1"),
    "empty-group": (b"From: nobody:;", "550 5.6.0"),
    "two-fields": (b"From: alice@example.org\r\nFrom: ceo@example.com", "550 5.6.0"),
    "display-name-hides": (b'From: "ceo@example.com" <alice@example.org>', "250"),
    "hidden-behind": (b"From: <ceo@example.com>alice@example.org", "550 5.6.0"),
    "route": (b"From: <@example.org:ceo@example.com>", "553 5.7.1"),
    "folded": (b"From:\r\n ceo@example.com", "553 5.7.1"),
    "encoded-word": (b"From: =?utf-8?q?ceo=40example=2Ecom?= <ceo@example.com>", "553 5.7.1"),
    "encoded-word-only": (b"From: =?utf-8?q?ceo=40example=2Ecom?=", "550 5.6.0"),
    "comment": (b"From: ceo@example.com (alice@example.org)", "553 5.7.1"),
    "sender": (b"From: alice@example.org\r\nSender: ceo@example.com", "553 5.7.1"),
    "resent-from": (b"From: alice@example.org\r\nResent-From: ceo@example.com", "553 5.7.1"),
    "space-before-colon": (b"From: alice@example.org\r\nSender : ceo@example.com", "550 5.6.0"),
    "none": (b"Subject: who am I", "550 5.6.0"),
    "reply-to-is-free": (b"From: alice@example.org\r\nReply-To: ceo@example.com", "250"),
}


@pytest.mark.parametrize(("fields", "answer"), FROM.values(), ids=FROM.keys())
def test_submission_from_somebody_else_is_refused(server: Serving, fields: bytes, answer: str) -> None:
    assert deliver(server, fields + b"\r\n\r\nx\r\n", "submissions")[0].startswith(answer)


def test_submission_from_somebody_else_is_refused_in_a_large_message(server: Serving) -> None:
    content = b"X: " + b"x" * 200_000 + b"\r\nFrom: ceo@example.com\r\n\r\n" + b"x" * 500_000 + b"\r\n"
    assert deliver(server, content, "submissions")[0].startswith("553 5.7.1")


@pytest.mark.parametrize("sender", ["<ceo@example.com>", "<bob@example.org>"])
def test_submission_reverse_path_of_somebody_else_is_refused(server: Serving, sender: str) -> None:
    assert deliver(server, name="submissions", mail=sender)[0].startswith("553 5.7.1")


def test_submission_adds_what_is_missing_and_only_that(server: Serving) -> None:
    _, (message,) = deliver(server, HEADER + b"Date: x\r\n\r\n\xe4\r\n", "submissions")
    added = server.content(message).removesuffix(HEADER + b"Date: x\r\n\r\n\xe4\r\n")
    assert b"\r\nMessage-ID: <" in added
    assert b"\r\nContent-Transfer-Encoding: 8bit" in added
    assert b"\r\nDate:" not in added


def test_routes_decide_destination_and_hold(server: Serving) -> None:
    rcpt = ("<bob@example.org>", "<x@held.test>", "<y@example.com>")
    _, (message,) = deliver(server, name="submissions", rcpt=rcpt)
    assert [(one.destination, one.state) for one in message.recipients] == [
        ("maildir:local", RecipientState.QUEUED),
        ("hold:held", RecipientState.HELD),
        ("mx:example.com", RecipientState.QUEUED),
    ]


def test_future_release_and_deliver_by_set_the_times(server: Serving) -> None:
    started = time.time()
    _, (message,) = deliver(server, name="submissions", mail="<alice@example.org> HOLDFOR=3600 BY=7200;R")
    story = server.call(server.store.story(message.ident))
    assert 3590 < message.recipients[0].due - started < 3610
    assert 7190 < story.expires_at - started < 7210


def test_priority_of_strangers_is_lowered_only(server: Serving) -> None:
    with talk(server) as client:
        assert client.ask("MAIL FROM:<a@example.com> MT-PRIORITY=9").startswith("250 2.3.6 0 ")
    with talk(server, "submissions") as client:
        assert client.ask("MAIL FROM:<alice@example.org> MT-PRIORITY=9").startswith("250 2.1.0")


@pytest.mark.parametrize(("room", "answer"), [(Room.FULL, "452 4.3.1"), (Room.UNAVAILABLE, "451 4.3.0")])
def test_mail_is_deferred_where_there_is_no_room(tmp_path: Path, room: Room, answer: str) -> None:
    with Serving(tmp_path, change=lambda services: replace(services, room=lambda: room)) as server:
        assert deliver(server)[0].startswith(answer)


class Failing(MemoryStore):
    """Fails where it is told to."""

    def __init__(self, error: Exception, in_spool: bool = False) -> None:
        super().__init__()
        self.error = error
        self.in_spool = in_spool
        self.discarded = 0

    async def accept(
        self, message: NewMessage, lease: LeaseTerms | None = None, spool: Spool | None = None
    ) -> tuple[Claim, ...]:
        raise self.error

    async def spool(self, ident: int) -> Spool:
        store, inner = self, await super().spool(ident)

        class Broken:
            async def write(self, data: bytes) -> None:
                if store.in_spool:
                    raise store.error
                await inner.write(data)

            async def discard(self) -> None:
                store.discarded += 1
                await inner.discard()

        return Broken()


@pytest.mark.parametrize(
    ("error", "answer", "state"),
    [
        (StoreUnavailable("sync failed"), "451 4.3.0", "unavailable"),
        (StoreFull("no space"), "452 4.3.1", "full"),
        (StoreError("odd"), "451 4.3.0", "unavailable"),
    ],
)
@pytest.mark.parametrize("content", [PLAIN_MESSAGE, PLAIN_MESSAGE + b"x" * 600_000 + b"\r\n"], ids=["small", "spooled"])
@pytest.mark.parametrize("in_spool", [False, True])
def test_store_that_fails_is_a_temporary_failure(
    tmp_path: Path, error: Exception, answer: str, state: str, content: bytes, in_spool: bool
) -> None:
    store = Failing(error, in_spool)
    with Serving(tmp_path, store=store) as server:
        with talk(server) as client:
            answers = [submit(client, content), submit(client, content)]
        assert [one[:9] for one in answers] == [answer] * 2
        assert {event.state for event in server.told("StoreTrouble", 2)} == {state}
        assert store.discarded == (2 if len(content) > MEMORY_OCTETS else 0)


def test_bug_in_the_store_ends_the_session_with_421_and_is_told(tmp_path: Path) -> None:
    with Serving(tmp_path, store=Failing(RuntimeError("bug")), expect_calm=False) as server:
        with talk(server) as client:
            assert submit(client, PLAIN_MESSAGE) == "421 4.3.0 internal error, try again later"
            assert client.line() == ""
        (event,) = server.told("InternalError")
        assert "bug" in event.traceback
        assert server.complaints == []


def test_reply_waits_for_the_store(tmp_path: Path) -> None:
    """250 is said after accept has returned, never before."""
    order: list[str] = []

    class Slow(MemoryStore):
        async def accept(
            self, message: NewMessage, lease: LeaseTerms | None = None, spool: Spool | None = None
        ) -> tuple[Claim, ...]:
            await asyncio.sleep(0.2)
            claims = await super().accept(message, lease, spool)
            order.append("stored")
            return claims

    with Serving(tmp_path, store=Slow()) as server, talk(server) as client:
        client.socket.settimeout(5)
        assert submit(client, PLAIN_MESSAGE).startswith("250")
        order.append("answered")
        assert client.ask("NOOP").startswith("250")
    assert order == ["stored", "answered"]


def test_claims_are_offered_to_a_deliverer_that_wants_them(tmp_path: Path) -> None:
    offered: list[tuple[Claim, ...]] = []

    def change(services: Services) -> Services:
        return replace(services, wants_claims=lambda: True, offer=offered.append)

    with Serving(tmp_path, change=change) as server:
        assert deliver(server)[0].startswith("250")
    ((claim,),) = offered
    assert claim.content is not None
    assert claim.content.endswith(PLAIN_MESSAGE)


def test_message_that_nobody_claims_is_announced(tmp_path: Path) -> None:
    announced: list[NewMessage] = []

    def change(services: Services) -> Services:
        return replace(services, wants_claims=lambda: False, announce=announced.append)

    with Serving(tmp_path, change=change) as server:
        assert deliver(server)[0].startswith("250")
    (message,) = announced
    assert [str(one.recipient.mailbox) for one in message.recipients] == ["bob@example.org"]


@pytest.mark.parametrize("cut", ["rset", "quit", "gone", "ehlo"])
def test_spool_of_a_message_that_never_ended_is_discarded(tmp_path: Path, cut: str) -> None:
    store = Failing(StoreError("never reached"))
    with Serving(tmp_path, store=store) as server:
        with talk(server) as client:
            client.ask("MAIL FROM:<a@example.com>")
            client.ask("RCPT TO:<bob@example.org>")
            client.send(b"BDAT 600000\r\n" + b"Subject: x\r\n\r\n".ljust(600_000, b"x"))
            assert client.reply().startswith("250")
            command: dict[str, Callable[[], object]] = {
                "rset": lambda: client.ask("RSET"),
                "quit": lambda: client.ask("QUIT"),
                "ehlo": lambda: client.ask("EHLO again.example.com"),
                "gone": client.socket.close,
            }
            command[cut]()
        server.call(server.listener("mx").drain(5))
    assert store.discarded == 1

"""Claims to settlements, against scripted peers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from postreeve.dns.answer import Mx
from postreeve.mail.domain import Domain
from postreeve.mail.envelope import DeliverBy, MailParameters, Notify, RecipientParameters
from postreeve.mail.reply import Reply
from postreeve.outbound.deliver import Attempted
from postreeve.outbound.outgoing import Outgoing
from postreeve.queue import settings as targets
from postreeve.queue.model import Claim, NewMessage, Origin, RecipientState, Result
from postreeve.queue.outcome import (
    ConnectFailed,
    ConnectProblem,
    Delivered,
    DestinationDead,
    Disconnected,
    Handover,
    LocalKind,
    LocalProblem,
    Outcome,
    Refused,
    Stage,
)
from postreeve.queue.route import Identity
from postreeve.queue.settings import (
    Credentials,
    Fallback,
    KeepConversations,
    QueueSettings,
    RouteSettings,
    Smarthost,
    TlsMode,
)
from postreeve.queue.step import Connect
from postreeve.store.face import LeaseTerms, StoreError
from postreeve.telemetry.event import MessageSpawned, RecipientDeferred, RecipientDelivered, RecipientFailed
from tests.lab.delivery import OK, START, House, pieces

FALLBACK = Fallback(Smarthost("192.0.2.99", 465, TlsMode.IMPLICIT), after_attempts=3, after_seconds=3600.0)
ROUTES = (
    RouteSettings("local", ("example.org",), targets.Maildir("/mail/{local}")),
    RouteSettings("hold", ("held.example.net",), targets.Hold()),
    RouteSettings("trap", ("trap.example.net",), targets.Discard()),
    RouteSettings("insured", ("insured.example.net",), targets.Mx(), FALLBACK),
    RouteSettings("provider", ("a.example", "b.example"), Smarthost("192.0.2.50", credentials=Credentials("u", "p"))),
    RouteSettings("direct", ("example.com", "example.net", "[192.0.2.1]"), targets.Mx()),
)
REFUSED = ConnectFailed(ConnectProblem.REFUSED)
UNKNOWN = Refused(Reply(550, "5.1.1", "no such user here"), Stage.RCPT)
GREYLISTED = Refused(Reply(450, "4.7.1", "come back later"), Stage.RCPT)


def _house() -> House:
    return House(QueueSettings(ROUTES))


async def _claim(house: House, message: NewMessage) -> Claim:
    await house.store.open()
    (claim,) = await house.store.accept(message, LeaseTerms(START + 300))
    return claim


def _attempt(
    house: House, message: NewMessage, keep: KeepConversations = KeepConversations.FAILURES, **changes: object
) -> Attempted:
    async def run() -> Attempted:
        claim = await _claim(house, message)
        records = tuple(replace(record, **changes) for record in claim.recipients)  # type: ignore[arg-type]
        attempted = await house.deliverer(keep).attempt(replace(claim, recipients=records))
        await house.store.settle(attempted.settlement)
        return attempted

    return asyncio.run(run())


def _states(attempted: Attempted) -> list[RecipientState]:
    return [result.state for result in sorted(attempted.settlement.results, key=lambda result: result.index)]


# Delivered


def test_deliver_hands_a_message_to_the_mx_host_and_tells_the_story() -> None:
    house = _house()
    attempted = _attempt(house, house.message("bob@example.net"))
    assert attempted.settlement.results == (Result(0, RecipientState.RELAYED, problem="250 2.0.0 taken"),)
    assert (attempted.trouble, attempted.is_telling) == ("", True)
    (story,) = attempted.settlement.attempts
    assert (story.host, story.address, story.stage, story.outcome) == (
        "mx.example.net",
        "192.0.2.1",
        "final",
        "delivered",
    )
    assert story.destination == "mx:example.net"
    assert story.tls.startswith("TLSv1.3")
    assert story.conversation == ""
    (event,) = house.events
    assert isinstance(event, RecipientDelivered)
    assert (event.recipient, event.host, event.attempts) == ("bob@example.net", "mx.example.net", 1)
    assert event.tls == story.tls
    assert house.network.contents == [b"Subject: hello\r\n\r\nbody\r\n"]


def test_deliver_uses_the_connection_that_the_last_message_left() -> None:
    house = _house()

    async def run() -> None:
        deliverer = house.deliverer()
        await house.store.open()
        for number in range(3):
            (claim,) = await house.store.accept(house.message(f"u{number}@example.net"), LeaseTerms(START + 300))
            await deliverer.attempt(claim)

    asyncio.run(run())
    assert len(house.network.opened) == 1
    assert len(house.network.sent) == 3
    assert house.names.asked == ["example.net", "mx.example.net"]


def test_deliver_sends_all_domains_of_a_smarthost_in_one_transaction() -> None:
    house = _house()
    attempted = _attempt(house, house.message("x@a.example", "y@b.example"))
    assert _states(attempted) == [RecipientState.RELAYED] * 2
    assert house.network.sent == [("192.0.2.50", ("x@a.example", "y@b.example"))]
    assert house.network.opened[0].credentials == Credentials("u", "p")


def test_deliver_writes_to_the_maildir() -> None:
    house = _house()
    attempted = _attempt(house, house.message("bob@example.org", "carol@example.org"))
    assert _states(attempted) == [RecipientState.DELIVERED] * 2
    assert [kept[:2] for kept in house.boxes.kept] == [
        ("/mail/{local}", "bob@example.org"),
        ("/mail/{local}", "carol@example.org"),
    ]


@pytest.mark.parametrize(
    ("recipient", "state"),
    [("x@trap.example.net", RecipientState.DROPPED), ("x@held.example.net", RecipientState.HELD)],
    ids=["discard", "hold"],
)
def test_deliver_does_as_the_route_says_without_a_word(recipient: str, state: RecipientState) -> None:
    house = _house()
    message = house.message(recipient)
    # Queued before the route said so.
    before = (replace(message.recipients[0], destination="mx:example.net"),)
    attempted = _attempt(house, replace(message, recipients=before))
    assert _states(attempted) == [state]
    assert house.network.opened == []
    assert attempted.settlement.spawned == ()


# Failed and deferred


def test_deliver_tells_each_recipients_own_end() -> None:
    house = _house()
    house.network.sends = lambda step, message: [OK, UNKNOWN, GREYLISTED]
    attempted = _attempt(house, house.message("a@example.net", "b@example.net", "c@example.net"))
    assert _states(attempted) == [RecipientState.RELAYED, RecipientState.BOUNCED, RecipientState.QUEUED]
    deferred = attempted.settlement.results[2]
    assert START + 270 <= deferred.due <= START + 330
    assert [(story.recipients, story.outcome, story.reply) for story in attempted.settlement.attempts] == [
        ((0,), "delivered", "250 2.0.0 taken"),
        ((1,), "bounced", "550 5.1.1 no such user here"),
        ((2,), "deferred", "450 4.7.1 come back later"),
    ]
    assert all(story.conversation.startswith("C: MAIL") for story in attempted.settlement.attempts)
    kinds = [type(event) for event in house.events]
    assert kinds == [RecipientDelivered, RecipientFailed, RecipientDeferred, MessageSpawned]
    assert attempted.trouble == ""


def test_deliver_tells_of_every_host_it_tried() -> None:
    house = _house()
    house.names.hosts["example.net"] = (Mx(10, "a.example"), Mx(20, "b.example"))
    house.names.hosts_addresses.update({"a.example": ("192.0.2.1",), "b.example": ("192.0.2.2",)})
    house.network.opens = lambda step: REFUSED if step.address == "192.0.2.1" else None
    attempted = _attempt(house, house.message("bob@example.net"))
    assert [(story.host, story.outcome, story.stage) for story in attempted.settlement.attempts] == [
        ("a.example", "next host", "connect"),
        ("b.example", "delivered", "final"),
    ]
    assert attempted.trouble == ""


def test_deliver_reports_trouble_of_the_destination() -> None:
    house = _house()
    house.network.opens = lambda step: REFUSED
    attempted = _attempt(house, house.message("bob@example.net"))
    assert attempted.trouble == "connection refused"
    assert attempted.settlement.attempts[0].outcome == "deferred"
    assert _states(attempted) == [RecipientState.QUEUED]


def test_deliver_defers_while_the_resolver_is_down() -> None:
    house = _house()
    house.names.hosts["example.net"] = "no server answered"
    attempted = _attempt(house, house.message("bob@example.net"))
    assert _states(attempted) == [RecipientState.QUEUED]
    (story,) = attempted.settlement.attempts
    assert (story.stage, story.outcome) == ("dns", "deferred")
    assert "no server answered" in story.reply


def test_deliver_bounces_an_unknown_domain() -> None:
    house = _house()
    house.names.hosts["example.net"] = ()
    attempted = _attempt(house, house.message("bob@example.net"))
    assert _states(attempted) == [RecipientState.BOUNCED]
    (dsn,) = attempted.settlement.spawned
    assert b"5.1.2" in (dsn.content or b"")


def test_deliver_refuses_loops() -> None:
    house = _house()
    house.identity = Identity(frozenset({Domain("mx.example.net")}))
    attempted = _attempt(house, house.message("bob@example.net"))
    assert _states(attempted) == [RecipientState.BOUNCED]
    assert house.network.opened == []


def test_deliver_defers_without_a_route() -> None:
    house = _house()
    attempted = _attempt(house, house.message("bob@nowhere.example"))
    assert _states(attempted) == [RecipientState.QUEUED]
    assert "no route" in attempted.settlement.results[0].problem
    assert not attempted.is_telling


@pytest.mark.parametrize(
    ("keep", "kept"),
    [(KeepConversations.ALL, True), (KeepConversations.FAILURES, False), (KeepConversations.NONE, False)],
    ids=lambda value: str(getattr(value, "value", value)),
)
def test_deliver_keeps_conversations_as_configured(keep: KeepConversations, kept: bool) -> None:
    house = _house()
    attempted = _attempt(house, house.message("bob@example.net"), keep)
    assert bool(attempted.settlement.attempts[0].conversation) is kept
    house = _house()
    house.network.sends = lambda step, message: [UNKNOWN]
    attempted = _attempt(house, house.message("bob@example.net"), keep)
    assert bool(attempted.settlement.attempts[0].conversation) is (keep is not KeepConversations.NONE)


def test_deliver_tells_a_bounded_story() -> None:
    house = _house()
    house.network.sends = lambda step, message: [
        Refused(Reply(550, "5.1.1", f"no {recipient.mailbox}"), Stage.RCPT) for recipient in message.recipients
    ]
    attempted = _attempt(house, house.message(*(f"u{number}@example.net" for number in range(90))))
    assert len(attempted.settlement.attempts) == 32
    assert _states(attempted) == [RecipientState.BOUNCED] * 90


# Content


def test_deliver_streams_content_that_the_claim_does_not_hold() -> None:
    house = _house()

    async def run() -> None:
        claim = await _claim(house, house.message("bob@example.net", content=b"x" * 1000))
        await house.deliverer().attempt(replace(claim, content=None))
        claim = await _claim(house, house.message("bob@example.org", content=b"y" * 1000))
        await house.deliverer().attempt(replace(claim, content=None))

    asyncio.run(run())
    assert house.network.contents == [b"x" * 1000]
    assert house.boxes.kept[0][2] == b"y" * 1000


def test_deliver_defers_when_the_content_cannot_be_read() -> None:
    house = _house()

    async def broken(ident: int) -> AsyncIterator[bytes]:
        async for piece in pieces(b"x" * 100):
            yield piece
        raise StoreError("digest does not match")

    async def run() -> Attempted:
        claim = await _claim(house, house.message("bob@example.org"))
        house.store.content = broken  # type: ignore[method-assign]
        return await house.deliverer().attempt(replace(claim, content=None))

    attempted = asyncio.run(run())
    assert _states(attempted) == [RecipientState.QUEUED]
    assert "digest does not match" in attempted.settlement.results[0].problem


# Without an attempt


def test_deliver_bounces_what_an_operator_ended() -> None:
    house = _house()
    attempted = _attempt(house, house.message("bob@example.net"), doomed=True)
    assert _states(attempted) == [RecipientState.BOUNCED]
    assert house.network.opened == []
    (dsn,) = attempted.settlement.spawned
    assert b"ended by the operator" in (dsn.content or b"")
    assert not attempted.is_telling


def test_deliver_returns_what_is_past_its_deadline() -> None:
    house = _house()
    parameters = MailParameters(deliver_by=DeliverBy(START - 1, must_return=True))
    attempted = _attempt(house, house.message("bob@example.net", parameters=parameters))
    assert _states(attempted) == [RecipientState.BOUNCED]
    assert house.network.opened == []
    (dsn,) = attempted.settlement.spawned
    assert b"5.4.7" in (dsn.content or b"")


def test_deliver_skips_a_dead_destination() -> None:
    house = _house()

    async def run() -> Attempted:
        claim = await _claim(house, house.message("bob@example.net"))
        return await house.deliverer().attempt(claim, DestinationDead("connection refused", START + 60))

    attempted = asyncio.run(run())
    assert _states(attempted) == [RecipientState.QUEUED]
    (result,) = attempted.settlement.results
    assert not result.counts_as_attempt
    assert "connection refused" in result.problem
    assert result.due >= START + 60
    assert attempted.settlement.attempts == ()
    (event,) = house.events
    assert isinstance(event, RecipientDeferred)
    assert event.attempts == 0
    assert house.network.opened == []
    assert not attempted.is_telling


def test_deliver_tries_once_what_would_expire_untried_at_a_dead_destination() -> None:
    house = _house()

    async def run() -> Attempted:
        claim = await _claim(house, house.message("bob@example.net"))
        house.clock.now += 6 * 86_400
        return await house.deliverer().attempt(claim, DestinationDead("connection refused", START, 86_400.0))

    assert _states(asyncio.run(run())) == [RecipientState.RELAYED]


@pytest.mark.parametrize(
    ("attempts", "age"), [(3, 60.0), (1, 3600.0), (0, 3600.0)], ids=["attempts", "age", "age, never tried"]
)
def test_deliver_takes_the_fallback_when_it_is_due_even_past_a_dead_destination(attempts: int, age: float) -> None:
    house = _house()

    async def run() -> Attempted:
        claim = await _claim(house, house.message("bob@insured.example.net"))
        house.clock.now += age
        records = tuple(replace(record, attempts=attempts) for record in claim.recipients)
        dead = DestinationDead("connection timed out", START + 9999)
        return await house.deliverer().attempt(replace(claim, recipients=records), dead)

    attempted = asyncio.run(run())
    assert _states(attempted) == [RecipientState.RELAYED]
    assert [step.address for step in house.network.opened] == ["192.0.2.99"]
    assert not attempted.is_telling
    assert list(house.network.idle) == ["fallback:insured"]


def test_deliver_goes_where_the_route_leads_now() -> None:
    house = _house()
    message = house.message("bob@example.net")
    moved = replace(message, recipients=(replace(message.recipients[0], destination="hold:old"),))
    attempted = _attempt(house, moved)
    assert _states(attempted) == [RecipientState.RELAYED]
    assert not attempted.is_telling


def test_deliver_releases_without_counting_an_attempt() -> None:
    house = _house()

    async def run() -> tuple[Result, ...]:
        claim = await _claim(house, house.message("bob@example.net"))
        return house.deliverer().release(claim).results

    assert asyncio.run(run()) == (Result(0, RecipientState.QUEUED, START, counts_as_attempt=False),)


# Released from a route that holds


@pytest.mark.parametrize(
    "change",
    [{"destination": "hold:hold"}, {"last_problem": "held as its route says"}],
    ids=["held at acceptance", "held at an attempt"],
)
def test_deliver_does_not_hold_again_what_was_released(change: dict[str, str]) -> None:
    house = _house()

    async def run() -> Attempted:
        claim = await _claim(house, house.message("bob@held.example.net"))
        records = tuple(replace(record, **change) for record in claim.recipients)  # type: ignore[arg-type]
        return await house.deliverer().attempt(replace(claim, recipients=records))

    attempted = asyncio.run(run())
    assert _states(attempted) == [RecipientState.RELAYED]
    assert house.names.asked[:1] == ["held.example.net"]


def test_deliver_holds_again_what_would_come_back_to_us() -> None:
    house = _house()
    house.names.hosts_addresses["mx.held.example.net"] = ("127.0.0.1",)

    async def run() -> Attempted:
        claim = await _claim(house, house.message("bob@held.example.net"))
        records = tuple(replace(record, destination="hold:hold") for record in claim.recipients)
        deliverer = replace(house.deliverer(), identity=Identity(endpoints=frozenset({("127.0.0.1", 25)})))
        return await deliverer.attempt(replace(claim, recipients=records))

    attempted = asyncio.run(run())
    assert _states(attempted) == [RecipientState.HELD]
    assert attempted.settlement.spawned == ()


# DSNs


def _notify(*words: Notify) -> RecipientParameters:
    return RecipientParameters(notify=frozenset(words))


def test_bounce_returns_to_the_sender_with_the_peers_words() -> None:
    house = _house()
    house.network.sends = lambda step, message: [UNKNOWN]
    attempted = _attempt(house, house.message("bob@example.net"))
    (dsn,) = attempted.settlement.spawned
    assert dsn.envelope.reverse_path is None
    assert [str(new.recipient.mailbox) for new in dsn.recipients] == ["alice@example.org"]
    assert [new.destination for new in dsn.recipients] == ["maildir:local"]
    assert dsn.origin.listener == "dsn"
    content = dsn.content or b""
    assert b"550 5.1.1 no such user here" in content
    assert b"Final-Recipient: rfc822; bob@example.net" in content
    assert b"Subject: hello" in content
    (spawned,) = house.told(MessageSpawned)
    assert isinstance(spawned, MessageSpawned)
    assert (spawned.kind, spawned.recipient) == ("failure", "alice@example.org")
    (failed,) = house.told(RecipientFailed)
    assert isinstance(failed, RecipientFailed)
    assert failed.dsn == spawned.message


def test_bounce_is_one_for_all_recipients_of_an_attempt() -> None:
    house = _house()
    house.network.sends = lambda step, message: [UNKNOWN] * 3
    attempted = _attempt(house, house.message("a@example.net", "b@example.net", "c@example.net"))
    (dsn,) = attempted.settlement.spawned
    assert (dsn.content or b"").count(b"Final-Recipient:") == 3


def test_bounce_never_goes_to_the_null_reverse_path() -> None:
    house = _house()
    house.network.sends = lambda step, message: [UNKNOWN]
    attempted = _attempt(house, house.message("bob@example.net", sender=""))
    assert _states(attempted) == [RecipientState.BOUNCED]
    assert attempted.settlement.spawned == ()


@pytest.mark.parametrize(
    ("by", "heeds", "is_reported"),
    [
        (DeliverBy(START + 60, must_return=True, trace=True), True, True),
        (DeliverBy(START + 60, must_return=False), False, True),
        (DeliverBy(START + 60, must_return=False), True, False),
        (None, False, False),
    ],
    ids=["trace", "next hop without DELIVERBY", "next hop with DELIVERBY", "nothing asked"],
)
def test_deliver_by_reports_relaying(by: DeliverBy | None, heeds: bool, is_reported: bool) -> None:
    house = _house()
    taken = Delivered(Reply(250, "2.0.0", "taken"), Handover.WITH_DSN, heeds)
    house.network.sends = lambda step, message: [taken]
    attempted = _attempt(house, house.message("bob@example.net", parameters=MailParameters(deliver_by=by)))
    assert _states(attempted) == [RecipientState.DELIVERED]
    reports = [dsn.content or b"" for dsn in attempted.settlement.spawned]
    assert [b"Action: relayed" in report for report in reports] == [True] * is_reported


@pytest.mark.parametrize(
    ("account", "auth", "submitter"),
    [("", None, "<>"), ("", "<>", "<>"), ("alice", None, ""), ("alice", "alice@example.org", "alice@example.org")],
    ids=["no login", "nobody known", "an account that says nothing", "an account that names itself"],
)
def test_deliver_tells_who_submitted(account: str, auth: str | None, submitter: str) -> None:
    """RFC 4954, section 5."""
    house, told = _house(), []

    def take(step: Connect, message: Outgoing) -> list[Outcome]:
        told.append(message.submitter)
        return [Delivered(Reply(250, "2.0.0", "taken"))]

    house.network.sends = take
    message = house.message("bob@example.net", parameters=MailParameters(auth=auth))
    _attempt(house, replace(message, origin=Origin("submission", account=account)))
    assert told == [submitter]


HANDOVERS = [
    (Handover.WITHOUT_DSN, RecipientState.RELAYED, b"Action: relayed"),
    (Handover.FINAL, RecipientState.DELIVERED, b"Action: delivered"),
    (Handover.WITH_DSN, RecipientState.DELIVERED, None),
]


@pytest.mark.parametrize(("handover", "state", "action"), HANDOVERS, ids=[row[0].value for row in HANDOVERS])
def test_success_is_reported_when_asked_for(handover: Handover, state: RecipientState, action: bytes | None) -> None:
    for notify, expected in ((_notify(Notify.SUCCESS), action), (_notify(Notify.FAILURE), None), (_notify(), None)):
        house = _house()
        outcome: Outcome = Delivered(Reply(250, "2.0.0", "ok"), handover)
        house.network.sends = lambda step, message, outcome=outcome: [outcome]  # type: ignore[misc]
        attempted = _attempt(house, house.message("bob@example.net", recipient_parameters=notify))
        assert _states(attempted) == [state]
        contents = [dsn.content or b"" for dsn in attempted.settlement.spawned]
        assert len(contents) == (0 if expected is None else 1)
        assert all(expected in content for content in contents if expected is not None)


def test_failure_is_not_reported_to_who_wants_none() -> None:
    house = _house()
    house.network.sends = lambda step, message: [UNKNOWN]
    message = house.message("bob@example.net", recipient_parameters=_notify(Notify.NEVER))
    assert _attempt(house, message).settlement.spawned == ()


def test_delay_is_reported_once_when_it_is_time() -> None:
    house = _house()
    house.network.opens = lambda step: REFUSED

    async def run() -> list[Attempted]:
        claim = await _claim(house, house.message("bob@example.net"))
        deliverer, attempts = house.deliverer(), []
        for age, warned in ((60.0, 0), (4 * 3600.0, 0), (8 * 3600.0, 1)):
            house.clock.now = START + age
            records = tuple(replace(one, attempts=5, warned=warned) for one in claim.recipients)
            attempts.append(await deliverer.attempt(replace(claim, recipients=records)))
        return attempts

    early, due, later = asyncio.run(run())
    assert (early.settlement.spawned, later.settlement.spawned) == ((), ())
    (dsn,) = due.settlement.spawned
    assert b"Action: delayed" in (dsn.content or b"")
    assert due.settlement.results[0].warned == 1
    assert not early.settlement.results[0].warned
    (spawned,) = house.told(MessageSpawned)
    assert isinstance(spawned, MessageSpawned)
    assert spawned.kind == "delay"


def test_expiry_returns_the_message() -> None:
    house = _house()
    house.network.opens = lambda step: REFUSED

    async def run() -> Attempted:
        claim = await _claim(house, house.message("bob@example.net"))
        house.clock.now = START + 5 * 86_400 + 1
        records = tuple(replace(record, attempts=40, warned=1) for record in claim.recipients)
        return await house.deliverer().attempt(replace(claim, recipients=records))

    attempted = asyncio.run(run())
    assert _states(attempted) == [RecipientState.EXPIRED]
    assert attempted.settlement.attempts[-1].outcome == "expired"
    assert attempted.trouble
    (dsn,) = attempted.settlement.spawned
    assert b"Status: 5.4.7" in (dsn.content or b"")


def test_bounce_of_large_content_carries_only_its_head() -> None:
    house = _house()
    content = b"Subject: large\r\n\r\n" + b"0123456789abcde\r\n" * 20_000

    async def run() -> Attempted:
        claim = await _claim(house, house.message("bob@example.net", content=content))
        return await house.deliverer().attempt(replace(claim, content=None))

    house.network.sends = lambda step, message: [UNKNOWN]
    (dsn,) = asyncio.run(run()).settlement.spawned
    assert b"Subject: large" in (dsn.content or b"")
    assert len(dsn.content or b"") < 10_000


# Faults


def test_deliver_forgets_a_connection_that_went_stale() -> None:
    house = _house()

    async def run() -> Attempted:
        deliverer = house.deliverer()
        await house.store.open()
        (claim,) = await house.store.accept(house.message("a@example.net"), LeaseTerms(START + 300))
        await deliverer.attempt(claim)
        (idle,) = house.network.idle["mx:example.net"]

        def closed(_: Connect, __: object) -> list[Outcome]:
            idle.is_usable = False
            return [Disconnected(Stage.MAIL)]

        idle.sends = closed
        (claim,) = await house.store.accept(house.message("b@example.net"), LeaseTerms(START + 300))
        return await deliverer.attempt(claim)

    attempted = asyncio.run(run())
    assert _states(attempted) == [RecipientState.RELAYED]
    assert len(house.network.opened) == 2
    assert house.network.busy == 0


def test_deliver_gives_connections_back_whatever_happens() -> None:
    house = _house()

    async def breaks(_: Connect, __: object) -> list[Outcome]:
        raise RuntimeError("a bug")

    house.network.sends = breaks

    async def run() -> None:
        claim = await _claim(house, house.message("bob@example.net"))
        with pytest.raises(RuntimeError):
            await house.deliverer().attempt(claim)
        failed = await house.deliverer().fail(claim, "RuntimeError")
        assert _states(failed) == [RecipientState.QUEUED]
        assert not failed.trouble

    asyncio.run(run())
    assert house.network.busy == 0


def test_deliver_defers_when_the_maildir_cannot_be_written() -> None:
    house = _house()
    house.boxes.problem = LocalProblem(LocalKind.DISK_FULL, "/mail/bob: no space left on device")
    attempted = _attempt(house, house.message("bob@example.org"))
    assert _states(attempted) == [RecipientState.QUEUED]
    assert attempted.trouble == ""

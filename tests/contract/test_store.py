"""The promises of `store.face`, kept by every back end."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from postreeve.mail.address import parse_mailbox
from postreeve.mail.envelope import (
    BodyType,
    DeliverBy,
    Envelope,
    EnvelopeRecipient,
    MailParameters,
    Notify,
    OriginalRecipient,
    RecipientParameters,
    Return,
)
from postreeve.queue.model import (
    Attempt,
    Change,
    Claim,
    NewMessage,
    NewRecipient,
    Origin,
    QueueFilter,
    RecipientState,
    Result,
    Settlement,
    Upcoming,
)
from postreeve.store.face import LeaseLost, LeaseTerms, Store, StoreError, StoreUnavailable
from postreeve.store.memory import MemoryStore
from postreeve.store.sqlite import SqliteStore

pytestmark = pytest.mark.asyncio

NOW = 1_790_000_000.25
TERMS = LeaseTerms(NOW + 600)
ANY = QueueFilter()
DELIVERED, BOUNCED, QUEUED, HELD = (
    RecipientState.DELIVERED,
    RecipientState.BOUNCED,
    RecipientState.QUEUED,
    RecipientState.HELD,
)

BACK_ENDS: dict[str, Callable[[Path], Store]] = {
    "memory": lambda _: MemoryStore(),
    "sqlite": lambda path: SqliteStore(path, reserve_octets=1 << 20),
}


@pytest_asyncio.fixture(params=BACK_ENDS)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    made = BACK_ENDS[request.param](tmp_path)
    await made.open()
    yield made
    await made.close()


def to(address: str, parameters: RecipientParameters | None = None) -> EnvelopeRecipient:
    mailbox = parse_mailbox(address)
    assert mailbox is not None
    return EnvelopeRecipient(mailbox, parameters or RecipientParameters())


def new(
    store: Store,
    *places: str,
    content: bytes | None = b"Subject: x\r\n\r\nx\r\n",
    sender: str | None = "sender@example.org",
    due: float = NOW,
    priority: int = 0,
    at: float = NOW,
    account: str = "",
    state: RecipientState = QUEUED,
) -> NewMessage:
    """A message with one recipient per destination in `places`."""
    places = places or ("mx:example.com",)
    recipients = tuple(to(f"user{n}@example.com") for n in range(len(places)))
    return NewMessage(
        store.new_ident(at),
        at,
        Envelope(parse_mailbox(sender) if sender else None, recipients),
        tuple(NewRecipient(r, place, due, state) for r, place in zip(recipients, places, strict=True)),
        Origin("submission", "192.0.2.7", "client.example.net", account, "ESMTPSA", "s1"),
        len(content or b""),
        content,
        priority,
        at + 86400,
    )


async def take(store: Store, place: str = "mx:example.com", *, now: float = NOW, limit: int = 10) -> tuple[Claim, ...]:
    return await store.claim(place, 0, now, limit, LeaseTerms(now + 600))


def results(claim: Claim, state: RecipientState, **more: object) -> Settlement:
    ended = tuple(Result(index, state, **more) for index in claim.lease.recipients)  # type: ignore[arg-type]
    return Settlement(claim.lease, ended, settled_at=NOW + 1)


async def content_of(store: Store, ident: int) -> bytes:
    pieces = [piece async for piece in store.content(ident)]
    assert all(len(piece) <= 1 << 20 for piece in pieces)
    return b"".join(pieces)


# Acceptance


async def test_accept_keeps_every_parameter_of_the_envelope(store: Store) -> None:
    everything = Envelope(
        parse_mailbox('"odd local"@xn--bcher-kva.example'),
        (
            to("a@example.com", RecipientParameters(frozenset({Notify.FAILURE, Notify.DELAY}))),
            to("b@example.com", RecipientParameters(orcpt=OriginalRecipient("rfc822", "b+\u00fc@example.org"))),
            to("b\u00fccher@example.com"),
        ),
        MailParameters(
            12, BodyType.BINARY_MIME, True, Return.HEADERS, "env id", "<>", NOW + 5, DeliverBy(NOW + 9, True, True), -3
        ),
    )
    message = replace(
        new(store),
        envelope=everything,
        recipients=tuple(NewRecipient(r, "mx:example.com", NOW) for r in everything.recipients),
        priority=-3,
    )
    await store.accept(message)
    (claim,) = await store.claim("mx:example.com", -3, NOW, 1, TERMS)
    assert claim.envelope == everything
    assert claim.origin == message.origin
    assert (claim.accepted_at, claim.expires_at, claim.priority) == (NOW, NOW + 86400, -3)
    assert tuple(record.recipient for record in claim.recipients) == everything.recipients


async def test_accept_with_lease_returns_claims_by_destination(store: Store) -> None:
    message = new(store, "mx:a.example", "mx:b.example", "mx:a.example")
    claims = await store.accept(message, TERMS)
    assert [(c.recipients[0].destination, c.lease.recipients) for c in claims] == [
        ("mx:a.example", (0, 2)),
        ("mx:b.example", (1,)),
    ]
    assert all(c.content == message.content and c.lease.until == TERMS.until for c in claims)
    assert await take(store, "mx:a.example") == ()


async def test_accept_with_lease_leaves_what_is_not_due(store: Store) -> None:
    assert await store.accept(new(store, due=NOW + 1), TERMS) == ()
    assert await store.accept(new(store, state=HELD), TERMS) == ()
    assert len(await take(store, now=NOW + 1)) == 1


async def test_accept_without_lease_returns_nothing(store: Store) -> None:
    assert await store.accept(new(store)) == ()
    assert len(await take(store)) == 1


async def test_accept_refuses_an_identifier_that_is_taken_and_takes_the_others(store: Store) -> None:
    first = new(store)
    await store.accept(first)
    others = [new(store) for _ in range(5)]
    outcomes = await asyncio.gather(*map(store.accept, [others[0], first, *others[1:]]), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [tuple, StoreError, tuple, tuple, tuple, tuple]
    assert (await store.stats(NOW)).messages == 6


async def test_new_ident_never_repeats_even_when_the_clock_steps_back(store: Store) -> None:
    idents = [store.new_ident(NOW - n) for n in range(1000)]
    assert len(set(idents)) == 1000


async def test_accept_wants_content_or_spool(store: Store) -> None:
    with pytest.raises(ValueError, match="content"):
        await store.accept(new(store, content=None))
    message = new(store)
    with pytest.raises(ValueError, match="content"):
        await store.accept(message, None, await store.spool(message.ident))


# Content

SIZES = {"0": 0, "1": 1, "64Ki-1": 65535, "64Ki": 65536, "64Ki+1": 65537, "5M": 5_000_003}


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
async def test_content_comes_back_as_given(store: Store, size: int) -> None:
    content = (b"0123456789abcdef\r\n" * (size // 18 + 1))[:size]
    message = new(store, content=content)
    await store.accept(message)
    assert await content_of(store, message.ident) == content
    (claim,) = await take(store)
    assert claim.content in (content, None)
    assert (claim.content is not None) or size > 65536


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
async def test_content_spooled_comes_back_as_given(store: Store, size: int) -> None:
    content = (b"fedcba9876543210\r\n" * (size // 18 + 1))[:size]
    message = replace(new(store, content=None), size_octets=size)
    spool = await store.spool(message.ident)
    for start in range(0, size, 40_000):
        await spool.write(content[start : start + 40_000])
    (claim,) = await store.accept(message, TERMS, spool)
    await spool.discard()
    assert await content_of(store, message.ident) == content
    await store.settle(results(claim, DELIVERED))
    with pytest.raises(StoreError):
        await content_of(store, message.ident)


async def test_spool_discarded_leaves_nothing(store: Store) -> None:
    spool = await store.spool(store.new_ident(NOW))
    await spool.write(b"x" * 600_000)
    await spool.discard()
    assert (await store.stats(NOW)).messages == 0
    assert await store.sweep(NOW, 0) == 0


# Claims and leases


async def test_claim_takes_earliest_due_first(store: Store) -> None:
    dues = [NOW - 3, NOW - 9, NOW - 1, NOW - 5]
    for due in dues:
        await store.accept(new(store, due=due))
    first = await take(store, limit=3)
    assert [claim.lease.ident for claim in first] == [
        summary.ident for due in sorted(dues)[:3] for summary in [await found_by_index(store, dues.index(due))]
    ]


async def found_by_index(store: Store, index: int):  # type: ignore[no-untyped-def]
    return (await store.find(ANY, 10))[index]


async def test_claim_is_by_priority(store: Store) -> None:
    await store.accept(new(store, priority=4))
    await store.accept(new(store, priority=-2))
    assert [u.priority for u in await store.upcoming()] == [-2, 4]
    assert await take(store) == ()
    assert len(await store.claim("mx:example.com", 4, NOW, 9, TERMS)) == 1


async def test_claim_groups_all_due_recipients_of_a_message(store: Store) -> None:
    await store.accept(new(store, *["mx:example.com"] * 30, "mx:example.net"))
    await store.accept(new(store, "mx:example.com"))
    claims = await take(store, limit=2)
    assert [len(claim.recipients) for claim in claims] == [30, 1]
    assert all(record.leased_until == NOW + 600 for record in claims[0].recipients)


async def test_claim_without_content_leaves_it_to_be_read(store: Store) -> None:
    message = new(store)
    await store.accept(message)
    (claim,) = await store.claim("mx:example.com", 0, NOW, 9, LeaseTerms(NOW + 600, with_content=False))
    assert claim.content is None
    assert claim.size_octets == message.size_octets
    assert b"".join([piece async for piece in store.content(claim.lease.ident)]) == message.content


async def test_claim_never_gives_one_recipient_twice(store: Store) -> None:
    for _ in range(40):
        await store.accept(new(store))
    taken = await asyncio.gather(*(take(store, limit=3) for _ in range(20)))
    idents = [claim.lease.ident for claims in taken for claim in claims]
    assert len(idents) == 40
    assert len(set(idents)) == 40


async def test_claim_ignores_what_is_not_due_and_what_is_held(store: Store) -> None:
    await store.accept(new(store, due=NOW + 0.5))
    await store.accept(new(store, state=HELD))
    assert await take(store) == ()


async def test_lease_that_ran_out_is_claimed_again_and_the_late_holder_loses(store: Store) -> None:
    await store.accept(new(store))
    (late,) = await take(store)
    assert await take(store, now=NOW + 599) == ()
    (again,) = await take(store, now=NOW + 600)
    assert again.lease.ident == late.lease.ident
    with pytest.raises(LeaseLost):
        await store.settle(results(late, DELIVERED))
    await store.settle(results(again, DELIVERED))
    assert (await store.stats(NOW)).messages == 0


async def test_lease_settles_once(store: Store) -> None:
    (claim,) = await store.accept(new(store), TERMS)
    outcomes = await asyncio.gather(
        *(store.settle(results(claim, DELIVERED)) for _ in range(2)), return_exceptions=True
    )
    assert sorted(str(type(outcome).__name__) for outcome in outcomes) == ["LeaseLost", "NoneType"]


async def test_lease_lost_does_not_undo_its_neighbours(store: Store) -> None:
    claims = [claim for _ in range(20) for claim in await store.accept(new(store), TERMS)]
    await store.change(QueueFilter(idents=(claims[3].lease.ident,)), Change.HOLD, NOW)
    outcomes = await asyncio.gather(
        *(store.settle(results(claim, DELIVERED)) for claim in claims), return_exceptions=True
    )
    assert [n for n, outcome in enumerate(outcomes) if outcome is not None] == [3]
    assert isinstance(outcomes[3], LeaseLost)
    assert (await store.stats(NOW)).recipients == {"held": 1}


async def test_renew_extends_what_holds(store: Store) -> None:
    (first,) = await store.accept(new(store), TERMS)
    (second,) = await store.accept(new(store), TERMS)
    await store.change(QueueFilter(idents=(second.lease.ident,)), Change.HOLD, NOW)
    renewed = await store.renew([first.lease, second.lease], LeaseTerms(NOW + 2000))
    assert renewed == (replace(first.lease, until=NOW + 2000),)
    assert await take(store, now=NOW + 1999) == ()
    await store.settle(results(replace(first, lease=renewed[0]), DELIVERED))


async def test_upcoming_tells_the_earliest_of_each_line(store: Store) -> None:
    for place, due, priority in (("mx:b", 5, 0), ("mx:b", 3, 0), ("mx:b", 9, 7), ("mx:a", 8, 0)):
        await store.accept(new(store, place, due=NOW + due, priority=priority))
    await store.accept(new(store, "mx:held", state=HELD))
    assert await store.upcoming() == (
        Upcoming("mx:a", 0, NOW + 8),
        Upcoming("mx:b", 0, NOW + 3),
        Upcoming("mx:b", 7, NOW + 9),
    )


async def test_upcoming_counts_a_lease_as_due_when_it_ends(store: Store) -> None:
    await store.accept(new(store), TERMS)
    assert await store.upcoming() == (Upcoming("mx:example.com", 0, TERMS.until),)


# Settling


async def test_settle_deferred_comes_back_when_due(store: Store) -> None:
    (claim,) = await store.accept(new(store), TERMS)
    await store.settle(results(claim, QUEUED, due=NOW + 300, problem="451 4.3.0 later", warned=2))
    assert await take(store, now=NOW + 299) == ()
    (again,) = await take(store, now=NOW + 300)
    (record,) = again.recipients
    assert (record.attempts, record.first_attempt_at, record.last_problem, record.warned) == (
        1,
        NOW + 1,
        "451 4.3.0 later",
        2,
    )


async def test_settle_defers_many_together_each_with_its_own_words(store: Store) -> None:
    """A next hop that is down puts off all its messages at once: of two kinds, and one whose lease is lost."""
    messages = [new(store, "mx:example.com", "mx:example.com", "mx:example.org") for _ in range(5)]
    claims = [claim for message in messages for claim in await store.accept(message, TERMS)]
    lost = claims[3]
    assert await store.change(QueueFilter(idents=(lost.lease.ident,), destination=lost.recipients[0].destination),
                              Change.HOLD, NOW) == 1  # fmt: skip

    def deferred(number: int, claim: Claim) -> Settlement:
        settled = results(claim, QUEUED, due=NOW + 300 + number, problem=f"45{number}", warned=number % 2)
        told = tuple(replace(ATTEMPT, reply=f"45{number}", recipients=claim.lease.recipients) for _ in range(2))
        return replace(settled, attempts=told)

    settled = [store.settle(deferred(number, claim)) for number, claim in enumerate(claims)]
    outcomes = await asyncio.gather(*settled, return_exceptions=True)
    assert [isinstance(outcome, LeaseLost) for outcome in outcomes] == [claim is lost for claim in claims]
    for number, claim in enumerate(claims):
        story = await store.story(claim.lease.ident)
        assert story is not None
        for index in claim.lease.recipients:
            record = story.summary.recipients[index]
            if claim is lost:
                assert (record.state, record.attempts) == (HELD, 0)
            else:
                assert (record.state, record.due, record.attempts) == (QUEUED, NOW + 300 + number, 1)
                assert (record.last_problem, record.warned) == (f"45{number}", number % 2)
                assert (record.first_attempt_at, record.leased_until) == (NOW + 1, None)
        replies = [attempt.reply for attempt in story.attempts]
        assert replies.count(f"45{number}") == (0 if claim is lost else 2)


async def test_settle_defers_a_thousand_recipients(store: Store) -> None:
    (claim,) = await store.accept(new(store, *["mx:example.com"] * 1000), TERMS)
    await store.settle(results(claim, QUEUED, due=NOW + 300, problem="451"))
    (again,) = await take(store, now=NOW + 300)
    assert {record.attempts for record in again.recipients} == {1}
    await store.settle(results(again, DELIVERED))
    assert (await store.stats(NOW)).messages == 0


async def test_settle_without_an_attempt_does_not_count_one(store: Store) -> None:
    (claim,) = await store.accept(new(store), TERMS)
    await store.settle(results(claim, QUEUED, due=NOW + 300, counts_as_attempt=False))
    (again,) = await take(store, now=NOW + 300)
    assert (again.recipients[0].attempts, again.recipients[0].first_attempt_at) == (0, None)


async def test_settle_gives_back_recipients_without_a_result(store: Store) -> None:
    (claim,) = await store.accept(new(store, "mx:example.com", "mx:example.com"), TERMS)
    await store.settle(Settlement(claim.lease, (Result(0, DELIVERED),), settled_at=NOW + 1))
    (again,) = await take(store, now=NOW + 1)
    assert again.lease.recipients == (1,)
    await store.settle(results(again, DELIVERED))
    assert (await store.stats(NOW)).messages == 0


async def test_settle_keeps_the_message_until_all_is_final(store: Store) -> None:
    first, second = await store.accept(new(store, "mx:a", "mx:b"), TERMS)
    await store.settle(results(first, DELIVERED))
    (summary,) = await store.find(ANY, 10)
    assert [record.state for record in summary.recipients] == [DELIVERED, QUEUED]
    await store.settle(results(second, BOUNCED, problem="550 no"))
    assert await store.find(ANY, 10) == ()


async def test_settle_begins_spawned_messages_with_it(store: Store) -> None:
    (claim,) = await store.accept(new(store), TERMS)
    bounce = new(store, "mx:example.org", sender=None)
    await store.settle(replace(results(claim, BOUNCED), spawned=(bounce,)))
    (summary,) = await store.find(ANY, 10)
    assert (summary.ident, summary.sender) == (bounce.ident, "<>")
    assert len(await take(store, "mx:example.org")) == 1


async def test_settle_under_a_lost_lease_spawns_nothing(store: Store) -> None:
    (claim,) = await store.accept(new(store), TERMS)
    await store.change(ANY, Change.DROP, NOW)
    with pytest.raises(LeaseLost):
        await store.settle(replace(results(claim, BOUNCED), spawned=(new(store),)))
    assert (await store.stats(NOW)).messages == 0


async def test_settle_refuses_results_outside_the_lease(store: Store) -> None:
    (claim,) = await store.accept(new(store), TERMS)
    with pytest.raises(ValueError, match="lease"):
        await store.settle(Settlement(claim.lease, (Result(1, DELIVERED),)))
    await store.settle(results(claim, DELIVERED))


# Stories


ATTEMPT = Attempt(
    NOW, 0.25, (0,), "mx:example.com", "mx.example.com", "198.51.100.1", "", "rcpt", "deferred", "451 4", "S: 451 4"
)


async def test_story_tells_attempts_in_the_queue_and_after_it(store: Store) -> None:
    message = new(store)
    (claim,) = await store.accept(message, TERMS)
    await store.settle(replace(results(claim, QUEUED, due=NOW, problem="451"), attempts=(ATTEMPT,)))
    story = await store.story(message.ident)
    assert story is not None
    assert (story.attempts, story.finished_at, story.envelope) == ((ATTEMPT,), None, message.envelope)
    (claim,) = await take(store)
    last = replace(ATTEMPT, outcome="delivered", at=NOW + 1)
    await store.settle(replace(results(claim, DELIVERED), attempts=(last,)))
    story = await store.story(message.ident)
    assert story is not None
    assert story.attempts == (ATTEMPT, last)
    assert story.finished_at == NOW + 1
    assert story.expires_at == message.expires_at
    assert [(r.state, r.attempts) for r in story.summary.recipients] == [(DELIVERED, 2)]


async def test_story_of_a_mixed_end_tells_each_recipient(store: Store) -> None:
    message = new(store, "mx:a", "mx:b")
    first, second = await store.accept(message, TERMS)
    await store.settle(replace(results(first, DELIVERED), attempts=(ATTEMPT,)))
    await store.settle(results(second, BOUNCED, problem="550 5.1.1 no"))
    story = await store.story(message.ident)
    assert story is not None
    assert [(r.state, r.last_problem) for r in story.summary.recipients] == [(DELIVERED, ""), (BOUNCED, "550 5.1.1 no")]
    assert story.attempts == (ATTEMPT,)


async def test_story_of_nobody_is_none(store: Store) -> None:
    assert await store.story(store.new_ident(NOW)) is None


async def test_sweep_forgets_old_stories(store: Store) -> None:
    message = new(store)
    (claim,) = await store.accept(message, TERMS)
    await store.settle(results(claim, DELIVERED))
    assert await store.sweep(NOW + 10, 60) == 0
    assert await store.story(message.ident) is not None
    assert await store.sweep(NOW + 100, 60) == 1
    assert await store.story(message.ident) is None


# Finding and changing

FILTERS: dict[str, tuple[QueueFilter, set[str]]] = {
    "all": (ANY, {"plain", "null", "account", "deferred", "held", "odd"}),
    "sender": (QueueFilter(sender="SENDER@*.ORG"), {"plain", "deferred", "held"}),
    "sender null": (QueueFilter(sender="<>"), {"null"}),
    "sender class": (QueueFilter(sender="[st]ender@*"), {"plain", "deferred", "held"}),
    "sender unclosed class": (QueueFilter(sender="[ender@*"), set()),
    "sender non-ascii": (QueueFilter(sender="b\u00fc*"), {"odd"}),
    "account": (QueueFilter(account="Alice"), {"account"}),
    "destination": (QueueFilter(destination="mx:*.net"), {"null"}),
    "recipient": (QueueFilter(recipient="user1@example.com"), {"account"}),
    "state": (QueueFilter(state=HELD), {"held"}),
    "reason": (QueueFilter(reason="451*"), {"deferred"}),
    "older": (QueueFilter(older_than=NOW), {"null"}),
    "younger": (QueueFilter(younger_than=NOW), {"account"}),
    "both": (QueueFilter(sender="*@example.org", state=QUEUED), {"plain", "account", "deferred"}),
    "on one recipient": (QueueFilter(destination="mx:a", recipient="user1@*"), set()),
}


async def populate(store: Store) -> dict[int, str]:
    messages = {
        "plain": new(store),
        "null": new(store, "mx:example.net", sender=None, at=NOW - 5),
        "account": new(store, "mx:a", "mx:b", account="alice", sender="alice@example.org", at=NOW + 5),
        "held": new(store, state=HELD),
        "odd": new(store, sender="b\u00fccher@example.com"),
    }
    for message in messages.values():
        await store.accept(message)
    messages["deferred"] = new(store)
    (claim,) = await store.accept(messages["deferred"], TERMS)
    await store.settle(results(claim, QUEUED, due=NOW + 900, problem="451 4.2.0 later"))
    return {message.ident: name for name, message in messages.items()}


@pytest.mark.parametrize(("where", "expected"), FILTERS.values(), ids=FILTERS)
async def test_find_by_filter(store: Store, where: QueueFilter, expected: set[str]) -> None:
    names = await populate(store)
    assert {names[summary.ident] for summary in await store.find(where, 100)} == expected


async def test_find_goes_on_after_an_ident(store: Store) -> None:
    for _ in range(7):
        await store.accept(new(store))
    first = await store.find(ANY, 4)
    rest = await store.find(ANY, 4, first[-1].ident)
    idents = [summary.ident for summary in first + rest]
    assert (len(first), len(rest)) == (4, 3)
    assert idents == sorted(idents)


async def test_change_counts_recipients_and_only_those_that_match(store: Store) -> None:
    await store.accept(new(store, "mx:a", "mx:b", "mx:a"))
    assert await store.change(QueueFilter(destination="mx:a"), Change.HOLD, NOW) == 2
    assert await store.change(QueueFilter(destination="mx:a"), Change.HOLD, NOW) == 0
    assert len(await take(store, "mx:b")) == 1
    assert await take(store, "mx:a") == ()
    assert await store.change(ANY, Change.RELEASE, NOW) == 2
    (claim,) = await take(store, "mx:a")
    assert claim.lease.recipients == (0, 2)


async def test_change_retry_makes_due(store: Store) -> None:
    await store.accept(new(store, due=NOW + 5000))
    assert await store.change(ANY, Change.RETRY, NOW) == 1
    assert len(await take(store)) == 1


async def test_change_retry_leaves_the_held_and_the_leased(store: Store) -> None:
    await store.accept(new(store, state=HELD))
    await store.accept(new(store), TERMS)
    assert await store.change(ANY, Change.RETRY, NOW) == 0
    assert await take(store) == ()


@pytest.mark.parametrize("change", [Change.HOLD, Change.BOUNCE, Change.DROP])
async def test_change_takes_the_lease_away(store: Store, change: Change) -> None:
    (claim,) = await store.accept(new(store), TERMS)
    assert await store.change(ANY, change, NOW) == 1
    with pytest.raises(LeaseLost):
        await store.settle(results(claim, DELIVERED))


async def test_change_bounce_dooms_until_claimed(store: Store) -> None:
    await store.accept(new(store, due=NOW + 5000))
    assert await store.change(ANY, Change.BOUNCE, NOW) == 1
    assert await store.change(ANY, Change.BOUNCE, NOW) == 0
    (claim,) = await take(store)
    assert claim.recipients[0].doomed


async def test_change_drop_ends_without_a_word(store: Store) -> None:
    message = new(store, "mx:a", "mx:b")
    await store.accept(message)
    await store.change(QueueFilter(destination="mx:a"), Change.DROP, NOW)
    assert (await store.stats(NOW)).recipients == {"dropped": 1, "queued": 1}
    await store.change(QueueFilter(destination="mx:b"), Change.DROP, NOW + 2)
    assert (await store.stats(NOW)).messages == 0
    story = await store.story(message.ident)
    assert story is not None
    assert [record.state for record in story.summary.recipients] == [RecipientState.DROPPED] * 2
    assert story.finished_at == NOW + 2


async def test_stats_count(store: Store) -> None:
    await populate(store)
    await store.accept(new(store), TERMS)
    stats = await store.stats(NOW)
    assert stats.messages == 7
    assert stats.recipients == {"queued": 7, "held": 1}
    assert stats.octets == 7 * 17
    assert stats.oldest_accepted_at == NOW - 5
    assert stats.due_now == 5
    assert stats.destinations["mx:example.com"] == 4
    assert stats.quarantined == 0


async def test_closed_store_is_unavailable(store: Store) -> None:
    message = new(store)
    await store.close()
    with pytest.raises(StoreUnavailable):
        await store.accept(message)
    with pytest.raises(StoreUnavailable):
        await take(store)
    with pytest.raises(StoreUnavailable):
        await store.find(ANY, 1)
    await store.open()

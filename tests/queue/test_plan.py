"""Plans run against a scripted world: zones, and what each address does to connections and transactions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postreeve.dns.answer import Absence, Answer, Mx
from postreeve.mail.domain import Domain
from postreeve.mail.reply import Reply
from postreeve.queue import settings as targets
from postreeve.queue.disposition import Action
from postreeve.queue.outcome import (
    ConnectFailed,
    ConnectProblem,
    Delivered,
    Disconnected,
    Interrupted,
    LookupKind,
    LookupProblem,
    Outcome,
    Refused,
    Stage,
    TimedOut,
    TlsKind,
    TlsProblem,
)
from postreeve.queue.plan import DeliveryPlan
from postreeve.queue.route import Identity, Route
from postreeve.queue.settings import Credentials, DeliverySettings, Fallback, Smarthost, Target, TlsMode
from postreeve.queue.step import (
    PLAINTEXT,
    Connect,
    Deposit,
    Dialogue,
    Done,
    Judgement,
    LookupAddresses,
    LookupMx,
    Send,
    Step,
    TlsRequirement,
)

OK = Delivered(Reply(250, "2.0.0", "ok"))
REFUSED = ConnectFailed(ConnectProblem.REFUSED)
BUSY = Refused(Reply(421, "4.3.2", "busy"), Stage.GREETING)
GREETING_554 = Refused(Reply(554, "5.7.1", "go away"), Stage.GREETING)
UNKNOWN = Refused(Reply(550, "5.1.1", "no such user"), Stage.RCPT)
GREYLISTED = Refused(Reply(450, "4.7.1", "greylisted"), Stage.RCPT)
TOO_MANY = Refused(Reply(452, "4.5.3", "too many recipients"), Stage.RCPT)
HANDSHAKE = TlsProblem(TlsKind.HANDSHAKE, "no shared cipher")
TEMPORARY = LookupProblem(LookupKind.TEMPORARY, "example.org", "SERVFAIL")

Sending = Callable[[tuple[int, ...]], tuple[Sequence[Outcome], bool]]


def _take_all(recipients: tuple[int, ...]) -> tuple[Sequence[Outcome], bool]:
    return [OK] * len(recipients), True


def _say(*outcomes: Outcome, is_open: bool = True) -> Sending:
    return lambda recipients: (list(outcomes) * (len(recipients) // len(outcomes)), is_open)


@dataclass
class World:
    """What the network says, and everything that was asked of it."""

    mx: Answer[Mx] | LookupProblem = field(default_factory=lambda: Answer((), Absence.NO_DATA))
    addresses: dict[str, Answer[str] | LookupProblem] = field(default_factory=dict)
    connections: dict[str, Outcome | Callable[[Connect], Outcome | None] | None] = field(default_factory=dict)
    sendings: dict[str, Sending] = field(default_factory=dict)
    limit: int = 0
    steps: list[Step] = field(default_factory=list)
    tried: list[str] = field(default_factory=list)
    """Addresses, one after the other; the race of a step ends with the first that does not refuse."""

    def run(self, plan: DeliveryPlan, bound: int = 200) -> dict[int, Judgement]:
        where = "adopted"
        for _ in range(bound):
            step = plan.next_step()
            assert plan.next_step() == step
            self.steps.append(step)
            match step:
                case Done(judgements):
                    assert len({judgement.recipient for judgement in judgements}) == len(judgements)
                    return {judgement.recipient: judgement for judgement in judgements}
                case LookupMx():
                    plan.take_mx(self.mx)
                case LookupAddresses(host):
                    plan.take_addresses(self.addresses.get(host, Answer((), Absence.NO_SUCH_NAME)))
                case Connect():
                    failed: list[tuple[str, Outcome]] = []
                    for where in step.addresses if step.address else (step.socket,):
                        self.tried.append(where)
                        problem = self.connections.get(where)
                        problem = problem(step) if callable(problem) else problem
                        if not isinstance(problem, ConnectFailed):
                            break
                        failed.append((where, problem))
                    plan.take_connection(problem, self.limit, where, [one for one in failed if one[0] != where])
                case Send(recipients):
                    plan.take_outcomes(*self.sendings.get(where, _take_all)(recipients))
                case Deposit(_, recipients):
                    plan.take_outcomes(*self.sendings.get("maildir", _take_all)(recipients))
        raise AssertionError(f"the plan does not end: {self.steps[-10:]}")

    @property
    def sent(self) -> list[tuple[int, ...]]:
        return [step.recipients for step in self.steps if isinstance(step, Send)]


def _route(target: Target | None = None, domain: str = "example.org", fallback: Fallback | None = None) -> Route:
    return Route("way", "key", Domain(domain), target or targets.Mx(), fallback)


def _plan(
    target: Target | None = None,
    recipients: Sequence[int] = (0,),
    identity: Identity | None = None,
    domain: str = "example.org",
    **settings: int,
) -> DeliveryPlan:
    chosen = DeliverySettings(**settings)  # type: ignore[arg-type]
    return DeliveryPlan(_route(target, domain), recipients, chosen, identity or Identity())


def _two_hosts(**more: object) -> World:
    return World(
        mx=Answer((Mx(20, "b.example"), Mx(10, "a.example"))),
        addresses={"a.example": Answer(("192.0.2.1",)), "b.example": Answer(("192.0.2.2",))},
        **more,  # type: ignore[arg-type]
    )


# Lookups


def test_plan_tries_the_best_mx_first_with_opportunistic_tls() -> None:
    world = _two_hosts()
    judged = world.run(_plan())
    assert world.steps[:3] == [
        LookupMx("example.org"),
        LookupAddresses("a.example"),
        Connect("a.example", "192.0.2.1", 25, TlsRequirement(TlsMode.OPPORTUNISTIC, name="a.example")),
    ]
    assert (judged[0].disposition.action, judged[0].host, judged[0].address) == (
        Action.DELIVERED,
        "a.example",
        "192.0.2.1",
    )


def test_plan_falls_back_to_the_addresses_of_the_domain() -> None:
    world = World(addresses={"example.org": Answer(("192.0.2.9",))})
    assert world.run(_plan())[0].disposition.action is Action.DELIVERED
    assert world.tried == ["192.0.2.9"]


NOWHERE: list[tuple[str, World, Action, str]] = [
    ("mx-servfail", World(mx=TEMPORARY), Action.DEFERRED, "4.4.3"),
    ("nxdomain", World(mx=Answer((), Absence.NO_SUCH_NAME)), Action.BOUNCED, "5.1.2"),
    ("null-mx", World(mx=Answer((Mx(0, ""),))), Action.BOUNCED, "5.1.10"),
    ("no-address", World(addresses={"example.org": Answer((), Absence.NO_DATA)}), Action.BOUNCED, "5.4.4"),
    ("address-servfail", World(addresses={"example.org": TEMPORARY}), Action.DEFERRED, "4.4.3"),
    ("mx-is-an-address", World(mx=Answer((Mx(0, "192.0.2.1"), Mx(5, "a b")))), Action.BOUNCED, "5.4.4"),
    ("mx-without-address", World(mx=Answer((Mx(0, "a.example"),))), Action.BOUNCED, "5.4.4"),
    (
        "one-mx-servfail-one-absent",
        World(mx=Answer((Mx(0, "a.example"), Mx(5, "b.example"))), addresses={"a.example": TEMPORARY}),
        Action.DEFERRED,
        "4.4.3",
    ),
    (
        "only-unusable-addresses",
        World(mx=Answer((Mx(0, "a.example"),)), addresses={"a.example": Answer(("0.0.0.0", "::"))}),
        Action.BOUNCED,
        "5.4.4",
    ),
]


@pytest.mark.parametrize(("world", "action", "status"), [row[1:] for row in NOWHERE], ids=[row[0] for row in NOWHERE])
def test_plan_ends_without_a_host(world: World, action: Action, status: str) -> None:
    world.steps.clear()
    world.tried.clear()
    judged = world.run(_plan(recipients=(0, 1)))
    assert {(one.disposition.action, one.disposition.status) for one in judged.values()} == {(action, status)}
    assert world.tried == []


def test_plan_ignores_a_null_mx_among_others() -> None:
    world = World(mx=Answer((Mx(0, ""), Mx(5, "a.example"))), addresses={"a.example": Answer(("192.0.2.1",))})
    assert world.run(_plan())[0].disposition.action is Action.DELIVERED


def test_plan_connects_to_an_address_literal_without_asking_the_dns() -> None:
    world = World()
    world.run(_plan(domain="[192.0.2.77]"))
    world.run(_plan(domain="[ipv6:2001:db8::7]"))
    assert world.tried == ["192.0.2.77", "2001:db8::7"]
    assert not any(isinstance(step, LookupMx | LookupAddresses) for step in world.steps)


# Loops


def test_plan_refuses_a_literal_of_our_own_address() -> None:
    identity = Identity(endpoints=frozenset({("192.0.2.77", 25)}))
    judged = World().run(_plan(domain="[192.0.2.77]", identity=identity))
    assert judged[0].disposition.status == "5.4.6"


OURSELVES = Identity(frozenset({Domain("b.example")}), frozenset({("192.0.2.2", 25)}))


@pytest.mark.parametrize(
    "identity",
    [Identity(OURSELVES.names), Identity(endpoints=OURSELVES.endpoints)],
    ids=["by-name", "by-address"],
)
def test_plan_drops_ourselves_and_all_less_preferred_hosts(identity: Identity) -> None:
    world = _two_hosts(connections={"192.0.2.1": REFUSED})
    world.mx = Answer((Mx(10, "a.example"), Mx(20, "b.example"), Mx(30, "c.example")))
    world.addresses["c.example"] = Answer(("192.0.2.3",))
    judged = world.run(_plan(identity=identity))
    assert world.tried == ["192.0.2.1"]
    assert judged[0].disposition.action is Action.DEFERRED

    best = _two_hosts()
    best.mx = Answer((Mx(10, "b.example"), Mx(20, "a.example")))
    judged = best.run(_plan(identity=identity))
    assert best.tried == []
    assert (judged[0].disposition.action, judged[0].disposition.status) == (Action.BOUNCED, "5.4.6")


# Next host


NEXT_HOST: list[Outcome] = [
    REFUSED,
    ConnectFailed(ConnectProblem.TIMED_OUT),
    BUSY,
    GREETING_554,
    TimedOut(Stage.EHLO),
    Disconnected(Stage.GREETING),
]


@pytest.mark.parametrize("problem", NEXT_HOST, ids=str)
def test_plan_goes_on_to_the_next_host(problem: Outcome) -> None:
    world = _two_hosts(connections={"192.0.2.1": problem})
    assert world.run(_plan())[0].host == "b.example"
    assert world.tried == ["192.0.2.1", "192.0.2.2"]


def test_plan_bounces_only_when_every_host_said_so() -> None:
    world = _two_hosts(connections={"192.0.2.1": GREETING_554, "192.0.2.2": GREETING_554})
    assert world.run(_plan())[0].disposition.action is Action.BOUNCED
    for first, second in ((REFUSED, GREETING_554), (GREETING_554, REFUSED)):
        world = _two_hosts(connections={"192.0.2.1": first, "192.0.2.2": second})
        judged = world.run(_plan())
        assert judged[0].disposition.action is Action.DEFERRED
        assert judged[0].outcome == REFUSED


def test_plan_tries_a_bounded_number_of_addresses() -> None:
    addresses = [f"192.0.2.{number}" for number in range(1, 100)]
    world = World(
        mx=Answer((Mx(1, "a.example"),)),
        addresses={"a.example": Answer(tuple(addresses))},
        connections=dict.fromkeys(addresses, REFUSED),
    )
    assert world.run(_plan())[0].disposition.action is Action.DEFERRED
    assert len(world.tried) == 5


def _three_addresses(**connections: Outcome) -> World:
    return World(
        mx=Answer((Mx(1, "a.example"),)),
        addresses={"a.example": Answer(("2001:db8::1", "192.0.2.1", "192.0.2.2"))},
        connections={"2001:db8::1": REFUSED, "192.0.2.1": BUSY, "192.0.2.2": None} | dict(connections),
    )


def test_plan_races_the_addresses_of_a_host() -> None:
    """RFC 8305: all of them in one step; after a peer that turned us away, those that were not asked."""
    world = _three_addresses()
    judged = world.run(_plan())
    tls = TlsRequirement(TlsMode.OPPORTUNISTIC, name="a.example")
    assert [step for step in world.steps if isinstance(step, Connect)] == [
        Connect("a.example", "2001:db8::1", 25, tls, others=("192.0.2.1", "192.0.2.2")),
        Connect("a.example", "192.0.2.2", 25, tls),
    ]
    assert (judged[0].disposition.action, judged[0].address) == (Action.DELIVERED, "192.0.2.2")


def test_plan_counts_only_addresses_that_were_tried() -> None:
    world = _three_addresses()
    judged = world.run(_plan(addresses_per_attempt=2))
    assert world.tried == ["2001:db8::1", "192.0.2.1"]
    assert (judged[0].outcome, judged[0].address) == (BUSY, "192.0.2.1")


def test_plan_goes_on_in_plaintext_at_the_address_that_answered() -> None:
    world = _three_addresses()
    world.connections["192.0.2.1"] = lambda step: None if step.tls == PLAINTEXT else HANDSHAKE
    judged = world.run(_plan())
    assert world.tried == ["2001:db8::1", "192.0.2.1", "192.0.2.1"]
    assert (judged[0].disposition.action, judged[0].address) == (Action.DELIVERED, "192.0.2.1")


def test_plan_looks_up_a_bounded_number_of_hosts() -> None:
    world = World(mx=Answer(tuple(Mx(1, f"h{number}.example") for number in range(500))))
    world.run(_plan())
    assert sum(isinstance(step, LookupAddresses) for step in world.steps) == 10


def test_plan_keeps_final_answers_and_takes_only_the_rest_to_the_next_host() -> None:
    outcomes = [OK, UNKNOWN, GREYLISTED, Refused(Reply(421, "4.7.0", "enough"), Stage.RCPT)]
    world = _two_hosts(sendings={"192.0.2.1": lambda recipients: (outcomes, False)})
    judged = world.run(_plan(recipients=(3, 5, 7, 9)))
    assert [judged[number].disposition.action for number in (3, 5, 7, 9)] == [
        Action.DELIVERED,
        Action.BOUNCED,
        Action.DEFERRED,
        Action.DELIVERED,
    ]
    assert world.sent == [(3, 5, 7, 9), (9,)]


@pytest.mark.parametrize("outcome", [TimedOut(Stage.FINAL), Disconnected(Stage.FINAL)], ids=str)
def test_plan_takes_an_ambiguous_end_nowhere_else(outcome: Outcome) -> None:
    world = _two_hosts(sendings={"192.0.2.1": _say(outcome, is_open=False)})
    assert world.run(_plan())[0].disposition.action is Action.DEFERRED
    assert world.tried == ["192.0.2.1"]


def test_plan_ends_at_once_when_interrupted() -> None:
    world = _two_hosts(connections={"192.0.2.1": Interrupted()})
    assert world.run(_plan())[0].disposition.action is Action.RELEASED
    assert world.tried == ["192.0.2.1"]


# TLS


def test_plan_retries_the_same_host_in_plaintext_after_a_failed_handshake() -> None:
    def only_plaintext(connect: Connect) -> Outcome | None:
        return HANDSHAKE if connect.tls.mode is not TlsMode.NONE else None

    world = _two_hosts(connections={"192.0.2.1": only_plaintext})
    assert world.run(_plan())[0].host == "a.example"
    modes = [step.tls for step in world.steps if isinstance(step, Connect)]
    assert [mode.mode for mode in modes] == [TlsMode.OPPORTUNISTIC, TlsMode.NONE]
    assert modes[1] == PLAINTEXT


def test_plan_gives_plaintext_one_try() -> None:
    world = _two_hosts(connections={"192.0.2.1": HANDSHAKE, "192.0.2.2": HANDSHAKE})
    assert world.run(_plan())[0].disposition.status == "4.7.5"
    assert world.tried == ["192.0.2.1", "192.0.2.1", "192.0.2.2", "192.0.2.2"]


@pytest.mark.parametrize("mode", [TlsMode.REQUIRED, TlsMode.IMPLICIT], ids=lambda mode: mode.value)
def test_plan_never_gives_up_required_tls(mode: TlsMode) -> None:
    world = World(connections={"192.0.2.5": HANDSHAKE}, addresses={"smtp.example.net": Answer(("192.0.2.5",))})
    judged = world.run(_plan(Smarthost("smtp.example.net", 465, mode)))
    assert judged[0].disposition.action is Action.DEFERRED
    assert world.tried == ["192.0.2.5"]
    assert all(step.tls.mode is mode for step in world.steps if isinstance(step, Connect))


# Other targets


def test_plan_reaches_a_smarthost_with_its_port_tls_and_credentials() -> None:
    credentials = Credentials("user", "secret")
    world = World(addresses={"smtp.example.net": Answer(("192.0.2.5",))})
    world.run(_plan(Smarthost("smtp.example.net", 465, TlsMode.IMPLICIT, credentials=credentials)))
    tls = TlsRequirement(TlsMode.IMPLICIT, verify=True, name="smtp.example.net")
    assert world.steps[:2] == [
        LookupAddresses("smtp.example.net", is_configured=True),
        Connect("smtp.example.net", "192.0.2.5", 465, tls, credentials),
    ]


@pytest.mark.parametrize(
    ("mode", "verify", "expected"),
    [
        (TlsMode.REQUIRED, True, True),
        (TlsMode.REQUIRED, False, False),
        (TlsMode.OPPORTUNISTIC, True, False),
        (TlsMode.NONE, True, False),
    ],
    ids=str,
)
def test_plan_verifies_the_smarthost_where_tls_is_sure(mode: TlsMode, verify: bool, expected: bool) -> None:
    world = World()
    world.run(_plan(Smarthost("192.0.2.5", 587, mode, verify)))
    assert [step.tls.verify for step in world.steps if isinstance(step, Connect)] == [expected]


@pytest.mark.parametrize(
    "answer", [TEMPORARY, Answer((), Absence.NO_SUCH_NAME), Answer((), Absence.NO_DATA)], ids=["servfail", "nx", "none"]
)
def test_plan_defers_when_the_smarthost_cannot_be_found(answer: Answer[str] | LookupProblem) -> None:
    world = World(addresses={"smtp.example.net": answer})
    assert world.run(_plan(Smarthost("smtp.example.net")))[0].disposition.action is Action.DEFERRED


def test_plan_uses_the_fallback_when_told_to() -> None:
    fallback = Fallback(Smarthost("192.0.2.5", 465, TlsMode.IMPLICIT))
    world = World()
    plan = DeliveryPlan(_route(fallback=fallback), (0,), DeliverySettings(), Identity(), use_fallback=True)
    assert world.run(plan)[0].disposition.action is Action.DELIVERED
    assert world.tried == ["192.0.2.5"]


def test_plan_reaches_lmtp_by_host_or_socket() -> None:
    world = World(addresses={"lmtp.example.org": Answer(("192.0.2.6",))})
    world.run(_plan(targets.Lmtp("lmtp.example.org", 24)))
    world.run(_plan(targets.Lmtp("127.0.0.1", 2424)))
    world.run(_plan(targets.Lmtp(socket="/run/dovecot/lmtp")))
    assert world.tried == ["192.0.2.6", "127.0.0.1", "/run/dovecot/lmtp"]
    connects = [step for step in world.steps if isinstance(step, Connect)]
    assert all(step.dialogue is Dialogue.LMTP and step.tls == PLAINTEXT for step in connects)


def test_plan_deposits_into_a_maildir() -> None:
    world = World(sendings={"maildir": lambda recipients: ([OK, UNKNOWN], True)})
    judged = world.run(_plan(targets.Maildir("/mail/{local}"), (0, 4)))
    assert world.steps[0] == Deposit("/mail/{local}", (0, 4))
    assert [one.disposition.action for one in judged.values()] == [Action.DELIVERED, Action.BOUNCED]


def test_plan_discards_and_holds_without_a_step() -> None:
    for target, action in ((targets.Discard(), Action.DISCARDED), (targets.Hold(), Action.HELD)):
        world = World()
        assert {one.disposition.action for one in world.run(_plan(target, (0, 1))).values()} == {action}
        assert len(world.steps) == 1


# Transactions


def test_plan_splits_recipients_over_transactions() -> None:
    world = _two_hosts()
    judged = world.run(_plan(recipients=range(25), recipients_per_transaction=10))
    assert [len(batch) for batch in world.sent] == [10, 10, 5]
    assert len(judged) == 25
    assert world.tried == ["192.0.2.1"]


def test_plan_keeps_to_the_peers_own_limit() -> None:
    world = _two_hosts(limit=4)
    world.run(_plan(recipients=range(10), recipients_per_transaction=100))
    assert [len(batch) for batch in world.sent] == [4, 4, 2]
    assert len(world.tried) == 1


def test_plan_sends_too_many_recipients_again_in_the_next_transaction() -> None:
    def three_at_most(recipients: tuple[int, ...]) -> tuple[Sequence[Outcome], bool]:
        return [OK if place < 3 else TOO_MANY for place in range(len(recipients))], True

    world = _two_hosts(sendings={"192.0.2.1": three_at_most})
    judged = world.run(_plan(recipients=range(8)))
    assert {one.disposition.action for one in judged.values()} == {Action.DELIVERED}
    assert [len(batch) for batch in world.sent] == [8, 5, 2]


def test_plan_defers_when_no_recipient_at_all_is_too_many() -> None:
    world = _two_hosts(sendings={"192.0.2.1": _say(TOO_MANY)})
    judged = world.run(_plan(recipients=(0, 1)))
    assert {one.disposition.action for one in judged.values()} == {Action.DEFERRED}
    assert len(world.sent) == 1


def test_plan_reconnects_to_a_host_that_takes_one_transaction_per_connection() -> None:
    world = _two_hosts(sendings={"192.0.2.1": _say(OK, is_open=False)})
    judged = world.run(_plan(recipients=range(6), recipients_per_transaction=2))
    assert {one.disposition.action for one in judged.values()} == {Action.DELIVERED}
    assert world.tried == ["192.0.2.1"] * 3


def test_plan_leaves_a_host_that_breaks_off_without_deciding_anything() -> None:
    world = _two_hosts(sendings={"192.0.2.1": _say(Disconnected(Stage.MAIL), is_open=False)})
    judged = world.run(_plan(recipients=range(4), recipients_per_transaction=2))
    assert {one.host for one in judged.values()} == {"b.example"}
    assert world.tried == ["192.0.2.1", "192.0.2.2"]


# Connections kept open


ADOPTED = Connect("a.example", "192.0.2.1", 25, TlsRequirement(name="a.example"))


def test_plan_uses_an_adopted_connection_without_lookups() -> None:
    world, plan = World(), _plan(recipients=(0, 1))
    plan.adopt(ADOPTED)
    judged = world.run(plan)
    assert world.steps == [Send((0, 1)), Done(tuple(judged.values()))]
    assert judged[0].host == "a.example"


@pytest.mark.parametrize(
    "outcome",
    [Disconnected(Stage.MAIL), TimedOut(Stage.MAIL), Refused(Reply(421, "4.4.2", "idle too long"), Stage.MAIL)],
    ids=str,
)
def test_plan_forgets_a_stale_connection(outcome: Outcome) -> None:
    world, plan = _two_hosts(sendings={"adopted": _say(outcome, is_open=False)}), _plan(recipients=(0, 1))
    plan.adopt(ADOPTED)
    judged = world.run(plan)
    assert {one.disposition.action for one in judged.values()} == {Action.DELIVERED}
    assert world.tried == ["192.0.2.1"]


def test_plan_judges_what_an_adopted_connection_decided() -> None:
    world = _two_hosts(sendings={"adopted": lambda recipients: ([OK, UNKNOWN, Disconnected(Stage.FINAL)], False)})
    plan = _plan(recipients=(0, 1, 2))
    plan.adopt(ADOPTED)
    actions = [one.disposition.action for one in world.run(plan).values()]
    assert actions == [Action.DELIVERED, Action.BOUNCED, Action.DEFERRED]
    assert world.tried == []


# Whatever the world does


OUTCOMES = st.sampled_from(
    [
        OK, UNKNOWN, GREYLISTED, TOO_MANY, BUSY, GREETING_554, HANDSHAKE, REFUSED, TimedOut(Stage.FINAL),
        TimedOut(Stage.STARTTLS), Disconnected(Stage.MAIL), Disconnected(Stage.FINAL), Interrupted(),
        Refused(Reply(421, "", ""), Stage.RCPT), Refused(Reply(999, "", ""), Stage.DATA),
        Refused(Reply(451, "", ""), Stage.MAIL),
    ]
)  # fmt: skip
TARGETS = st.sampled_from(
    [
        targets.Mx(), targets.Lmtp("h1.example"), targets.Lmtp(socket="/run/lmtp"), targets.Maildir("/mail"),
        targets.Hold(), targets.Discard(), Smarthost("h1.example", 25), Smarthost("127.0.0.1", 25),
        Smarthost("h2.example", 465, TlsMode.IMPLICIT), Smarthost("h0.example", 25, TlsMode.OPPORTUNISTIC),
    ]
)  # fmt: skip
HOSTS = st.sampled_from(["", "192.0.2.1", *(f"h{number}.example" for number in range(6))])
ADDRESSES = st.sampled_from(["127.0.0.1", "127.0.0.9", "::1", "192.0.2.1", "192.0.2.2", "2001:db8::1", "0.0.0.0", "?"])
MX_ANSWERS = st.one_of(
    st.just(TEMPORARY),
    st.builds(Answer, st.just(()), st.sampled_from(Absence)),
    st.builds(Answer, st.lists(st.builds(Mx, st.integers(0, 3), HOSTS), min_size=1, max_size=30).map(tuple)),
)
ADDRESS_ANSWERS = st.one_of(
    st.just(TEMPORARY),
    st.builds(Answer, st.just(()), st.sampled_from(Absence)),
    st.builds(Answer, st.lists(ADDRESSES, min_size=1, max_size=8).map(tuple)),
)
US = Identity(
    frozenset({Domain("h0.example")}),
    frozenset({("127.0.0.1", 25), ("0.0.0.0", 25), ("::", 25), ("192.0.2.1", 25)}),
)


class _Whims:
    """A world that answers every question anew."""

    def __init__(self, data: st.DataObject) -> None:
        self.draw = data.draw

    def answer(self, plan: DeliveryPlan, step: Step) -> None:
        match step:
            case LookupMx():
                plan.take_mx(self.draw(MX_ANSWERS))
            case LookupAddresses():
                plan.take_addresses(self.draw(ADDRESS_ANSWERS))
            case Connect():
                problem = self.draw(st.one_of(st.none(), OUTCOMES.filter(lambda outcome: outcome != OK)))
                addresses = self.draw(st.lists(st.sampled_from([*step.addresses, "203.0.113.9"]), max_size=4))
                failed = [(address, REFUSED) for address in addresses[1:]]
                plan.take_connection(problem, self.draw(st.integers(0, 3)), "".join(addresses[:1]), failed)
            case Send(recipients) | Deposit(recipients=recipients):
                outcomes = self.draw(st.lists(OUTCOMES, min_size=len(recipients), max_size=len(recipients)))
                plan.take_outcomes(outcomes, self.draw(st.booleans()))


@given(
    data=st.data(), target=TARGETS, count=st.integers(1, 8), limit=st.integers(1, 4), tries=st.integers(0, 6),
    seed=st.integers(-(1 << 63), (1 << 63) - 1), adopted=st.booleans(),
)  # fmt: skip
def test_plan_always_ends_and_never_connects_to_ourselves(
    data: st.DataObject, target: Target, count: int, limit: int, tries: int, seed: int, adopted: bool
) -> None:
    settings = DeliverySettings(recipients_per_transaction=limit, addresses_per_attempt=tries)
    plan = DeliveryPlan(_route(target), range(count), settings, US, seed)
    if adopted:
        plan.adopt(ADOPTED)
    whims = _Whims(data)
    # An address costs two connections (TLS, plaintext); a transaction or reconnection decides or drops a recipient.
    for _ in range(20 + tries * 2 * (2 * count + 2) + 4 * count):
        step = plan.next_step()
        if isinstance(step, Done):
            break
        if isinstance(step, Connect) and not step.socket:
            assert not US.is_at(step.address, step.port)
        if isinstance(step, LookupAddresses) and isinstance(target, targets.Mx):
            assert step.host != "h0.example"
        whims.answer(plan, step)
    done = plan.next_step()
    assert isinstance(done, Done)
    assert sorted(judgement.recipient for judgement in done.judgements) == list(range(count))
    never = {Action.NEXT_HOST, Action.NEXT_TRANSACTION, Action.RETRY_PLAINTEXT}
    assert not never & {judgement.disposition.action for judgement in done.judgements}

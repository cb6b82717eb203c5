"""Every outcome kind × context against the error policy, written out a second time by hand."""

from __future__ import annotations

import itertools
from enum import Enum

import pytest

from postreeve.mail.reply import Reply
from postreeve.queue.disposition import MAX_TEXT, ROWS, Action, Context, Kind, case_of, judge, kind_of
from postreeve.queue.outcome import (
    ConnectFailed,
    ConnectProblem,
    Delivered,
    DestinationDead,
    Discarded,
    Disconnected,
    Ended,
    EndReason,
    Interrupted,
    Lack,
    LeftOut,
    LocalKind,
    LocalProblem,
    LookupKind,
    LookupProblem,
    Outcome,
    ProtocolProblem,
    Refused,
    Stage,
    TimedOut,
    TlsKind,
    TlsProblem,
    Unsuitable,
    Withheld,
    stage_of,
)
from postreeve.queue.settings import TlsMode

NEXT, DEFER, BOUNCE = Action.NEXT_HOST, Action.DEFERRED, Action.BOUNCED
ALL_STAGES = " ".join(stage.value for stage in Stage)

# stages | reply code | with hosts left | at the last host | status | trouble of the site
REFUSALS = [
    ("connect greeting ehlo", 421, NEXT, DEFER, "4.3.2", True),
    ("connect greeting ehlo", 450, NEXT, DEFER, "4.0.0", True),
    ("connect greeting ehlo", 554, NEXT, BOUNCE, "5.0.0", False),
    ("starttls auth", 421, NEXT, DEFER, "4.3.2", True),
    ("starttls auth", 454, NEXT, DEFER, "4.0.0", True),
    ("starttls auth", 535, NEXT, DEFER, "4.7.0", True),
    ("mail data", 421, NEXT, DEFER, "4.3.2", False),
    ("mail data", 451, NEXT, DEFER, "4.0.0", False),
    ("mail data", 550, BOUNCE, BOUNCE, "5.0.0", False),
    ("rcpt content final", 421, NEXT, DEFER, "4.3.2", False),
    ("rcpt content final", 450, DEFER, DEFER, "4.0.0", False),
    ("rcpt content final", 550, BOUNCE, BOUNCE, "5.0.0", False),
    ("connect greeting ehlo starttls auth", 999, NEXT, DEFER, "4.5.0", True),
    ("connect greeting ehlo starttls auth", 250, NEXT, DEFER, "4.5.0", True),
    ("mail rcpt data content", 0, NEXT, DEFER, "4.5.0", False),
    ("mail rcpt data content", 354, NEXT, DEFER, "4.5.0", False),
    ("final", 199, DEFER, DEFER, "4.5.0", False),
    ("final", 600, DEFER, DEFER, "4.5.0", False),
    ("dns local", 421, NEXT, DEFER, "4.3.2", False),
    ("dns local", 450, NEXT, DEFER, "4.0.0", False),
    ("dns local", 550, DEFER, DEFER, "4.3.0", False),
    ("dns local", 700, NEXT, DEFER, "4.5.0", False),
]

# stages | with hosts left | at the last host | status of a silence or a break | of nonsense | trouble of the site
BROKEN = [
    ("connect greeting ehlo starttls auth", NEXT, DEFER, "4.4.2", "4.5.0", True),
    ("mail rcpt data content", NEXT, DEFER, "4.4.2", "4.5.0", False),
    ("final", DEFER, DEFER, "4.4.2", "4.5.0", False),
    ("local", DEFER, DEFER, "4.3.0", "4.3.0", False),
    ("dns", NEXT, DEFER, "4.4.3", "4.4.3", True),
]

# outcome | with hosts left | at the last host | status | trouble of the site
OTHERS: list[tuple[Outcome, Action, Action, str, bool]] = [
    *((ConnectFailed(kind), NEXT, DEFER, "4.4.1", True) for kind in ConnectProblem),
    (LookupProblem(LookupKind.TEMPORARY, "example.org"), NEXT, DEFER, "4.4.3", True),
    (LookupProblem(LookupKind.NO_SUCH_DOMAIN, "example.org"), BOUNCE, BOUNCE, "5.1.2", False),
    (LookupProblem(LookupKind.NO_HOST, "example.org"), BOUNCE, BOUNCE, "5.4.4", False),
    (LookupProblem(LookupKind.NO_USABLE_HOST, "example.org"), NEXT, BOUNCE, "5.4.4", False),
    (LookupProblem(LookupKind.NULL_MX, "example.org"), BOUNCE, BOUNCE, "5.1.10", False),
    (LookupProblem(LookupKind.LOOP, "example.org"), BOUNCE, BOUNCE, "5.4.6", False),
    (TlsProblem(TlsKind.HANDSHAKE), NEXT, DEFER, "4.7.5", True),
    (TlsProblem(TlsKind.CERTIFICATE), NEXT, DEFER, "4.7.5", True),
    (TlsProblem(TlsKind.NOT_OFFERED), NEXT, DEFER, "4.7.4", True),
    (Unsuitable(Lack.SMTPUTF8), NEXT, BOUNCE, "5.6.7", False),
    (Unsuitable(Lack.EIGHT_BIT_MIME), NEXT, BOUNCE, "5.6.3", False),
    (Unsuitable(Lack.BINARY_MIME), NEXT, BOUNCE, "5.6.3", False),
    (Unsuitable(Lack.SIZE), NEXT, BOUNCE, "5.3.4", False),
    (Unsuitable(Lack.REQUIRE_TLS), NEXT, BOUNCE, "5.7.30", False),
    (Unsuitable(Lack.DELIVER_BY), NEXT, BOUNCE, "5.3.3", False),
    (Unsuitable(Lack.AUTH), NEXT, DEFER, "4.7.4", True),
    (LocalProblem(LocalKind.STORE), DEFER, DEFER, "4.3.0", False),
    (LocalProblem(LocalKind.DISK), DEFER, DEFER, "4.3.0", False),
    (LocalProblem(LocalKind.DISK_FULL), DEFER, DEFER, "4.3.1", False),
    (LocalProblem(LocalKind.NO_ROUTE), DEFER, DEFER, "4.3.5", False),
    (LocalProblem(LocalKind.BUG), DEFER, DEFER, "4.3.0", False),
    (LeftOut(), Action.NEXT_TRANSACTION, DEFER, "4.5.3", False),
    (DestinationDead("connection refused", 1000.0), DEFER, DEFER, "4.4.1", False),
    (Delivered(Reply(250, "", "queued")), Action.DELIVERED, Action.DELIVERED, "2.0.0", False),
    (Discarded(), Action.DISCARDED, Action.DISCARDED, "2.0.0", False),
    (Withheld(), Action.HELD, Action.HELD, "4.3.0", False),
    (Ended(EndReason.OPERATOR), BOUNCE, BOUNCE, "5.0.0", False),
    (Ended(EndReason.DEADLINE), BOUNCE, BOUNCE, "5.4.7", False),
    (Interrupted(), Action.RELEASED, Action.RELEASED, "4.3.2", False),
]


def _stages(names: str) -> list[Stage]:
    return [Stage(name) for name in names.split()]


def _policy() -> list[tuple[Outcome, Action, Action, str, bool]]:
    rows = [*OTHERS]
    for names, code, ahead, last, status, site in REFUSALS:
        rows += [(Refused(Reply(code, "", "no"), stage), ahead, last, status, site) for stage in _stages(names)]
    for names, ahead, last, broken, nonsense, site in BROKEN:
        for stage in _stages(names):
            rows.append((TimedOut(stage), ahead, last, broken, site))
            rows.append((Disconnected(stage), ahead, last, broken, site))
            rows.append((ProtocolProblem(stage, "junk"), ahead, last, nonsense, site))
    return rows


POLICY = _policy()


def _name(outcome: Outcome) -> str:
    parts = [part.value if isinstance(part, Enum) else str(part) for part in case_of(outcome)[1:]]
    code = [str(outcome.reply.code)] if isinstance(outcome, Refused) else []
    return "-".join([type(outcome).__name__, *parts, *code]).replace(" ", "_")


@pytest.mark.parametrize(("outcome", "ahead", "last", "status", "site"), POLICY, ids=[_name(row[0]) for row in POLICY])
def test_judge_follows_the_policy(outcome: Outcome, ahead: Action, last: Action, status: str, site: bool) -> None:
    for tls, configured in itertools.product((TlsMode.NONE, TlsMode.REQUIRED, TlsMode.IMPLICIT), (False, True)):
        if configured and isinstance(outcome, LookupProblem):
            continue
        for more, expected in ((True, ahead), (False, last)):
            disposition = judge(outcome, Context(more_hosts=more, tls=tls, is_configured=configured))
            assert disposition.action is expected
            assert disposition.is_site_trouble is site
            if expected is last:
                assert disposition.status == status


def test_policy_speaks_of_every_row_of_the_table() -> None:
    assert {case_of(outcome) for outcome, *_ in POLICY} == set(ROWS)


def test_table_has_a_row_for_every_outcome_kind() -> None:
    expected = {(Refused, stage, kind) for stage in Stage for kind in Kind}
    expected |= {(broken, stage) for broken in (TimedOut, Disconnected, ProtocolProblem) for stage in Stage}
    expected |= {
        (outcome, member)
        for outcome, members in (
            (ConnectFailed, ConnectProblem),
            (LookupProblem, LookupKind),
            (TlsProblem, TlsKind),
            (Unsuitable, Lack),
            (LocalProblem, LocalKind),
            (Ended, EndReason),
        )
        for member in members
    }
    expected |= {(kind,) for kind in (Delivered, Discarded, Withheld, Interrupted, DestinationDead, LeftOut)}
    assert set(ROWS) == expected


OPPORTUNISTIC = [
    TlsProblem(TlsKind.HANDSHAKE, "no shared cipher"),
    TlsProblem(TlsKind.CERTIFICATE),
    TlsProblem(TlsKind.NOT_OFFERED),
    Refused(Reply(454, "4.7.0", "TLS not available"), Stage.STARTTLS),
    Refused(Reply(502, "", "no"), Stage.STARTTLS),
    Refused(Reply(421, "", "bye"), Stage.STARTTLS),
    TimedOut(Stage.STARTTLS),
    Disconnected(Stage.STARTTLS, "TLS alert"),
    ProtocolProblem(Stage.STARTTLS, "junk"),
]


@pytest.mark.parametrize("outcome", OPPORTUNISTIC, ids=_name)
def test_judge_retries_in_plaintext_when_tls_is_opportunistic(outcome: Outcome) -> None:
    for more in (True, False):
        assert judge(outcome, Context(more, TlsMode.OPPORTUNISTIC)).action is Action.RETRY_PLAINTEXT
        assert judge(outcome, Context(more, TlsMode.REQUIRED)).action in (NEXT, DEFER)
        assert judge(outcome, Context(more, TlsMode.IMPLICIT)).action in (NEXT, DEFER)


@pytest.mark.parametrize("kind", LookupKind, ids=lambda kind: kind.name)
def test_judge_defers_when_a_configured_next_hop_cannot_be_found(kind: LookupKind) -> None:
    disposition = judge(LookupProblem(kind, "smarthost.example.net"), Context(is_configured=True))
    assert disposition.action is DEFER
    assert disposition.status == ("4.4.3" if kind is LookupKind.TEMPORARY else "4.3.5")


TOO_MANY = [
    (Reply(452, "", "too many recipients"), True, Action.NEXT_TRANSACTION),
    (Reply(452, "4.5.3", "too many recipients"), True, Action.NEXT_TRANSACTION),
    (Reply(552, "", "too many recipients"), True, Action.NEXT_TRANSACTION),
    (Reply(552, "5.5.3", "too many recipients"), True, Action.NEXT_TRANSACTION),
    (Reply(452, "", "too many recipients"), False, DEFER),
    (Reply(452, "4.2.2", "mailbox full"), True, DEFER),
    (Reply(552, "5.2.2", "mailbox full"), True, BOUNCE),
    (Reply(552, "", "mailbox full"), False, BOUNCE),
    (Reply(450, "4.5.3", "busy"), True, DEFER),
]


@pytest.mark.parametrize(("reply", "others", "action"), TOO_MANY, ids=[f"{row[0]}-{row[1]}" for row in TOO_MANY])
def test_judge_tells_too_many_recipients_from_a_full_mailbox(reply: Reply, others: bool, action: Action) -> None:
    assert judge(Refused(reply, Stage.RCPT), Context(others_accepted=others)).action is action
    assert judge(Refused(reply, Stage.MAIL), Context(others_accepted=others)).action in (DEFER, BOUNCE)


STATUSES = [
    (550, "5.1.1", "5.1.1"),
    (550, "4.1.1", "5.1.1"),
    (450, "5.7.1", "4.7.1"),
    (550, "5.7.509", "5.7.509"),
    (550, "", "5.0.0"),
    (550, "5.7", "5.0.0"),
    (550, "rubbish", "5.0.0"),
    (550, "5.1.1.1", "5.0.0"),
    (550, "5.1234.1", "5.0.0"),
    (550, "5..1", "5.0.0"),
    (550, "5.١.1", "5.0.0"),
]


@pytest.mark.parametrize(("code", "theirs", "status"), STATUSES, ids=[f"{row[0]}-{row[1]}" for row in STATUSES])
def test_judge_takes_the_peers_status_with_the_class_of_its_code(code: int, theirs: str, status: str) -> None:
    assert judge(Refused(Reply(code, theirs, "no"), Stage.RCPT), Context()).status == status


def test_judge_gives_a_deferring_status_where_a_permanent_reply_defers() -> None:
    disposition = judge(Refused(Reply(535, "5.7.8", "bad credentials"), Stage.AUTH), Context(is_configured=True))
    assert (disposition.action, disposition.status) == (DEFER, "4.7.8")


def test_judge_keeps_the_text_on_one_bounded_line() -> None:
    long = judge(Refused(Reply(550, "5.7.1", "no\n" * 5000), Stage.RCPT), Context()).text
    assert len(long) == MAX_TEXT
    assert "\n" not in long
    detailed = judge(ConnectFailed(ConnectProblem.OTHER, "a\r\nb\x00" + "c" * 5000), Context()).text
    assert len(detailed) == MAX_TEXT
    assert detailed.isprintable()


@pytest.mark.parametrize("code", range(-1, 1001))
def test_kind_of_goes_by_the_first_digit(code: int) -> None:
    kind = kind_of(code)
    if code == 421:
        assert kind is Kind.CLOSING
    elif code // 100 == 4:
        assert kind is Kind.TRANSIENT
    elif code // 100 == 5:
        assert kind is Kind.PERMANENT
    else:
        assert kind is Kind.NONSENSE


def test_stage_of_names_a_stage_for_every_outcome() -> None:
    assert {stage_of(outcome) for outcome, *_ in POLICY} == set(Stage)

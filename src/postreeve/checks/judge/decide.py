"""From one verdict per endpoint to the one that a client would meet.

An endpoint's judges are asked in the order of a connection, the first that says something has the word. Several
endpoints are one server to a client: it takes the first that lets it connect, an MX client the first that works.
Whatever fails beside that is said as partial trouble.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

from postreeve.checks.conversation import Ending, Said
from postreeve.checks.facts import Facts, Intent
from postreeve.checks.finding import Finding, Level
from postreeve.checks.judge.banner import judge_banner, judge_pace
from postreeve.checks.judge.case import Case
from postreeve.checks.judge.certificate import judge_certificate
from postreeve.checks.judge.envelope import judge_envelope
from postreeve.checks.judge.fix import fix_for
from postreeve.checks.judge.hello import judge_hello
from postreeve.checks.judge.interception import judge_interception
from postreeve.checks.judge.judgement import Judgement
from postreeve.checks.judge.login import judge_login
from postreeve.checks.judge.name import judge_horizon, judge_names
from postreeve.checks.judge.path import judge_path
from postreeve.checks.judge.refusers import refusers
from postreeve.checks.judge.remarks import remark, remark_on_us
from postreeve.checks.judge.tls import judge_handshake, judge_mode, judge_starttls
from postreeve.checks.judge.wording import dialled, ended, shaken, told
from postreeve.checks.stage import Stage
from postreeve.checks.verdict import HEALTHY, UNDECIDED, Confidence, Verdict

_JUDGES: Final[tuple[Callable[[Case], Iterator[Verdict]], ...]] = (
    judge_interception,
    judge_path,
    judge_mode,
    judge_banner,
    judge_hello,
    judge_starttls,
    judge_handshake,
    judge_certificate,
    judge_login,
    judge_envelope,
    judge_pace,
)


def judge(facts: Facts) -> Judgement:
    """Say what is wrong with what a probe saw, without looking at anything else. Total: any Facts gives a Judgement."""
    named = tuple(judge_names(facts))
    if named and (not facts.endpoints or named[0].cause == "null-mx"):
        return Judgement(named[0], named[1:])
    cases = [Case(facts, endpoint) for endpoint in facts.endpoints]
    judged = [(case, judge_endpoint(case)) for case in cases]
    findings = [finding for case in cases for finding in remark(case)]
    findings += remark_on_us(facts)
    verdict, others, partial = _combine(facts, judged)
    if _is_path(verdict):
        others = (*others, *judge_horizon(facts))
    refusing = tuple(dict.fromkeys(one for case in cases for one in refusers(case)))
    return Judgement(verdict, others, (*partial, *_unique(findings, verdict)), refusing)


def judge_endpoint(case: Case) -> tuple[Verdict, ...]:
    """Everything that is wrong at one endpoint, that which a client meets first in front; () for a healthy one."""
    verdicts: dict[str, Verdict] = {}
    for ask in _JUDGES:
        for verdict in ask(case):
            verdicts.setdefault(verdict.cause, verdict)
    if not verdicts:
        return tuple(_unexplained(case))
    return tuple(verdicts.values())


def _unexplained(case: Case) -> Iterator[Verdict]:
    """A conversation that went wrong in a way that no judge knows: say so rather than guess."""
    talk = case.main
    if talk is None:
        if case.endpoint.conversations or not case.endpoint.dials:
            return
        if case.is_open and case.asked.stop_after not in (Stage.DNS, Stage.TCP):
            lines = tuple(dialled(dial) for dial in case.endpoint.dials)
            yield Verdict(UNDECIDED, Confidence.LOW, Stage.BANNER, lines, "", case.place)
        return
    if talk.ending is Ending.QUIT and talk.ended_at in (Stage.NONE, Stage.MAIL, Stage.CERT, Stage.AUTH):
        return
    if talk.ending is Ending.STOPPED and not any(said.code == 421 for said in talk.said):
        return
    if case.mode is Intent.AUTO and any(one.ending is Ending.QUIT for one in case.conversations):
        return
    if _has_gone_through(case) and talk.ending in (Ending.CLOSED, Ending.RESET):
        return
    lines = (ended(talk), *(told(said) for said in talk.said[-2:]))
    if talk.tls is not None:
        lines = (*lines, shaken(talk.tls))
    fix = f"postreeve probe {case.host}:{case.endpoint.port} --transcript shows the whole conversation."
    yield Verdict(UNDECIDED, Confidence.LOW, talk.ended_at, lines, fix, case.place)


def _has_gone_through(case: Case) -> bool:
    """True when every command had its answer: a server may hang up without waiting for QUIT."""
    talk = case.main
    return (
        talk is not None
        and bool(talk.said)
        and all(said.code for said in talk.said)
        and (talk.tls is None or bool(talk.tls.version))
    )


def _combine(
    facts: Facts, judged: list[tuple[Case, tuple[Verdict, ...]]]
) -> tuple[Verdict, tuple[Verdict, ...], tuple[Finding, ...]]:
    """The verdict, the others, and findings of partial trouble."""
    bad = [(case, verdicts) for case, verdicts in judged if verdicts]
    good = [case for case, verdicts in judged if not verdicts]
    if not bad:
        return (_healthy(good) if good else _nothing(facts)), (), ()
    rest = tuple(verdict for _, verdicts in bad for verdict in verdicts)
    if not good:
        lead = _lead(facts, bad)
        count = f"the same at {len(bad)} addresses" if len(bad) > 1 and len({v[0].cause for _, v in bad}) == 1 else ""
        verdict = replace(lead, evidence=(*lead.evidence, count)) if count else lead
        return verdict, tuple(one for one in rest if one is not lead), ()
    return _partial(facts, good, bad, rest)


def _lead(facts: Facts, bad: list[tuple[Case, tuple[Verdict, ...]]]) -> Verdict:
    """What a client ends with when nothing works: the first address that let it connect, else the first of IPv4."""
    opened = [verdicts[0] for case, verdicts in bad if case.is_open]
    if opened:
        return opened[0]
    routed = [verdicts[0] for _, verdicts in bad if verdicts[0].cause not in ("tcp-unreachable-v6", "no-route")]
    return (routed or [bad[0][1][0]])[0]


def _partial(
    facts: Facts, good: list[Case], bad: list[tuple[Case, tuple[Verdict, ...]]], rest: tuple[Verdict, ...]
) -> tuple[Verdict, tuple[Verdict, ...], tuple[Finding, ...]]:
    """Some endpoints work and some do not."""
    works = f"{len(good)} of {len(good) + len(bad)} addresses works: {', '.join(case.place for case in good)}"
    dead6 = [case for case, verdicts in bad if ":" in case.endpoint.address and _is_path(verdicts[0])]
    hosts = {case.host for case in good}
    if dead6 and len(dead6) == len(bad) and all(":" not in case.endpoint.address for case in good):
        first = bad[0][1][0]
        if not facts.vantage.has_ipv6_route or first.cause == "tcp-unreachable-v6":
            note = Finding(
                "probe-no-ipv6", Level.NOTE, "IPv6 was not tried: this machine has no way out by it", first.subject,
                first.evidence, first.fix,
            )  # fmt: skip
            return _healthy(good), rest, (note,)
        fix = fix_for("ipv6-broken", dead6[0])
        verdict = Verdict("ipv6-broken", Confidence.HIGH, Stage.TCP, (*first.evidence, works), fix, first.subject)
        return verdict, rest, ()
    v6_refused = [verdicts[0] for case, verdicts in bad if ":" in case.endpoint.address]
    if v6_refused and len(v6_refused) == len(bad) and v6_refused[0].cause in _REFUSED_SOURCE:
        first = v6_refused[0]
        case = next(case for case, verdicts in bad if verdicts[0] is first)
        fix = fix_for("v6-only-421", case)
        return (
            Verdict("v6-only-421", Confidence.HIGH, first.stage, (*first.evidence, works), fix, first.subject),
            rest,
            (),
        )
    met = next(
        (v[0] for case, v in bad if facts.asked.is_application and not _is_path(v[0]) and case.host in hosts), None
    )
    if met is not None:
        evidence = (*met.evidence, f"partial: {works}; a client meets whichever address it takes")
        return replace(met, evidence=evidence), tuple(one for one in rest if one is not met), ()
    notes = tuple(
        Finding(
            f"probe-{v[0].cause}",
            Level.WARNING,
            f"{case.place} fails, others work",
            case.place,
            v[0].evidence,
            v[0].fix,
        )
        for case, v in bad
    )
    healthy = _healthy(good)
    return replace(healthy, evidence=(*healthy.evidence, f"partial: {works}")), rest, notes


_REFUSED_SOURCE: Final = frozenset(
    {"banner-421", "banner-554", "ptr-missing", "dnsbl", "policy-refused", "rate-limited"}
)


def _healthy(cases: list[Case]) -> Verdict:
    lines = []
    for case in cases[:4]:
        talk = case.main
        greeting = talk.reply(Stage.BANNER) if talk is not None else None
        lines += [told(greeting)] if isinstance(greeting, Said) else []
        lines += [shaken(talk.tls)] if talk is not None and talk.tls is not None else []
    stopped = cases[0].asked.stop_after
    lines.append(f"walked as far as {stopped.value}" if stopped is not Stage.NONE else "walked to the end")
    return Verdict(HEALTHY, Confidence.HIGH, Stage.NONE, tuple(lines), "", cases[0].place)


def _nothing(facts: Facts) -> Verdict:
    line = f"nothing was tried at {facts.asked.target}"
    return Verdict(UNDECIDED, Confidence.LOW, Stage.NONE, (line,), "postreeve probe HOST:PORT")


def _is_path(verdict: Verdict) -> bool:
    return verdict.stage is Stage.TCP and verdict.cause != "transparent-proxy"


def _unique(findings: list[Finding], verdict: Verdict) -> tuple[Finding, ...]:
    """Each finding once, without the verdict's own cause."""
    seen: dict[tuple[str, str], Finding] = {}
    for finding in findings:
        if finding.check != f"probe-{verdict.cause}":
            seen.setdefault((finding.check, finding.subject), finding)
    return tuple(seen.values())

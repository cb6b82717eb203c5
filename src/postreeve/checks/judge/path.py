"""Why no connection came about: ourselves first, then this network, then the far side."""

from __future__ import annotations

from collections.abc import Iterator

from postreeve.checks.facts import Endpoint
from postreeve.checks.judge.case import Case, is_loopback, is_private
from postreeve.checks.judge.verdicts import found
from postreeve.checks.judge.wording import controls_of, dialled, traced
from postreeve.checks.path import Control, ControlRole, Dial, DialOutcome
from postreeve.checks.stage import Stage
from postreeve.checks.verdict import Confidence, Verdict
from postreeve.ports.network import by_id

_SILENT = frozenset({DialOutcome.TIMED_OUT, DialOutcome.UNREACHABLE, DialOutcome.PROHIBITED})


def judge_path(case: Case) -> Iterator[Verdict]:
    """Nothing when a connection came about."""
    if case.is_open or not case.endpoint.dials:
        return
    dial = case.endpoint.dials[-1]
    match dial.outcome:
        case DialOutcome.FORBIDDEN:
            yield found(case, "local-forbidden", Confidence.HIGH, Stage.TCP, dialled(dial), *_paths(case))
        case DialOutcome.NO_SOURCE:
            source = case.asked.source_ipv6 if ":" in dial.address else case.asked.source_ipv4
            source = source or dial.local_address
            yield found(case, "source-address", Confidence.HIGH, Stage.TCP, dialled(dial), source=source)
        case DialOutcome.NO_ROUTE:
            cause = "tcp-unreachable-v6" if ":" in dial.address else "no-route"
            yield found(case, cause, Confidence.HIGH, Stage.TCP, dialled(dial))
        case DialOutcome.REFUSED | DialOutcome.RESET:
            yield _refused(case, dial)
        case _:
            yield _unanswered(case, dial)


def dead_endpoints(endpoints: tuple[Endpoint, ...]) -> tuple[Endpoint, ...]:
    """Those to which no connection came about."""
    return tuple(
        one
        for one in endpoints
        if one.dials
        and not any(dial.outcome is DialOutcome.OPEN for dial in one.dials)
        and not any(talk.dial.outcome is DialOutcome.OPEN for talk in one.conversations)
    )


def _refused(case: Case, dial: Dial) -> Verdict:
    lines = (dialled(dial), *_paths(case))
    same, _ = _known_good(case)
    if dial.icmp is not None and dial.icmp.sender:
        return _said_no(case, dial, lines)
    if same and all(one.dial.outcome in (DialOutcome.REFUSED, DialOutcome.RESET) for one in same):
        return _blocked_near(case, lines, Confidence.HIGH)
    cause = "reset" if dial.outcome is DialOutcome.RESET else "tcp-refused"
    extra = ""
    if is_loopback(dial.address) and dial.address != case.asked.target.strip("[]"):
        extra = f"the name {case.host} is this machine itself ({dial.address})"
    elif _any_open(case.controls(ControlRole.OTHER_PORT)):
        extra = "the host is up, other ports of it answer: nothing serves this port, or its firewall rejects it"
    return found(case, cause, Confidence.HIGH, Stage.TCP, *lines, extra)


def _said_no(case: Case, dial: Dial, lines: tuple[str, ...]) -> Verdict:
    """Somebody answered with an ICMP error: who, is in it."""
    assert dial.icmp is not None
    sender = dial.icmp.sender
    if sender == dial.local_address or (is_loopback(sender) and not is_loopback(dial.address)):
        return found(
            case, "local-forbidden", Confidence.HIGH, Stage.TCP, *lines, "the ICMP error came from this machine itself"
        )
    if sender == dial.address:
        if dial.outcome is DialOutcome.REFUSED:
            return found(case, "tcp-refused", Confidence.HIGH, Stage.TCP, *lines, "the host itself said so")
        cause = "blocked-far-side" if dial.outcome is DialOutcome.PROHIBITED else "tcp-unreachable"
        return found(case, cause, Confidence.HIGH, Stage.TCP, *lines, "the host itself said so", sender=sender)
    same, others = _known_good(case)
    if same and not _any_open(same):
        if not others or _any_open(others) or _any_open(case.controls(ControlRole.OTHER_PORT)):
            return _blocked_near(case, lines, Confidence.HIGH)
        return found(case, "no-route", Confidence.HIGH, Stage.TCP, *lines)
    is_firewall = dial.outcome in (DialOutcome.PROHIBITED, DialOutcome.REFUSED)
    elsewhere = _any_open(case.controls(ControlRole.OTHER_PORT))
    if not is_firewall and not elsewhere:
        return found(case, "tcp-unreachable", Confidence.HIGH, Stage.TCP, *lines, f"{sender} on the way said so")
    if _any_open(same):
        return found(case, "blocked-far-side", Confidence.HIGH, Stage.TCP, *lines, sender=sender)
    if _is_near(case, sender):
        return _blocked_near(case, (*lines, f"{sender} is at the near end of the way"), Confidence.HIGH)
    note = "whether that firewall is ours or theirs: compare with a known server on the same port"
    return found(case, "blocked-on-the-way", Confidence.MEDIUM, Stage.TCP, *lines, note, sender=sender)


def _unanswered(case: Case, dial: Dial) -> Verdict:
    """Time-outs and unreachables: the controls tell whose they are."""
    lines = (dialled(dial), *_paths(case))
    if dial.icmp is not None and dial.icmp.sender:
        return _said_no(case, dial, lines)
    same, others = _known_good(case)
    host_is_up = any(_lives(one) for one in case.controls(ControlRole.OTHER_PORT))
    if same and not _any_open(same):
        if host_is_up:
            return _blocked_near(case, lines, Confidence.HIGH)
        if any(_lives(one) for one in others):
            maybe = "replies that are dropped on their way back, by a firewall of this machine too, look the same"
            return _blocked_near(case, (*lines, maybe), Confidence.MEDIUM)
        if others:
            return found(
                case, "no-route", Confidence.HIGH, Stage.TCP, *lines, "no control on any port answers from here either"
            )
        return _blocked_near(case, lines, Confidence.MEDIUM)
    if _any_open(same):
        if host_is_up:
            return found(case, "blocked-far-side", Confidence.HIGH, Stage.TCP, *lines, sender=dial.address)
        note = (
            "from here this port reaches other servers: the host is down, its address is wrong, or its firewall drops"
        )
        return found(case, "tcp-timeout", Confidence.MEDIUM, Stage.TCP, *lines, note)
    if others and not host_is_up and not any(_lives(one) for one in others):
        return found(case, "no-route", Confidence.MEDIUM, Stage.TCP, *lines, "no control answers from here either")
    platform = _platform(case)
    if platform:
        return _blocked_near(case, lines, Confidence.LOW) if host_is_up else _timed_out(case, lines, platform)
    if host_is_up and _ends_near(case):
        return _blocked_near(
            case, (*lines, "packets for this port get no further than the near end"), Confidence.MEDIUM
        )
    return _timed_out(case, lines, "no control told this network's fault from the far side's")


def _timed_out(case: Case, lines: tuple[str, ...], note: str) -> Verdict:
    if case.endpoint.dials[-1].outcome in (DialOutcome.UNREACHABLE, DialOutcome.OTHER):
        return found(case, "tcp-unreachable", Confidence.MEDIUM, Stage.TCP, *lines, note)
    return found(case, "tcp-timeout", Confidence.MEDIUM, Stage.TCP, *lines, note)


def _blocked_near(case: Case, lines: tuple[str, ...], confidence: Confidence) -> Verdict:
    cause = "port-25-blocked" if case.endpoint.port == 25 else "blocked-by-network"
    return found(case, cause, confidence, Stage.TCP, *lines, _platform(case))


def _platform(case: Case) -> str:
    vantage = case.facts.vantage
    network = by_id(vantage.platform)
    name = network.name if network else vantage.platform
    return f"this machine seems to be in the network of {name}: {vantage.platform_evidence}" if name else ""


def _known_good(case: Case) -> tuple[tuple[Control, ...], tuple[Control, ...]]:
    """The controls at servers that are known to answer: on this endpoint's port, and on others."""
    controls = case.controls(ControlRole.KNOWN_GOOD)
    same = tuple(one for one in controls if one.dial.port == case.endpoint.port)
    return same, tuple(one for one in controls if one.dial.port != case.endpoint.port)


def _any_open(controls: tuple[Control, ...]) -> bool:
    return any(one.dial.outcome is DialOutcome.OPEN for one in controls)


def _lives(control: Control) -> bool:
    """True when packets go there and come back: a RST is an answer too, unlike an ICMP error of a firewall's."""
    return control.dial.outcome is DialOutcome.OPEN or (
        control.dial.outcome is DialOutcome.REFUSED and control.dial.icmp is None
    )


def _is_near(case: Case, sender: str) -> bool:
    """True when that machine is among the first hops, or has a private address where the target has none."""
    trace = case.endpoint.trace
    if trace is not None and any(hop.sender == sender and hop.ttl <= 2 for hop in trace.hops):
        return True
    return is_private(sender) and not is_private(case.endpoint.address)


def _ends_near(case: Case) -> bool:
    trace = case.endpoint.trace
    if trace is None or trace.is_reached or not trace.hops:
        return False
    last = max((hop.ttl for hop in trace.hops if hop.sender), default=0)
    return last <= 2 and trace.hops[-1].ttl >= last + 3


def _paths(case: Case) -> tuple[str, ...]:
    trace = (traced(case.endpoint.trace),) if case.endpoint.trace is not None else ()
    roles = (ControlRole.OTHER_PORT, ControlRole.KNOWN_GOOD, ControlRole.NOWHERE)
    return (*trace, *(line for role in roles for line in controls_of(case.controls(role))))

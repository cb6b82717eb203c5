"""What `postreeve probe` prints for people: the verdict first, then what was seen, then who else will fail."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from postreeve.checks.conversation import Conversation, Opening, Tls
from postreeve.checks.facts import Endpoint, Facts, Lookup
from postreeve.checks.finding import Finding
from postreeve.checks.judge import Judgement, Refuser
from postreeve.checks.knowledge import causes
from postreeve.checks.path import Control, Dial, DialOutcome, Trace
from postreeve.checks.stage import Stage
from postreeve.checks.verdict import HEALTHY, UNDECIDED, Verdict
from postreeve.cli.fold import say_folded
from postreeve.cli.output import clean, clean_lines, say
from postreeve.probes.errors import describe_icmp
from postreeve.probes.transcript import transcript

_LABEL: Final = 12
"""Columns before the text of the verdict."""


@dataclass(frozen=True, slots=True)
class _Whole:
    """A line that is never folded: it is there to be pasted."""

    text: str


_Line = str | _Whole


def print_judgement(facts: Facts, judgement: Judgement, *, with_transcript: bool) -> None:
    """Everything, in the order in which somebody in trouble wants to read it."""
    for line in _verdict(facts, judgement.verdict):
        _print(line, _LABEL)
    for title, lines in (
        ("Names", _names(facts)),
        ("Connections", _endpoints(facts)),
        ("Controls", _controls(facts.controls)),
        ("Also wrong", [line for one in judgement.others for line in _other(one)]),
        ("Worth knowing", [line for one in judgement.findings for line in _finding(one)]),
        ("Clients that refuse this server", [line for one in judgement.refusers for line in _refuser(one)]),
        ("Where this was seen from", _vantage(facts)),
    ):
        _section(title, list(lines))
    if with_transcript:
        talks = [talk for endpoint in facts.endpoints for talk in endpoint.conversations]
        said = [_Whole(line) for talk in talks for line in clean_lines(transcript(talk).rstrip("\n"))]
        _section("Conversations", said)


def _section(title: str, lines: Sequence[_Line]) -> None:
    if lines:
        say()
        say(title)
        for line in lines:
            indented = _Whole(f"  {line.text}") if isinstance(line, _Whole) else f"  {line}"
            _print(indented, _depth(indented) + 4)


def _depth(line: _Line) -> int:
    text = line.text if isinstance(line, _Whole) else line
    return len(text) - len(text.lstrip())


def _print(line: _Line, indent: int) -> None:
    if isinstance(line, _Whole):
        say(line.text)
    else:
        say_folded(line, indent)


def _fix(fix: str, head: str = "  fix: ", indent: int = 6) -> Iterator[_Line]:
    """What to do; lines that begin with blanks are to be pasted."""
    for place, line in enumerate(fix.split("\n") if fix else ()):
        text = (head if place == 0 else " " * indent) + clean(line)
        yield _Whole(text) if line.startswith("  ") else text


def _verdict(facts: Facts, verdict: Verdict) -> Iterator[_Line]:
    target = clean(facts.asked.target)
    yield f"{target}: {_title(verdict.cause)}"
    if verdict.cause not in (HEALTHY, UNDECIDED):
        place = f", at {verdict.subject}" if verdict.subject else ""
        sure = f"{verdict.confidence.value} confidence, stage {verdict.stage.value}"
        yield f"  {'cause':<{_LABEL - 2}}{verdict.cause} ({sure}{place})"
    for place_, line in enumerate(verdict.evidence):
        yield f"  {'' if place_ else 'evidence':<{_LABEL - 2}}{clean(line)}"
    yield from _fix(verdict.fix, f"  {'fix':<{_LABEL - 2}}", _LABEL)


def _title(cause: str) -> str:
    if cause == HEALTHY:
        return "mail flows; nothing is wrong as far as was walked"
    if cause == UNDECIDED:
        return "what was seen fits several causes"
    known = causes().get(cause)
    return known.title if known is not None else cause


def _names(facts: Facts) -> Iterator[str]:
    names = facts.names
    if names.host and names.addresses != (names.host,):
        origin = " (from /etc/hosts)" if names.is_from_hosts_file else ""
        yield clean(f"{names.host}: {', '.join(names.addresses) or 'no address'}{origin}")
    yield from (clean(_lookup(one)) for one in names.lookups)
    if names.suggestion and names.suggestion != names.host:
        yield clean(f"perhaps {names.suggestion} was meant")


def _lookup(one: Lookup) -> str:
    server = f", asked {one.server}" if one.server else ""
    checking = ", without DNSSEC checking" if one.is_checking_disabled else ""
    secure = ", DNSSEC" if one.is_authentic else ""
    what = "; ".join(one.records) or one.absence or f"failed: {one.failure}"
    return f"{one.kind} {one.name}: {what}{server}{checking}{secure}"


def _endpoints(facts: Facts) -> Iterator[str]:
    for endpoint in facts.endpoints:
        name = f" ({endpoint.host})" if endpoint.host != endpoint.address else ""
        yield clean(f"{_place(endpoint.address, endpoint.port)}{name}")
        for line in _endpoint(endpoint):
            yield f"  {clean(line)}"


def _endpoint(endpoint: Endpoint) -> Iterator[str]:
    told = [talk.dial for talk in endpoint.conversations]
    for dial in endpoint.dials:
        if dial not in told:
            yield describe_dial(dial)
    for talk in endpoint.conversations:
        how = "waiting for a greeting" if talk.opening is Opening.CLEAR else "TLS from the first octet"
        lenient = ", old versions allowed" if talk.tls is not None and talk.tls.is_lenient else ""
        nameless = ", without SNI" if talk.is_nameless else ""
        yield f"{describe_dial(talk.dial)}; {how}{lenient}{nameless}: {_outcome(talk)}"
        yield from (f"  {line}" for line in _talk(talk))
    if endpoint.trace is not None:
        yield from _trace(endpoint.trace)


def describe_dial(dial: Dial) -> str:
    """What came of a connect, in a line."""
    words = f"{dial.outcome.value} after {dial.seconds * 1_000:.0f} ms"
    if dial.icmp is not None:
        words += f" ({describe_icmp(dial.icmp)}, said {dial.icmp.sender})"
    elif dial.outcome is not DialOutcome.OPEN and dial.error:
        words += f" ({dial.error})"
    return words + (f" from {dial.local_address}" if dial.local_address else "")


def _outcome(talk: Conversation) -> str:
    where = f" in stage {talk.ended_at.value}" if talk.ended_at is not Stage.NONE else ""
    return f"{talk.ending.value}{where}"


def _talk(talk: Conversation) -> Iterator[str]:
    if talk.heard and not any(said.code for said in talk.said):
        yield f"heard: {talk.heard[:160]}"
    if talk.opening is Opening.TLS and talk.tls is not None:
        yield from _tls(talk.tls)
    for said in talk.said:
        lock = "TLS" if said.is_in_tls else "clear"
        if said.stage is Stage.EHLO and said.code == 250:
            yield f"{lock:<5} EHLO: {', '.join(said.lines[1:]) or 'no extensions'}"
        elif said.stage is not Stage.NONE:
            command = said.command.split("\r")[0] or "greeting"
            yield f"{lock:<5} {command}: {said.text or 'no reply'} ({said.seconds * 1_000:.0f} ms)"
        if said.stage is Stage.TLS and talk.tls is not None and said.code == 220:
            yield from _tls(talk.tls)


def _tls(tls: Tls) -> Iterator[str]:
    if not tls.version:
        yield f"no TLS: {', '.join(filter(None, (tls.error, tls.alert, tls.heard[:80]))) or 'no answer'}"
    else:
        yield f"{tls.version} {tls.cipher}{f' {tls.group}' if tls.group else ''}"
    for place, one in enumerate(tls.chain):
        names = ", ".join(one.names[:8]) or "none"
        yield f"certificate {place}: {one.subject or one.common_name}, {one.key}; names {names}"
    yield from (f"not trusted: {one.text}" for one in tls.troubles)
    if tls.is_name_right is False:
        yield "the certificate does not name this host"
    if tls.missing_issuer:
        yield f"the intermediate is missing: {tls.missing_issuer}"


def _trace(trace: Trace) -> Iterator[str]:
    last = max((hop.ttl for hop in trace.hops if hop.sender), default=0)
    for hop in trace.hops[:last]:
        words = f", {describe_icmp(hop.icmp)}" if hop.icmp is not None and hop.icmp.kind not in (3, 11) else ""
        yield f"hop {hop.ttl:>2}  {hop.sender or '*'}{f'  {hop.seconds * 1_000:.0f} ms' if hop.sender else ''}{words}"
    if not trace.is_reached and len(trace.hops) > last:
        yield f"hop {last + 1:>2}  * and nobody after"


def _controls(controls: Sequence[Control]) -> Iterator[str]:
    """Ports of one address that ended alike, without a word, share a line."""
    alike: dict[tuple[object, ...], list[Control]] = {}
    for one in controls:
        key = (one.role, one.dial.address, one.dial.outcome, one.dial.icmp) if not one.banner else (one,)
        alike.setdefault(key, []).append(one)
    for group in alike.values():
        one, ports = group[0], ", ".join(str(control.dial.port) for control in group)
        where = _place(one.dial.address, one.dial.port) if len(group) == 1 else f"{one.dial.address} ports {ports}"
        banner = f": {one.banner}" if one.banner else ""
        yield clean(f"{one.role.value}: {where} {describe_dial(one.dial)}{banner}")


def _other(verdict: Verdict) -> Iterator[_Line]:
    place = f" at {verdict.subject}" if verdict.subject else ""
    yield clean(f"{_title(verdict.cause)} [{verdict.cause}, {verdict.confidence.value}]{place}")
    yield from (f"  {clean(line)}" for line in verdict.evidence)
    yield from _fix(verdict.fix)


def _finding(one: Finding) -> Iterator[_Line]:
    subject = f" ({one.subject})" if one.subject else ""
    yield clean(f"{one.level.value}: {one.title}{subject}")
    yield from (f"  {clean(line)}" for line in one.because)
    yield from _fix(one.fix)


def _refuser(one: Refuser) -> Iterator[_Line]:
    yield clean(f"{one.client}: {one.reason}")
    yield from _fix(one.fix)


def _vantage(facts: Facts) -> Iterator[str]:
    seen = facts.vantage
    families = [name for name, has in (("IPv4", seen.has_ipv4_route), ("IPv6", seen.has_ipv6_route)) if has]
    where = f"{seen.platform} ({seen.platform_evidence})" if seen.platform else "a network that is not recognised"
    container = ", in a container" if seen.is_container else ""
    yield clean(f"{where}{container}; way out by {' and '.join(families) or 'neither IPv4 nor IPv6'}")
    yield from (clean(_lookup(one)) for one in seen.ptr)


def _place(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"

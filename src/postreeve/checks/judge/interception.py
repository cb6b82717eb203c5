"""Is it the server that answers at all? A proxy on the way answers everywhere, in the same words."""

from __future__ import annotations

from collections.abc import Iterator

from postreeve.checks.judge.case import Case
from postreeve.checks.judge.verdicts import found
from postreeve.checks.judge.wording import controlled, dialled, quoted, told
from postreeve.checks.path import ControlRole, DialOutcome
from postreeve.checks.stage import Stage
from postreeve.checks.verdict import Confidence, Verdict


def judge_interception(case: Case) -> Iterator[Verdict]:
    """Where nobody can answer, somebody does; or two different servers greet alike.

    A certificate that is trusted and names the host proves the server: then whatever else answers does no harm.
    """
    if not case.is_open or is_proven(case):
        return
    answered = [
        one
        for one in case.controls(ControlRole.NOWHERE)
        if one.dial.outcome is DialOutcome.OPEN and one.dial.port == case.endpoint.port
    ]
    if answered:
        reached = [dialled(one) for one in case.endpoint.dials if one.outcome is DialOutcome.OPEN][:1]
        lines = [controlled(one) for one in answered]
        yield found(case, "transparent-proxy", Confidence.HIGH, Stage.TCP, *lines, *reached)
        return
    greeting = case.speaks_in_the_clear
    if greeting is None or not greeting.text:
        return
    if _is_theirs(greeting.lines[0] if greeting.lines else "", case.host):
        return
    alike = {
        one.dial.address: one
        for one in case.controls(ControlRole.KNOWN_GOOD)
        if one.dial.address != case.endpoint.address and one.banner and _plain(one.banner) == _plain(greeting.text)
    }
    if alike:
        same = f"this server and others greet alike: {quoted(greeting.text)}"
        maybe = (
            "unless one operator runs them all, that is a proxy's greeting; an address where nobody is did not answer"
        )
        lines = [controlled(one) for one in alike.values()]
        yield found(case, "transparent-proxy", Confidence.MEDIUM, Stage.BANNER, told(greeting), *lines, same, maybe)


def _is_theirs(banner: str, host: str) -> bool:
    """True when the greeting names the target's own domain: two hosts of one operator may well greet alike."""
    name = (banner.split() or [""])[0].lower().rstrip(".")
    return "." in name and name.split(".")[-2:] == host.lower().rstrip(".").split(".")[-2:]


def is_proven(case: Case) -> bool:
    """True when a trusted certificate names this host: nobody on the way can have made that."""
    return any(
        one.tls is not None and one.tls.version and one.tls.chain and not one.tls.troubles and one.tls.is_name_right
        for one in case.conversations
    )


def _plain(banner: str) -> str:
    return " ".join(banner.lower().replace("-", " ").split())

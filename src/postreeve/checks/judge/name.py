"""The name: does it resolve, to what, and is that the same for everybody?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from postreeve.checks.facts import Facts, Lookup, TargetKind
from postreeve.checks.judge.case import is_loopback, is_private
from postreeve.checks.judge.fix import fix_text
from postreeve.checks.stage import Stage
from postreeve.checks.verdict import Confidence, Verdict

_NULL_MX: Final = ("0 .", "0")


def judge_names(facts: Facts) -> Iterator[Verdict]:
    """Nothing when there is at least one endpoint to try, but for a null MX."""
    domain = facts.asked.target.rpartition("@")[2].removeprefix("submission:")
    mx = [one for one in facts.names.lookups if one.kind == "MX" and not one.is_checking_disabled]
    if facts.asked.kind is TargetKind.MAIL_DOMAIN:
        for one in mx:
            if len(one.records) == 1 and one.records[0].strip() in _NULL_MX:
                yield _verdict("null-mx", Confidence.HIGH, (looked_up(one),), domain=domain)
                return
    if facts.endpoints:
        return
    lookups = [one for one in facts.names.lookups if not one.is_checking_disabled]
    bogus = dnssec_bogus(facts)
    if bogus:
        yield _verdict("dnssec-bogus", Confidence.HIGH, bogus, host=facts.names.host or domain)
        return
    evidence = tuple(looked_up(one) for one in lookups)
    if facts.asked.kind is TargetKind.MAIL_DOMAIN and mx and all(one.absence == "NODATA" for one in mx):
        yield _verdict("no-mx", Confidence.HIGH, evidence, domain=domain)
        return
    yield from _unresolved(facts, lookups, evidence, domain)


def _unresolved(facts: Facts, lookups: list[Lookup], evidence: tuple[str, ...], domain: str) -> Iterator[Verdict]:
    host = facts.names.host or domain
    addresses = [one for one in lookups if one.kind in ("A", "AAAA")] or lookups
    meant, fix = facts.names.suggestion, ""
    if meant and meant != host:
        evidence = (*evidence, f"did you mean {meant}?")
        fix = f"Put {meant} into the host setting in place of {host}."
    elif meant:
        fix = f"The bare name in it, {meant}, does not resolve either: take the host from the provider's page, and put "
        fix += "it into the host setting without scheme, path and port."
    lines = evidence
    if any(one.absence == "NXDOMAIN" for one in addresses):
        yield _verdict("dns-nxdomain", Confidence.HIGH, lines, fix=fix, host=host)
    elif any(one.failure for one in addresses):
        yield _verdict("dns-tempfail", Confidence.HIGH, lines, host=host)
    elif facts.asked.kind is TargetKind.SUBMISSION_DOMAIN and any(one.kind == "SRV" for one in lookups):
        yield _verdict("no-srv", Confidence.HIGH, lines, domain=domain)
    elif any(one.absence for one in addresses):
        yield _verdict("dns-no-address", Confidence.HIGH, lines, fix=fix, host=host)
    elif not facts.endpoints:
        confidence = Confidence.MEDIUM if lookups else Confidence.LOW
        nothing = f"{host} gave no address to connect to"
        yield _verdict("dns-nxdomain", confidence, (*lines, nothing), fix=fix, host=host)


def judge_horizon(facts: Facts) -> Iterator[Verdict]:
    """Another address here than elsewhere: worth a verdict only where connecting failed."""
    outside = {
        record for one in facts.names.lookups if one.server and one.kind in ("A", "AAAA") for record in one.records
    }
    here = set(facts.names.addresses)
    if not here or not outside or here & outside:
        return
    address = min(here)
    odd = is_private(address) or is_loopback(address) or facts.names.is_from_hosts_file
    source = "/etc/hosts" if facts.names.is_from_hosts_file else "the system's resolver"
    lines = (
        f"{source} says {', '.join(sorted(here))} for {facts.names.host}",
        f"name servers elsewhere say {', '.join(sorted(outside))}",
    )
    confidence = Confidence.MEDIUM if odd else Confidence.LOW
    known = {"host": facts.names.host, "address": address, "elsewhere": ", ".join(sorted(outside))}
    yield _verdict("split-horizon", confidence, lines, **known)


def dnssec_bogus(facts: Facts) -> tuple[str, ...]:
    """The evidence that signatures do not verify: an answer only with checking disabled (RFC 4035, section 3.2.2)."""
    for failed in facts.names.lookups:
        if not failed.failure or failed.is_checking_disabled:
            continue
        for one in facts.names.lookups:
            if one.is_checking_disabled and (one.name, one.kind) == (failed.name, failed.kind) and not one.failure:
                return (looked_up(failed), looked_up(one))
    return ()


def looked_up(lookup: Lookup) -> str:
    """One question and its answer in a line."""
    server = f" (asked {lookup.server})" if lookup.server else ""
    checking = ", checking disabled" if lookup.is_checking_disabled else ""
    answer = lookup.failure or lookup.absence or ", ".join(lookup.records) or "nothing"
    if lookup.kind == "getaddrinfo":
        return f"this system (getaddrinfo) says of {lookup.name}: {answer}"
    return f"DNS {lookup.kind} {lookup.name}{server}{checking}: {answer}"


def _verdict(cause: str, confidence: Confidence, evidence: tuple[str, ...], *, fix: str = "", **known: str) -> Verdict:
    return Verdict(cause, confidence, Stage.DNS, evidence, fix or fix_text(cause, known))

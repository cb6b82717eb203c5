"""Who are we to others? PTR and EHLO name of each sending address, and the block lists."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Final

from postreeve.checks.doctor.check import Check, Seen
from postreeve.checks.finding import Level
from postreeve.checks.machine import Listed, Machine, Sending
from postreeve.dns.reverse import reverse_name

_ERRORS: Final = ipaddress.ip_network("127.255.255.0/24")
"""Spamhaus and others answer so when they will not say: a public resolver, too many questions, a typing mistake."""
_POLICY: Final = ("127.0.0.10", "127.0.0.11")
"""The PBL of Spamhaus: an address that its network says should not send mail; policy, no abuse."""


def _is_public(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_global
    except ValueError:
        return False


def _senders(machine: Machine) -> Iterator[Sending]:
    for sending in machine.sending:
        if _is_public(sending.seen_as):
            yield sending


def no_ptr(machine: Machine) -> Iterator[Seen]:
    """No reverse name: many receivers refuse."""
    for sending in _senders(machine):
        if sending.ptr is not None and not sending.ptr.records and not sending.ptr.failure:
            where = reverse_name(sending.seen_as)
            yield Seen(
                sending.seen_as,
                (f"{where} has no PTR record ({sending.ptr.absence or 'empty'})",),
                f"at the network's provider, set the reverse name of {sending.seen_as} to {sending.hello}:\n"
                f"{where}. PTR {sending.hello}.",
            )


def ptr_unconfirmed(machine: Machine) -> Iterator[Seen]:
    """The reverse name does not lead back."""
    for sending in _senders(machine):
        if sending.ptr is None or not sending.ptr.records:
            continue
        about = [one for one in sending.forward if one.name in sending.ptr.records]
        if any(one.failure for one in about) or any(sending.seen_as in one.records for one in about):
            continue
        kind = "AAAA" if ":" in sending.seen_as else "A"
        name = sending.ptr.records[0]
        leads = ", ".join(record for one in about for record in one.records) or "nowhere"
        yield Seen(
            sending.seen_as, (f"PTR says {name}", f"{name} leads to {leads}"), f"{name}. {kind} {sending.seen_as}"
        )


def ptr_differs(machine: Machine) -> Iterator[Seen]:
    """The reverse name is another than the one we greet with; some receivers count it against us."""
    for sending in _senders(machine):
        names = [name.lower().rstrip(".") for name in (sending.ptr.records if sending.ptr else ())]
        if names and sending.hello.lower() not in names:
            where = reverse_name(sending.seen_as)
            yield Seen(
                sending.seen_as,
                (f"PTR says {', '.join(names)}", f"EHLO says {sending.hello}"),
                f"{where}. PTR {sending.hello}.   # at the network's provider",
            )


def hello_unresolved(machine: Machine) -> Iterator[Seen]:
    """The name that we greet with does not exist."""
    about = [one for one in machine.hostname_lookups if one.kind in ("A", "AAAA")]
    if about and not any(one.records or one.failure for one in about) and any(_senders(machine)):
        lines = "\n".join(
            f"{machine.hostname}. {'AAAA' if ':' in one.seen_as else 'A'} {one.seen_as}" for one in _senders(machine)
        )
        yield Seen(machine.hostname, ("it has neither A nor AAAA records",), lines)


def _codes(listed: Listed) -> tuple[list[str], list[str]]:
    """What the list said, and what was an error of asking."""
    said: list[str] = []
    errors: list[str] = []
    for record in listed.lookup.records:
        (errors if ipaddress.ip_address(record) in _ERRORS else said).append(record)
    return said, errors


def listed(machine: Machine) -> Iterator[Seen]:
    """A block list has the address."""
    for one in machine.block_lists:
        said, _ = _codes(one)
        if said and not set(said) <= set(_POLICY):
            why = one.reason.records if one.reason else ()
            yield Seen(
                one.address,
                (f"{one.zone} answers {', '.join(said)}", *why),
                f"find out what was sent (postreeve queue list; the log), stop it, then ask {one.zone} for removal",
            )


def listed_by_policy(machine: Machine) -> Iterator[Seen]:
    """The network says that this address should not send mail itself."""
    for one in machine.block_lists:
        said, _ = _codes(one)
        if said and set(said) <= set(_POLICY):
            yield Seen(
                one.address,
                (f"{one.zone} answers {', '.join(said)}: a policy of the network, no abuse",),
                f"ask for removal of {one.address} at {one.zone} (a static address with a reverse name may), "
                "or send through a smarthost",
            )


def list_unknown(machine: Machine) -> Iterator[Seen]:
    """A list refused to answer our resolver."""
    zones: dict[str, str] = {}
    for one in machine.block_lists:
        _, errors = _codes(one)
        if errors or one.lookup.failure:
            zones.setdefault(one.zone, ", ".join(errors) or one.lookup.failure)
    for zone, answer in zones.items():
        yield Seen(
            zone,
            (f"it answers {answer}: it does not serve this resolver",),
            'run a resolver of your own (apt install unbound) and name it:\n[dns]\nservers = ["127.0.0.1"]',
        )


CHECKS: Final = (
    Check(
        "ptr-missing",
        Level.ERROR,
        "A sending address has no reverse name",
        "The PTR record of each public address that mail leaves from.",
        no_ptr,
    ),
    Check(
        "ptr-unconfirmed",
        Level.ERROR,
        "A reverse name does not lead back to its address",
        "Addresses of the PTR name.",
        ptr_unconfirmed,
    ),
    Check(
        "ptr-differs",
        Level.WARNING,
        "The reverse name is not the name we greet with",
        "The PTR record against the EHLO name.",
        ptr_differs,
    ),
    Check(
        "hostname-unresolved",
        Level.ERROR,
        "The server's own name does not exist in the DNS",
        "A and AAAA records of the host name.",
        hello_unresolved,
    ),
    Check(
        "address-listed",
        Level.ERROR,
        "A sending address is on a block list",
        "Block lists of the configuration (RFC 5782).",
        listed,
    ),
    Check(
        "address-listed-by-policy",
        Level.WARNING,
        "A sending address is on a list of addresses that should not send mail",
        "Block lists of the configuration.",
        listed_by_policy,
    ),
    Check(
        "block-list-unknown",
        Level.NOTE,
        "A block list does not answer our resolver",
        "Answers in 127.255.255.0/24 and failed lookups.",
        list_unknown,
    ),
)

"""The kernel's answer before anybody depends on it: rules in a scratch namespace, dialled by every class of peer."""

from __future__ import annotations

import ipaddress
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from postreeve.enforce.command import CommandFailed, Failure, attempt, shorten
from postreeve.enforce.matrix import Answer, Case, expect, make_cases
from postreeve.enforce.place import Place
from postreeve.firewall.flow import Address, Family, Policy, Protocol

_SECONDS: Final = 60.0
_MOST_NAMED: Final = 5
_OWN: Final = {
    Family.IPV4: tuple(ipaddress.ip_address(one) for one in ("198.18.0.1", "203.0.113.1", "10.255.255.1")),
    Family.IPV6: tuple(ipaddress.ip_address(one) for one in ("2001:db8:ffff::1", "2001:db8:fffe::1")),
}


@dataclass(frozen=True, slots=True)
class Measured:
    """A connection, what it should come to, and what the kernel made of it."""

    case: Case
    intended: Answer
    measured: Answer

    @property
    def agrees(self) -> bool:
        """What is not known cannot differ; how a datagram is refused, its sender cannot tell."""
        if self.case.protocol is Protocol.UDP and Answer.OPEN not in (self.intended, self.measured):
            return True
        return self.intended in (self.measured, Answer.UNKNOWN) or self.measured is Answer.UNKNOWN


def rehearse(place: Place, policy: Policy, rules: str, cases: Sequence[Case] | None = None) -> list[Measured]:
    """Load `rules` (of nftables) in a namespace that ends with this call, and dial. Raises CommandFailed.

    Only these rules are in force there: what else the machine has is not part of it, nor are published ports.
    """
    chosen = make_cases(policy) if cases is None else list(cases)
    answers = try_out(place, (Load(("nft", "-f", "-"), rules),), chosen)
    return [Measured(one, expect(policy, one), answer) for one, answer in zip(chosen, answers, strict=True)]


@dataclass(frozen=True, slots=True)
class Load:
    """A command that loads the text that it reads."""

    words: tuple[str, ...]
    text: str


def try_out(
    place: Place, loads: Sequence[Load], chosen: Sequence[Case], device: str = "host", own: Sequence[Address] = ()
) -> list[Answer]:
    """What the kernel makes of each connection with all of that loaded, on a host of that device. Raises CommandFailed.

    `own` are the addresses of the host, where rules may name them.
    """
    peers = {case.peer for case in chosen}
    document = {
        "loads": [[list(one.words), one.text] for one in loads],
        "device": device,
        "host": [str(_choose(family, peers, own)) for family in Family],
        "peers": [str(peer) for peer in sorted(peers, key=lambda one: (one.version, int(one)))],
        "cases": [[one.direction.value, one.protocol.value, str(one.peer), one.port, one.user] for one in chosen],
    }
    words = (sys.executable, "-P", "-m", "postreeve.enforce.trial")
    done = attempt(place, *words, text=json.dumps(document), timeout_seconds=_SECONDS)
    if done.status:
        is_forbidden = "not permitted" in done.err
        raise CommandFailed("rehearsal", Failure.FORBIDDEN if is_forbidden else Failure.REFUSED, shorten(done.err))
    try:
        return [Answer(word) for word in json.loads(done.out)]
    except (ValueError, TypeError):
        raise CommandFailed("rehearsal", Failure.REFUSED, "it ended early") from None


def describe(measured: Sequence[Measured]) -> list[str]:
    """What differs, one line each, bounded."""
    wrong = [one for one in measured if not one.agrees]
    lines = [f"{one.case}: {one.measured.value}, should be {one.intended.value}" for one in wrong[:_MOST_NAMED]]
    return [*lines, f"and {len(wrong) - _MOST_NAMED} more"] if len(wrong) > _MOST_NAMED else lines


def _choose(family: Family, taken: set[Address], own: Sequence[Address]) -> Address:
    mine = (one for one in own if one.version == family.value)
    return next(one for one in (*mine, *_OWN[family]) if one not in taken)

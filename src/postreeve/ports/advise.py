"""From measured endpoints to the port to use, and for every other why it lost.

The order is RFC 8314's, section 3: what is encrypted and verified before what is not, 465 before 587, those two before
the custom ports, and 25 for servers only. Nothing that fails wins over something that works: a port whose certificate
cannot be verified loses to any that can, and plaintext never wins where TLS works.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from postreeve.ports.endpoint import Flaw, Measured, Reach
from postreeve.ports.network import Network, Status
from postreeve.ports.provider import Provider
from postreeve.ports.service import BY_PORT, Mode, Use, convention, rank
from postreeve.ports.sniff import WORDS


class Grade(IntEnum):
    """How good a port is, best first."""

    VERIFIED = 0
    """SMTP within TLS, the certificate trusted and for this host."""
    LOCAL = 1
    """SMTP without TLS, within this very machine."""
    UNVERIFIED = 2
    """SMTP within TLS, but the certificate proves nothing."""
    PLAIN = 3
    """SMTP without TLS."""
    USELESS = 4
    """Something answered that is no mail server to us."""
    CLOSED = 5
    """No connection came about."""


@dataclass(frozen=True, slots=True)
class Client:
    """Who will use the port. `modes` are those that its library can do; `name` is what we call it in reasons."""

    name: str = ""
    modes: frozenset[Mode] = frozenset(Mode)
    is_server: bool = False
    """A mail server that relays to an MX, not an application that submits."""
    falls_back: bool = False
    """It cannot demand STARTTLS: where it is not offered, everything goes in the clear."""


ANY_CLIENT: Final = Client()


@dataclass(frozen=True, slots=True)
class Ranked:
    """One port with all its addresses. `because` says what it is like, `lost` why it was not chosen ("" if it was)."""

    port: int
    grade: Grade
    is_usable: bool
    mode: Mode | None
    because: tuple[str, ...]
    measured: tuple[Measured, ...]
    lost: str = ""


@dataclass(frozen=True, slots=True)
class Advice:
    """`choice` is None when nothing is usable; then `nearest` is the port that lacks least, and what it lacks.

    `reason` says why the choice is the choice, `warnings` what to know of it all the same.
    """

    choice: Ranked | None
    ranking: tuple[Ranked, ...]
    reason: str
    nearest: Ranked | None = None
    warnings: tuple[str, ...] = ()


def grade(one: Measured) -> Grade:
    """How good one address and port is."""
    if one.reach is not Reach.OPEN:
        return Grade.CLOSED
    if one.flaw is not Flaw.NONE or one.mode is None:
        return Grade.USELESS
    if one.is_verified:
        return Grade.VERIFIED
    if one.tls_version:
        return Grade.UNVERIFIED
    return Grade.LOCAL if _is_loopback(one.address) else Grade.PLAIN


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address.partition("%")[0]).is_loopback
    except ValueError:
        return False


_CLOSED_WORDS: Final = {
    Reach.REFUSED: "refuses the connection: nothing listens there, or a firewall rejects it",
    Reach.RESET: "resets the connection",
    Reach.TIMED_OUT: "does not answer: a firewall drops it here, on the way or there",
    Reach.UNREACHABLE: "cannot be reached (ICMP unreachable)",
    Reach.PROHIBITED: "is prohibited by a firewall on the way (ICMP)",
    Reach.NO_ROUTE: "cannot be tried: this machine has no route there",
    Reach.NO_SOURCE: "cannot be tried: the source address is not on this machine",
    Reach.FORBIDDEN: "is forbidden by this machine's own firewall or sandbox",
    Reach.OTHER: "cannot be connected to",
}


def describe(one: Measured) -> str:
    """One endpoint in a sentence about the port."""
    if one.reach is not Reach.OPEN:
        words = _CLOSED_WORDS[one.reach]
        return f"{words} ({one.reach_detail})" if one.reach_detail else words
    if one.flaw is Flaw.NOT_SMTP and one.protocol:
        return f"speaks {WORDS.get(one.protocol, one.protocol)}, not SMTP"
    if one.flaw is not Flaw.NONE:
        return f"{one.flaw.value}: {one.flaw_detail}" if one.flaw_detail else one.flaw.value
    if one.mode is None:
        return "says nothing that is SMTP"
    if not one.tls_version:
        return "offers no encryption"
    secured = f"{one.mode.words}, {one.tls_version}"
    if one.is_verified:
        return f"{secured}, certificate verified"
    return f"{secured}, but the certificate does not verify: {one.certificate_problem or 'not trusted'}"


def advise(
    measured: Iterable[Measured],
    *,
    client: Client = ANY_CLIENT,
    provider: Provider | None = None,
    network: Network | None = None,
) -> Advice:
    """Rank what was measured of one host and choose."""
    by_port: dict[int, list[Measured]] = {}
    for one in measured:
        by_port.setdefault(one.port, []).append(one)
    judge = _Judge(client, provider, network)
    ordered = sorted((judge.rank(port, tuple(ones)) for port, ones in by_port.items()), key=judge.key)
    best = ordered[0] if ordered and ordered[0].is_usable else None
    ranking = tuple(one if one is best else _with_loss(one, best, judge) for one in ordered)
    if best is None:
        near = next((one for one in ranking if one.grade < Grade.CLOSED), None)
        return Advice(None, ranking, "no port of this host can be used from here", near)
    return Advice(best, ranking, judge.reason(best, frozenset(by_port)), None, judge.warnings(best))


def _with_loss(one: Ranked, best: Ranked | None, judge: _Judge) -> Ranked:
    lost = judge.loss(one, best)
    return Ranked(one.port, one.grade, one.is_usable, one.mode, one.because, one.measured, lost)


_BEGINS_IN_CLEAR: Final = "works, but begins in the clear: RFC 8314, section 3.3 prefers TLS from the first octet"


class _Judge:
    """The comparison for one client, provider and network."""

    __slots__ = ("_client", "_criteria", "_network", "_provider")

    def __init__(self, client: Client, provider: Provider | None, network: Network | None) -> None:
        self._client = client
        self._provider = provider
        self._network = network
        # In order of weight. Each gives a number, lower is better, and says why a higher one lost.
        self._criteria: tuple[tuple[Callable[[Ranked], int], Callable[[Ranked, Ranked | None], str]], ...] = (
            (lambda one: not one.is_usable, lambda one, _: self._why_not_usable(one)),
            (lambda one: 0 if one.is_usable else one.grade, self._say_grade),
            (self._works_only_in_part, lambda one, _: f"works at some addresses only: {_failing(one)}"),
            (self._offers_no_login, lambda one, _: "offers no login (AUTH), not even within TLS"),
            (lambda one: one.grade, self._say_grade),
            (
                self._is_undocumented,
                lambda one, _: f"works, but {self._provider_name} does not name it as a port to use",
            ),
            (lambda one: rank(one.port) if not client.is_server else one.port != 25, self._say_rank),
            (lambda one: one.mode is not Mode.IMPLICIT and not client.is_server, lambda one, _: _BEGINS_IN_CLEAR),
            (lambda one: one.port, self._say_rank),
        )

    @property
    def _provider_name(self) -> str:
        return self._provider.name if self._provider is not None else ""

    def rank(self, port: int, ones: tuple[Measured, ...]) -> Ranked:
        """One port, without its place yet."""
        best = min(ones, key=lambda one: (grade(one), one.family != 4, one.connect_seconds))
        ranked = Ranked(port, grade(best), False, best.mode, self._because(port, ones), ones)
        return Ranked(port, ranked.grade, not self._why_not_usable(ranked), best.mode, ranked.because, ones)

    def key(self, one: Ranked) -> tuple[int, ...]:
        """What to sort by."""
        return tuple(int(measure(one)) for measure, _ in self._criteria)

    def loss(self, one: Ranked, best: Ranked | None) -> str:
        """Why it was not chosen: the weightiest criterion in which it is worse."""
        if best is None:
            return self._why_not_usable(one)
        for measure, say in self._criteria:
            if measure(one) > measure(best):
                return say(one, best)
        return ""

    def reason(self, best: Ranked, measured: frozenset[int]) -> str:
        """Why the choice is the choice among the ports that were measured."""
        if self._client.is_server:
            return (
                "port 25 is where servers take mail from servers" if best.port == 25 else "it takes mail from servers"
            )
        if best.grade is Grade.LOCAL:
            return "it answers on this machine, where nothing passes over a network"
        if best.port == 465:
            return "TLS from the first octet on the registered port is what RFC 8314, section 3.3 prefers"
        if best.port == 587:
            return "of what works it comes next after 465 by RFC 8314, section 3.3"
        if best.port == 25:
            return "nothing else works"
        if measured >= {465, 587}:
            return "465 and 587 do not work from here; this is the custom port that does"
        return "of the ports that were measured this one is best"

    def warnings(self, best: Ranked) -> tuple[str, ...]:
        """What to know of the choice."""
        found = []
        port, provider = best.port, self._provider
        if best.mode is not None and best.mode is not convention(port) and port in BY_PORT and not _is_local(best):
            found.append(f"port {port} speaks {best.mode.words} here, against convention: say so in the settings")
        if self._client.falls_back and best.mode is Mode.STARTTLS:
            found.append(
                f"{self._client.name} sends all in the clear when somebody on the way takes STARTTLS out: "
                "it is safe with TLS from the first octet only"
            )
        if best.port == 25 and not self._client.is_server:
            found.append("port 25 is for servers; many networks block it: ask the provider for 465 or 587")
        if provider is not None and provider.is_oauth_only:
            found.append(f"{provider.name} takes OAuth 2 only: {provider.password}")
        if best.grade is Grade.UNVERIFIED:
            found.append("the certificate does not verify: between servers mail goes all the same, but unproven")
        if best.grade is Grade.PLAIN:
            found.append("mail goes unencrypted")
        status = self._network.status(port) if self._network is not None else None
        if self._network is not None and status is not None and status.status is Status.BLOCKED:
            found.append(
                f"{self._network.name} blocks port {port} for new accounts: it may work here and not elsewhere"
            )
        return tuple(found)

    def _because(self, port: int, ones: tuple[Measured, ...]) -> tuple[str, ...]:
        by_words: dict[str, list[str]] = {}
        for one in ones:
            by_words.setdefault(describe(one), []).append(one.address)
        if len(by_words) == 1:
            lines = list(by_words)
        else:
            lines = [f"{', '.join(addresses)}: {words}" for words, addresses in by_words.items()]
        served = self._provider.serves(port) if self._provider is not None else None
        if self._provider is not None and served is None and grade(ones[0]) >= Grade.USELESS:
            lines.append(f"{self._provider.name} does not serve it")
        closed = all(one.reach in (Reach.TIMED_OUT, Reach.REFUSED, Reach.PROHIBITED) for one in ones)
        status = self._network.status(port) if self._network is not None else None
        if self._network is not None and closed and status is not None and status.status is Status.BLOCKED:
            lines.append(f"likely {self._network.name} blocks it; to open it: {self._network.unblock}")
        return tuple(lines)

    def _why_not_usable(self, one: Ranked) -> str:
        client = self._client
        if one.grade >= Grade.USELESS:
            return "; ".join(one.because)
        if client.is_server:
            if one.port in BY_PORT and BY_PORT[one.port].use is Use.SUBMISSION:
                return "takes mail from users with a login, not from servers"
            return "servers relay with STARTTLS or none" if one.mode is Mode.IMPLICIT else ""
        if one.grade is Grade.UNVERIFIED:
            return f"{'; '.join(one.because)}: a careful client refuses it"
        if one.grade is Grade.PLAIN:
            return "offers no encryption: password and mail would be readable on the way"
        if one.mode is not None and one.mode not in client.modes:
            return f"{client.name or 'the client'} cannot do {one.mode.words}"
        return ""

    def _works_only_in_part(self, one: Ranked) -> int:
        tried = [each for each in one.measured if each.reach is not Reach.NO_ROUTE]
        return any(grade(each) > one.grade for each in tried)

    def _offers_no_login(self, one: Ranked) -> int:
        if self._client.is_server or (self._provider is not None and self._provider.user.value == "none"):
            return 0
        return one.grade <= Grade.PLAIN and not any(each.auth for each in one.measured)

    def _is_undocumented(self, one: Ranked) -> int:
        return self._provider is not None and self._provider.serves(one.port) is None

    def _say_grade(self, one: Ranked, best: Ranked | None) -> str:
        return "; ".join(one.because)

    def _say_rank(self, one: Ranked, best: Ranked | None) -> str:
        chosen = 0 if best is None else best.port
        if one.port == 25:
            return "works, but is for mail from server to server; many networks block it"
        if one.port == 587 and chosen == 465:
            return _BEGINS_IN_CLEAR
        if one.port in BY_PORT and not BY_PORT[one.port].is_registered:
            return f"works, but is a custom port: keep it for networks that block {chosen}"
        return f"works, but {chosen} comes first"


def _failing(one: Ranked) -> str:
    bad: Sequence[Measured] = [
        each for each in one.measured if grade(each) > one.grade and each.reach is not Reach.NO_ROUTE
    ]
    return "; ".join(f"{each.address} {describe(each)}" for each in bad[:4])


def _is_local(one: Ranked) -> bool:
    return all(_is_loopback(each.address) for each in one.measured)

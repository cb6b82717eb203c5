"""Well-known submission services: their hosts, ports, user names and habits, with source and date.

The rows are in data/providers.toml. What is not confirmed says so: a verdict must not rest on it.
"""

from __future__ import annotations

import json
import pkgutil
from dataclasses import dataclass
from datetime import date
from enum import Enum
from functools import cache
from typing import Any, Final

from postreeve.ports.service import Mode


class UserForm(Enum):
    """What the user name is."""

    ADDRESS = "address"
    LOCAL_PART = "local-part"
    FIXED = "fixed"
    """The same word for everybody: `Provider.user_name`."""
    ACCOUNT = "account"
    """As the provider's panel shows it."""
    NONE = "none"
    """There is no login."""


@dataclass(frozen=True, slots=True)
class ProviderPort:
    """A port that the provider serves."""

    port: int
    mode: Mode
    is_confirmed: bool


@dataclass(frozen=True, slots=True)
class Note:
    """One thing worth knowing, in a sentence."""

    text: str
    is_confirmed: bool


@dataclass(frozen=True, slots=True)
class Provider:
    """One service. `hosts` are names in lower case, regions filled in; a label "*" stands for any one label.

    `ports` are best first. `domains` are those of its users' addresses. `is_local`: it runs beside the client.
    """

    id: str
    name: str
    hosts: tuple[str, ...]
    domains: tuple[str, ...]
    ports: tuple[ProviderPort, ...]
    user: UserForm
    user_name: str
    password: str
    mechanisms: tuple[str, ...]
    is_oauth_only: bool
    is_sandbox: bool
    is_local: bool
    notes: tuple[Note, ...]
    disagreements: tuple[str, ...]
    sources: tuple[str, ...]
    checked_on: date
    is_confirmed: bool
    doubtful_hosts: tuple[str, ...] = ()
    """Those of `hosts` that no source names: general knowledge."""

    def serves(self, port: int) -> ProviderPort | None:
        """Its entry for this port, None when it does not serve it."""
        return next((one for one in self.ports if one.port == port), None)

    @property
    def user_words(self) -> str:
        """The user name in words."""
        match self.user:
            case UserForm.FIXED:
                return f'the word "{self.user_name}", for everybody'
            case form:
                return _USER_WORDS[form]


_USER_WORDS: Final = {
    UserForm.ADDRESS: "the full mail address",
    UserForm.LOCAL_PART: "the part of the mail address before the @",
    UserForm.ACCOUNT: "as the provider's panel shows it",
    UserForm.NONE: "none: there is no login",
}


def _read(row: dict[str, Any]) -> Provider:
    hosts = [name for name, _ in row["hosts"]]
    if row["regions"]:
        # Regions that came after the row was written are still the provider's.
        hosts = [name.replace("{region}", region) for name in hosts for region in (*row["regions"], "*")]
    return Provider(
        id=row["id"],
        name=row["name"],
        hosts=tuple(hosts),
        domains=tuple(row["domains"]),
        ports=tuple(ProviderPort(port, Mode(mode), sure) for port, mode, sure in row["ports"]),
        user=UserForm(row["user"]),
        user_name=row["user_name"],
        password=row["password"],
        mechanisms=tuple(row["mechanisms"]),
        is_oauth_only=row["is_oauth_only"],
        is_sandbox=row["is_sandbox"],
        is_local=row["is_local"],
        notes=tuple(Note(text, sure) for text, sure in row["notes"]),
        disagreements=tuple(row["disagreements"]),
        sources=tuple(row["sources"]),
        checked_on=date.fromisoformat(row["checked_on"]),
        is_confirmed=row["is_confirmed"],
        doubtful_hosts=tuple(name for name, sure in row["hosts"] if not sure),
    )


@cache
def providers() -> tuple[Provider, ...]:
    """All of them, in the order of the table."""
    return tuple(_read(row) for row in json.loads(pkgutil.get_data("postreeve.ports", "data/providers.json") or b""))


@cache
def _by_host() -> dict[str, Provider]:
    known: dict[str, Provider] = {}
    for one in providers():
        for host in one.hosts:
            if not one.is_local:
                known.setdefault(host, one)
    return known


def by_host(host: str) -> Provider | None:
    """Whose host this is. What runs on this machine (Mailpit, Proton Mail Bridge) is found by `by_id` only."""
    name = _plain(host)
    found = _by_host().get(name)
    if found is not None or "." not in name:
        return found
    labels = name.split(".")
    for place in range(min(len(labels), 3)):
        found = _by_host().get(".".join([*labels[:place], "*", *labels[place + 1 :]]))
        if found is not None:
            return found
    return None


def by_id(ident: str) -> Provider | None:
    """The row with this id."""
    return next((one for one in providers() if one.id == ident), None)


@cache
def _by_domain() -> dict[str, Provider]:
    known: dict[str, Provider] = {}
    for one in providers():
        for domain in one.domains:
            known.setdefault(domain, one)
    return known


def by_domain(domain: str) -> Provider | None:
    """Who has the mailboxes of this mail domain: gmail.com → Gmail, whose host is smtp.gmail.com."""
    return _by_domain().get(_plain(domain))


def modes_of(host: str, port: int) -> frozenset[Mode] | None:
    """How TLS begins there: {} when the provider does not serve the port, None when the host is nobody's we know."""
    provider = by_host(host)
    if provider is None:
        return None
    return frozenset(one.mode for one in provider.ports if one.port == port)


def suggest_host(name: str) -> str:
    """The well-known host that somebody meant who wrote `name`; "" for a name that is right or that nobody knows.

    A mail domain in place of its host ("gmail.com"), one or two typing mistakes ("smtp.gmial.com"), or the host of
    another service of the same provider ("imap.gmail.com").
    """
    host = _plain(name)
    if not host or by_host(host) is not None:
        return ""
    owner = _by_domain().get(host)
    if owner is not None and not owner.is_local:
        return owner.hosts[0]
    return nearest(host) or _of_same_domain(host)


def nearest(name: str) -> str:
    """The known host at edit distance 1 or 2, "" when there is none or `name` itself is known.

    Distance 2 counts for names of twelve characters and more only: shorter ones are near too much.
    """
    host = _plain(name)
    if by_host(host) is not None or not 6 <= len(host) <= _LONGEST_HOST:
        return ""
    most = 2 if len(host) >= 12 else 1
    best, best_distance = "", most + 1
    for known in _by_host():
        if abs(len(known) - len(host)) >= best_distance or "*" in known:
            continue
        distance = edit_distance(host, known, best_distance - 1)
        if distance < best_distance:
            best, best_distance = known, distance
            if distance == 1:
                break
    return best


_LONGEST_HOST: Final = 60
_OTHER_SERVICES: Final = ("imap", "imaps", "pop", "pop3", "mail", "outgoing", "smtps", "mx", "www", "smtp")


def _of_same_domain(host: str) -> str:
    """smtp.gmail.com for imap.gmail.com and mail.gmail.com: another first label of a name that has one of ours."""
    label, _, rest = host.partition(".")
    if label not in _OTHER_SERVICES or "." not in rest:
        return ""
    known = [one for one in _by_host() if one.partition(".")[2] == rest and "*" not in one]
    if known:
        return known[0]
    owner = _by_domain().get(rest)
    return owner.hosts[0] if owner is not None and not owner.is_local else ""


def edit_distance(one: str, other: str, most: int) -> int:
    """Insertions, deletions, replacements and swaps of neighbours from one to the other; `most` + 1 when more."""
    if abs(len(one) - len(other)) > most:
        return most + 1
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        last_but_one, before, row = before, row, [i]
        for j, facing in enumerate(other, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != facing))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == facing:
                cost = min(cost, last_but_one[j - 2] + 1)
            row.append(cost)
        if min(row) > most:
            return most + 1
    return min(row[-1], most + 1)


def _plain(name: str) -> str:
    return name.strip().rstrip(".").lower()

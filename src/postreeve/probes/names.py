"""From what the user named to the addresses that a client would try, with everything the DNS said on the way.

The system's own resolution (getaddrinfo, /etc/hosts) decides what is dialled, since that is what programs use; the
questions to the DNS beside it show where the two differ, whether another resolver sees other addresses, and whether
an answer is missing only because DNSSEC says that it is bogus.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass, replace

from postreeve.checks.facts import Intent, Lookup, Names, TargetKind
from postreeve.net.hosts import HostsFile
from postreeve.ports.provider import by_domain, suggest_host
from postreeve.ports.service import Mode
from postreeve.probes.lookup import Asker
from postreeve.probes.request import Request
from postreeve.probes.target import Target

_MAX_HOSTS = 10
_MAX_ADDRESSES = 16


@dataclass(frozen=True, slots=True)
class Place:
    """A host to connect to. `port` is None where the DNS does not say; `addresses` are in the order to try."""

    host: str
    addresses: tuple[str, ...]
    preference: int = 0
    port: int | None = None
    intent: Intent = Intent.AUTO


@dataclass(frozen=True, slots=True)
class Found:
    """What the names came to: the facts, what kind of target it is after all, and the places in order."""

    names: Names
    kind: TargetKind
    places: tuple[Place, ...] = ()


async def find_places(target: Target, request: Request) -> Found:
    """Look up everything about the target; never raises."""
    if _is_address(target.name):
        return Found(Names(target.name, (target.name,)), target.kind, (Place(target.name, (target.name,)),))
    search = _Search(target, request)
    match target.kind:
        case TargetKind.MAIL_DOMAIN:
            return await search.mail_domain()
        case TargetKind.SUBMISSION_DOMAIN:
            return await search.submission_domain()
        case _:
            return await search.host()


class _Search:
    def __init__(self, target: Target, request: Request) -> None:
        self._name = target.name
        self._may_be_domain = target.is_name_bare and request.port is None and request.is_application is not True
        self._kind = target.kind
        self._request = request
        seconds = min(request.timeout_seconds, 5.0)
        self._asker = Asker(request.servers, seconds)
        self._second = Asker(request.second_servers, seconds) if request.second_servers else None
        self._lookups: list[Lookup] = []

    async def host(self) -> Found:
        """A host, unless nobody said so and the name has MX records and no address of its own that accepts mail."""
        if self._may_be_domain and "." in self._name and not HostsFile().find(self._name):
            mx, addresses = await asyncio.gather(self._ask(self._name, "MX"), self._addresses(self._name))
            if mx.records and not _looks_like_host(self._name):
                if self._request.login is None:
                    return await self._by_mx(mx)
                found = await self.submission_domain()  # who logs in wants to hand mail in
                if found.places:
                    return replace(found, kind=TargetKind.SUBMISSION_DOMAIN)
        else:
            addresses = await self._addresses(self._name)
        return self._found(self._name, (Place(self._name, addresses),))

    async def mail_domain(self) -> Found:
        """The MX hosts by preference; without MX records the domain itself (RFC 5321, section 5.1)."""
        return await self._by_mx(await self._ask(self._name, "MX"))

    async def _by_mx(self, mx: Lookup) -> Found:
        self._kind = TargetKind.MAIL_DOMAIN
        hosts = _read_mx(mx.records)
        if mx.absence == "NODATA":
            hosts = [(0, self._name)]
        if hosts == [(0, ".")] or not hosts:
            if mx.failure:
                await self._look_closer(self._name, "MX")
            return self._found("", ())  # a null MX (RFC 7505), no such domain, or no answer
        named = [(preference, host) for preference, host in hosts if host != "."][:_MAX_HOSTS]
        found = await asyncio.gather(*(self._addresses(host) for _, host in named))
        places = tuple(Place(host, all_, rank) for (rank, host), all_ in zip(named, found, strict=True))
        return self._found(named[0][1] if named else "", places)

    async def submission_domain(self) -> Found:
        """SRV records (RFC 6186, RFC 8314, section 5.1), autoconfig, then what is known of the provider."""
        services = (("_submissions._tcp", Intent.IMPLICIT), ("_submission._tcp", Intent.STARTTLS))
        answers = await asyncio.gather(*(self._ask(f"{label}.{self._name}", "SRV") for label, _ in services))
        wanted: list[tuple[str, int, int, Intent]] = []
        for answer, (_, intent) in zip(answers, services, strict=True):
            wanted += [(host, port, rank, intent) for rank, port, host in _read_srv(answer.records) if host != "."]
        if not wanted:
            await self._ask(f"_imaps._tcp.{self._name}", "SRV")
            if self._request.may_autoconfigure:
                from postreeve.probes.autoconfig import ask_autoconfig, read_record

                told = await ask_autoconfig(self._name, min(self._request.timeout_seconds, 5.0))
                self._lookups.append(told)
                suggested = [read_record(record) for record in told.records]
                wanted = [(one.host, one.port, rank, one.intent) for rank, one in enumerate(suggested) if one]
        provider = by_domain(self._name)
        if not wanted and provider is not None:
            modes = {Mode.IMPLICIT: Intent.IMPLICIT, Mode.STARTTLS: Intent.STARTTLS, Mode.PLAIN: Intent.PLAIN}
            wanted = [
                (provider.hosts[0], one.port, rank, modes[one.mode])
                for rank, one in enumerate(provider.ports)
                if one.is_confirmed
            ]
        if not wanted:
            await self._ask(self._name, "A")  # is there such a domain at all?
            return self._found("", ())
        hosts = list(dict.fromkeys(host for host, *_ in wanted))[:_MAX_HOSTS]
        found = dict(zip(hosts, await asyncio.gather(*(self._addresses(host) for host in hosts)), strict=True))
        places = [Place(host, found[host], rank, port, intent) for host, port, rank, intent in wanted if host in found]
        return self._found(wanted[0][0], tuple(places))

    async def _ask(self, name: str, kind: str) -> Lookup:
        answer = await self._asker.ask(name, kind)
        self._lookups.append(answer)
        if self._second is not None:
            self._lookups.append(await self._second.ask(name, kind))
        return answer

    async def _addresses(self, host: str) -> tuple[str, ...]:
        """The addresses of a host in the order in which a program would try them, and what the DNS itself says."""
        if self._request.servers:
            answers = await asyncio.gather(*(self._ask(host, kind) for kind in ("AAAA", "A")), self._alias(host))
            found = tuple(
                record for answer in answers[:2] if answer for record in answer.records if _is_address(record)
            )
        elif HostsFile().find(host) or "." not in host:
            found = await self._system(host)
        else:
            found, *answers = await asyncio.gather(
                self._system(host), self._ask(host, "A"), self._ask(host, "AAAA"), self._alias(host)
            )
        if not found:
            await self._look_closer(host, "A")
        return self._fit(found)

    async def _alias(self, host: str) -> Lookup | None:
        answer = await self._asker.ask(host, "CNAME")
        if answer.records:
            self._lookups.append(answer)
        return answer

    async def _look_closer(self, name: str, kind: str) -> None:
        """A failure that goes away without checking is a bogus signature (RFC 4035, section 5.5)."""
        failed = [one for one in self._lookups if one.name == name and one.kind == kind and one.failure]
        if failed and failed[0].failure != "time-out":
            self._lookups.append(await self._asker.ask(name, kind, is_checking_disabled=True))

    async def _system(self, host: str) -> tuple[str, ...]:
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with asyncio.timeout(min(self._request.timeout_seconds, 10.0)):
                found = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError, TimeoutError) as problem:
            code = getattr(problem, "errno", None)
            is_absent = code in (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))
            failure = "" if is_absent else (getattr(problem, "strerror", "") or "time-out")
            seconds = loop.time() - began
            kind = "A" if "." not in host else "getaddrinfo"
            self._lookups.append(Lookup(host, kind, (), "NXDOMAIN" if is_absent else "", failure, seconds=seconds))
            return ()
        return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))

    def _fit(self, addresses: Iterable[str]) -> tuple[str, ...]:
        family = self._request.family
        fit = [one for one in addresses if family in (None, 6 if ":" in one else 4)]
        return tuple(fit)[:_MAX_ADDRESSES]

    def _found(self, host: str, places: tuple[Place, ...]) -> Found:
        first = next((one.addresses for one in places if one.host == host), ())
        is_local = bool(host) and not self._request.servers and bool(HostsFile().find(host))
        suggestion = suggest_host(host or self._name) if not any(one.addresses for one in places) else ""
        if suggestion == "" and self._kind in (TargetKind.HOST, TargetKind.SETTINGS):
            suggestion = suggest_host(self._name)
        names = Names(host, first, tuple(self._lookups), is_local, suggestion)
        return Found(names, self._kind, places)


def with_hint(found: Found, understood: str) -> Found:
    """The facts with what was made of a pasted text, where nothing better is suggested."""
    if not understood or found.names.suggestion:
        return found
    return replace(found, names=replace(found.names, suggestion=found.names.host))


def _looks_like_host(name: str) -> bool:
    """smtp.example.com, mx1.example.com: meant as a host even if it has MX records of its own."""
    label = name.partition(".")[0].rstrip("0123456789").rstrip("-")
    return label in ("smtp", "smtps", "mail", "mx", "relay", "smarthost", "submission", "mailhost", "out", "smtpout")


def _read_mx(records: Iterable[str]) -> list[tuple[int, str]]:
    found = [record.partition(" ") for record in records]
    return [(int(preference), host) for preference, _, host in found if preference.isdigit() and host]


def _read_srv(records: Iterable[str]) -> list[tuple[int, int, str]]:
    """Priority, port and host."""
    found = [record.split(" ") for record in records]
    return [(int(words[0]), int(words[2]), words[3]) for words in found if len(words) == 4]


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return True

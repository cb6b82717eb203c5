"""The Resolver over real name servers: dnspython asks, and what comes is remembered as long as it holds.

Questions under way are shared: a thousand messages for one domain ask once. The memory is bounded in size and in time;
that a name does not exist is remembered too (RFC 2308), and a failure for a few seconds, so that a dead server is not
asked by everybody at once.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar, cast

import dns.asyncresolver
import dns.exception
import dns.flags
import dns.message
import dns.nameserver
import dns.rdatatype
import dns.rdtypes.ANY.MX
import dns.rdtypes.ANY.PTR
import dns.rdtypes.ANY.TXT
import dns.resolver

from postreeve.dns.answer import Absence, Answer, LookupFailed, Mx
from postreeve.dns.reverse import reverse_name
from postreeve.net.hosts import HOSTS_FILE, HostsFile

_MAX_RECORDS: Final = 256
_EDNS_OCTETS: Final = 1_232
_GRACE_SECONDS: Final = 0.1

Record = TypeVar("Record")


@dataclass(frozen=True, slots=True)
class ResolverSettings:
    """Whom to ask and how patiently. `servers` are (IP address, port); none means those of the system."""

    servers: tuple[tuple[str, int], ...] = ()
    timeout_seconds: float = 5.0
    """For one question to one server."""
    total_seconds: float = 20.0
    """For one lookup, all servers and repetitions."""
    max_entries: int = 20_000
    max_ttl_seconds: float = 3_600.0
    min_ttl_seconds: float = 1.0
    max_negative_seconds: float = 300.0
    failure_seconds: float = 5.0
    hosts_file: Path = HOSTS_FILE


@dataclass(frozen=True, slots=True)
class _Entry:
    until: float
    answer: Answer[Any] | LookupFailed


class NetResolver:
    """See `postreeve.dns.answer.Resolver`. One per process; used from one event loop."""

    __slots__ = ("_cache", "_hosts", "_resolver", "_settings", "_trusts_ad", "_under_way")

    def __init__(self, settings: ResolverSettings | None = None) -> None:
        self._settings = settings or ResolverSettings()
        self._cache: OrderedDict[tuple[str, str], _Entry] = OrderedDict()
        self._under_way: dict[tuple[str, str], asyncio.Task[Answer[Any]]] = {}
        self._hosts = HostsFile(self._settings.hosts_file)
        self._resolver, self._trusts_ad = _make_resolver(self._settings)

    async def mx(self, name: str) -> Answer[Mx]:
        """MX records, unsorted."""
        return await self._lookup("MX", name, _read_mx)

    async def addresses(self, name: str) -> Answer[str]:
        """A and AAAA records as text, from the DNS alone. One family failing while the other has any is no failure."""
        results = await asyncio.gather(
            self._lookup("A", name, _read_text), self._lookup("AAAA", name, _read_text), return_exceptions=True
        )
        answers = [result for result in results if isinstance(result, Answer)]
        failures = [result for result in results if isinstance(result, BaseException)]
        records = tuple(record for answer in answers for record in answer.records)
        if failures and (not records or not isinstance(failures[0], LookupFailed)):
            raise failures[0]
        canonical = answers[0].canonical_name
        is_authentic = not failures and all(answer.is_authentic for answer in answers)
        if records:
            return Answer(records, None, is_authentic, canonical)
        return Answer((), answers[0].absence, is_authentic, canonical)

    async def host_addresses(self, name: str) -> Answer[str]:
        """The addresses of a host that the configuration names: /etc/hosts first, then the DNS.

        A name of one label is left to the system as a whole: search domains and the names of containers are its matter.
        """
        known = self._hosts.find(name)
        if known:
            return Answer(known)
        if "." in name.rstrip("."):
            return await self.addresses(name)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._settings.total_seconds):
                found = await loop.getaddrinfo(name, None, type=socket.SOCK_STREAM)
        except TimeoutError:
            raise LookupFailed(name, "A", "time-out") from None
        except socket.gaierror as error:
            if error.errno in (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)):
                return Answer((), Absence.NO_SUCH_NAME)
            raise LookupFailed(name, "A", error.strerror or "failure") from None
        except (OSError, UnicodeError) as error:
            raise LookupFailed(name, "A", str(error)[:200]) from None
        return Answer(tuple(dict.fromkeys(str(entry[4][0]) for entry in found)))

    async def txt(self, name: str) -> Answer[bytes]:
        """TXT records, the strings of each joined."""
        return await self._lookup("TXT", name, _read_txt)

    async def ptr(self, address: str) -> Answer[str]:
        """Host names of an IP address."""
        return await self._lookup("PTR", reverse_name(address), _read_ptr)

    def forget(self) -> None:
        """Empty the memory."""
        self._cache.clear()

    async def close(self) -> None:
        """Give up what is under way; those who wait for it get LookupFailed."""
        tasks = list(self._under_way.values())
        if tasks:
            # A socket that is just being made would be lost by a cancellation, and uvloop waits for it when it closes.
            await asyncio.wait(tasks, timeout=_GRACE_SECONDS)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _lookup(self, record_type: str, name: str, read: Callable[[Any], Record]) -> Answer[Record]:
        key = (record_type, name.lower().rstrip("."))
        entry = self._cache.get(key)
        if entry is not None:
            if entry.until > asyncio.get_running_loop().time():
                self._cache.move_to_end(key)
                if isinstance(entry.answer, LookupFailed):
                    raise LookupFailed(entry.answer.name, entry.answer.record_type, entry.answer.reason)
                return entry.answer
            del self._cache[key]
        task = self._under_way.get(key)
        if task is None:
            task = asyncio.ensure_future(self._ask(key, read))
            self._under_way[key] = task
            task.add_done_callback(lambda done: self._finish(key, done))
        try:
            # Shielded: who stops waiting does not take the answer from the others.
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                raise LookupFailed(key[1], record_type, "shutdown") from None
            raise

    def _finish(self, key: tuple[str, str], task: asyncio.Task[Answer[Any]]) -> None:
        self._under_way.pop(key, None)
        if not task.cancelled():
            task.exception()  # looked at, should nobody wait any more

    async def _ask(self, key: tuple[str, str], read: Callable[[Any], Record]) -> Answer[Record]:
        record_type, name = key
        try:
            found = await self._resolver.resolve(name, record_type, raise_on_no_answer=False, search=False)
        except dns.resolver.NXDOMAIN as error:
            response = next(iter((error.kwargs.get("responses") or {}).values()), None)
            absent: Answer[Record] = Answer((), Absence.NO_SUCH_NAME, self._is_authentic(response))
            return self._keep(key, absent, _negative_ttl(response))
        except (dns.resolver.NoNameservers, dns.exception.Timeout, OSError, EOFError) as error:
            self._fail(key, _reason(error))
        except (dns.exception.DNSException, UnicodeError, ValueError):
            # A name that cannot be asked (an empty or over-long label) cannot exist either.
            return self._keep(key, Answer((), Absence.NO_SUCH_NAME), self._settings.max_negative_seconds)
        canonical = found.canonical_name.to_text(omit_final_dot=True).lower()
        is_authentic = self._is_authentic(found.response)
        if found.rrset is None:
            return self._keep(key, Answer((), Absence.NO_DATA, is_authentic, canonical), _negative_ttl(found.response))
        records = tuple(read(record) for record in list(found.rrset)[:_MAX_RECORDS])
        return self._keep(key, Answer(records, None, is_authentic, canonical), float(found.chaining_result.minimum_ttl))

    def _keep(self, key: tuple[str, str], answer: Answer[Record], ttl: float) -> Answer[Record]:
        settings = self._settings
        most = settings.max_ttl_seconds if answer.records else settings.max_negative_seconds
        self._remember(key, answer, max(settings.min_ttl_seconds, min(ttl, most)))
        return answer

    def _fail(self, key: tuple[str, str], reason: str) -> NoReturn:
        failure = LookupFailed(key[1], key[0], reason)
        self._remember(key, failure, self._settings.failure_seconds)
        raise failure from None

    def _remember(self, key: tuple[str, str], answer: Answer[Any] | LookupFailed, seconds: float) -> None:
        self._cache[key] = _Entry(asyncio.get_running_loop().time() + seconds, answer)
        while len(self._cache) > self._settings.max_entries:
            self._cache.popitem(last=False)

    def _is_authentic(self, response: dns.message.Message | None) -> bool:
        return self._trusts_ad and response is not None and bool(response.flags & dns.flags.AD)


def _make_resolver(settings: ResolverSettings) -> tuple[dns.asyncresolver.Resolver, bool]:
    """The resolver, and whether its servers' word on DNSSEC counts: only over loopback is it nobody else's."""
    try:
        resolver = dns.asyncresolver.Resolver(configure=not settings.servers)
    except dns.resolver.NoResolverConfiguration:
        resolver = dns.asyncresolver.Resolver(configure=False)
        resolver.nameservers = ["127.0.0.1"]
    if settings.servers:
        resolver.nameservers = [dns.nameserver.Do53Nameserver(address, port) for address, port in settings.servers]
    addresses = [server if isinstance(server, str) else server.answer_nameserver() for server in resolver.nameservers]
    resolver.timeout = settings.timeout_seconds
    resolver.lifetime = settings.total_seconds
    resolver.use_edns(0, 0, _EDNS_OCTETS)
    resolver.flags = dns.flags.RD | dns.flags.AD
    return resolver, all(_is_loopback(address) for address in addresses)


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _negative_ttl(response: dns.message.Message | None) -> float:
    """RFC 2308, section 5: the SOA of a negative answer says how long it holds; without one it hardly does."""
    if response is None or not response.authority:
        return 0.0
    try:
        return float(cast("dns.message.QueryMessage", response).resolve_chaining().minimum_ttl)
    except dns.exception.DNSException:
        return 0.0


def _reason(error: Exception) -> str:
    if isinstance(error, dns.exception.Timeout):
        return "time-out"
    if isinstance(error, dns.resolver.NoNameservers):
        errors = error.kwargs.get("errors") or []
        words = [str(one[3]) for one in errors[-3:] if len(one) > 3]
        return f"no server answered usefully: {', '.join(words)}"[:300] if words else "no server answered usefully"
    return f"cannot ask the name server: {error}"[:300]


def _read_mx(record: dns.rdtypes.ANY.MX.MX) -> Mx:
    return Mx(record.preference, record.exchange.to_text(omit_final_dot=True).lower().removesuffix("."))


def _read_txt(record: dns.rdtypes.ANY.TXT.TXT) -> bytes:
    return b"".join(record.strings)


def _read_ptr(record: dns.rdtypes.ANY.PTR.PTR) -> str:
    return record.target.to_text(omit_final_dot=True).lower()


def _read_text(record: Any) -> str:
    return str(record.to_text())

"""One question to the DNS by way of dnspython, as a fact."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import dns.asyncresolver
import dns.exception
import dns.flags
import dns.nameserver
import dns.rdtypes.ANY.MX
import dns.rdtypes.IN.SRV
import dns.resolver

from postreeve.checks.facts import Lookup

_EDNS_OCTETS: Final = 1_232
_MAX_RECORDS: Final = 64

Servers = tuple[tuple[str, int], ...]


async def ask(name: str, kind: str, servers: Servers, seconds: float, *, is_checking_disabled: bool = False) -> Lookup:
    """One question; never raises. `kind` is a record type; MX and SRV records come as in a zone file."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    given: dict[str, Any] = {}
    try:
        resolver = _resolver(servers, seconds, is_checking_disabled)
        async with asyncio.timeout(seconds):
            found = await resolver.resolve(name, kind, raise_on_no_answer=False, search=False)
        given["is_authentic"] = bool(found.response.flags & dns.flags.AD)
        if found.rrset is None:
            given["absence"] = "NODATA"
        else:
            records = sorted(found.rrset, key=_order)[:_MAX_RECORDS] if kind in ("MX", "SRV") else found.rrset
            given["records"] = tuple(_text(record) for record in list(records)[:_MAX_RECORDS])
    except dns.resolver.NXDOMAIN:
        given["absence"] = "NXDOMAIN"
    except (dns.exception.Timeout, TimeoutError):
        given["failure"] = "time-out"
    except dns.resolver.NoNameservers as problem:
        given["failure"] = _failure(problem)
    except (OSError, EOFError) as problem:
        given["failure"] = f"cannot ask the name server: {problem}"[:200]
    except (dns.exception.DNSException, UnicodeError, ValueError):
        given["absence"] = "NXDOMAIN"  # a name that cannot be asked cannot exist
    server = ", ".join(f"{address}#{port}" if port != 53 else address for address, port in servers)
    took = loop.time() - began
    return Lookup(name, kind, server=server, is_checking_disabled=is_checking_disabled, seconds=took, **given)


def _resolver(servers: Servers, seconds: float, is_checking_disabled: bool) -> dns.asyncresolver.Resolver:
    try:
        resolver = dns.asyncresolver.Resolver(configure=not servers)
    except dns.resolver.NoResolverConfiguration:
        resolver = dns.asyncresolver.Resolver(configure=False)
        resolver.nameservers = ["127.0.0.1"]
    if servers:
        resolver.nameservers = [dns.nameserver.Do53Nameserver(address, port) for address, port in servers]
    resolver.timeout = seconds / 2
    resolver.lifetime = seconds
    resolver.use_edns(0, 0, _EDNS_OCTETS)
    resolver.flags = dns.flags.RD | (dns.flags.CD if is_checking_disabled else dns.flags.AD)
    return resolver


def _order(record: Any) -> tuple[int, int, str]:
    if isinstance(record, dns.rdtypes.IN.SRV.SRV):
        return record.priority, -record.weight, record.target.to_text()
    return record.preference, 0, record.exchange.to_text()


def _text(record: Any) -> str:
    """As in a zone file; names in lower case and without the dot at the end, but for the root."""
    words = str(record.to_text()).split(" ")
    if record.rdtype.name in ("MX", "SRV", "CNAME", "PTR"):
        name = words[-1].lower()
        words[-1] = name if name == "." else name.removesuffix(".")
    return " ".join(words)[:600]


def _failure(problem: dns.resolver.NoNameservers) -> str:
    errors = problem.kwargs.get("errors") or []
    words = [str(one[3]) for one in errors[-3:] if len(one) > 3]
    return ", ".join(dict.fromkeys(words))[:200] or "no server answered usefully"

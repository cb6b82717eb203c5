"""What the DNS says of this host, for the audit of its firewall."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from postreeve.checks.firewall.scene import Names
from postreeve.dns.answer import LookupFailed, Resolver


async def ask_names(resolver: Resolver, hostname: str, domains: Iterable[str]) -> tuple[Names | None, str]:
    """MX records of our domains that name this host, and its addresses; or None and why they are not known."""
    try:
        answer = await resolver.addresses(hostname)
        hosts = {one.host.lower() for domain in domains for one in (await resolver.mx(domain)).records}
    except LookupFailed as problem:
        return None, f"the DNS: {problem}"
    addresses = [ipaddress.ip_address(one) for one in answer.records]
    four = tuple(one for one in addresses if one.version == 4)
    six = tuple(one for one in addresses if one.version == 6)
    return Names(hostname.lower() in hosts, four, six), ""

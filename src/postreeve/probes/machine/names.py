"""Names of this machine as others see them, block lists, and whether the resolvers answer."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable
from typing import Final, TypeVar

from postreeve.checks.facts import Lookup
from postreeve.checks.machine import Listed, Sending
from postreeve.dns.answer import Answer, LookupFailed, Resolver
from postreeve.dns.reverse import reverse_name

Record = TypeVar("Record")

_FAR: Final = {socket.AF_INET: "198.41.0.4", socket.AF_INET6: "2001:503:ba3e::2:30"}
"""Addresses of a root name server: what routing would do to reach the world. Nothing is sent there."""


def source_addresses(source_ipv4: str, source_ipv6: str) -> tuple[str, ...]:
    """The addresses that mail leaves from: as configured, else what routing would take."""
    return tuple(
        address
        for address in (source_ipv4 or _route(socket.AF_INET), source_ipv6 or _route(socket.AF_INET6))
        if address
    )


def _route(family: socket.AddressFamily) -> str:
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as one:
            one.connect((_FAR[family], 53))  # no packet leaves: a datagram socket only learns its route
            return str(one.getsockname()[0])
    except OSError:
        return ""


def local_addresses() -> tuple[str, ...]:
    """The addresses of this machine's interfaces, those of the loopback included."""
    found = {"127.0.0.1"}
    try:
        with open("/proc/net/if_inet6", encoding="ascii") as file:
            found |= {str(ipaddress.IPv6Address(int(line.split()[0], 16))) for line in file if line.strip()}
    except (OSError, ValueError):
        pass
    try:
        with open("/proc/net/fib_trie", encoding="ascii") as file:
            found |= _local_ipv4(file.read())
    except OSError:
        pass
    return tuple(sorted(found))


def _local_ipv4(trie: str) -> set[str]:
    """`|-- 192.0.2.7` followed by `/32 host LOCAL`."""
    found: set[str] = set()
    address = ""
    for line in trie.splitlines():
        words = line.split()
        if len(words) == 2 and words[0] == "|--":
            address = words[1]
        elif words[:3] == ["/32", "host", "LOCAL"]:
            found.add(address)
    return found


async def addresses_of(resolver: Resolver, name: str) -> tuple[Lookup, ...]:
    """A and AAAA of a name."""
    answer = await _ask(name, "A", resolver.addresses(name))
    four = tuple(one for one in answer.records if ":" not in one)
    six = tuple(one for one in answer.records if ":" in one)
    absence = "" if answer.failure else answer.absence or "NODATA"
    return (
        Lookup(name, "A", four, "" if four else absence, answer.failure),
        Lookup(name, "AAAA", six, "" if six else absence, answer.failure),
    )


async def describe_sending(resolver: Resolver, address: str, hello: str) -> Sending:
    """A sending address with its reverse names and where these lead."""
    ptr = await _ask(reverse_name(address), "PTR", resolver.ptr(address))
    forward: list[Lookup] = []
    for name in ptr.records[:5]:
        forward += await addresses_of(resolver, name)
    return Sending(address, "", hello, ptr, tuple(forward))


async def ask_list(resolver: Resolver, zone: str, address: str) -> Listed:
    """What a block list says of an address (RFC 5782, section 2.1)."""
    name = f"{reverse_name(address).removesuffix('.in-addr.arpa').removesuffix('.ip6.arpa')}.{zone}"
    lookup = await _ask(name, "A", resolver.addresses(name))
    reason = None
    if lookup.records:
        text = await _text(resolver, name)
        reason = Lookup(name, "TXT", text) if text else None
    return Listed(zone, address, lookup, reason)


async def _text(resolver: Resolver, name: str) -> tuple[str, ...]:
    try:
        answer = await resolver.txt(name)
    except LookupFailed:
        return ()
    return tuple(record[:200].decode("ascii", "replace") for record in answer.records[:3])


async def ask_resolver(resolver: Resolver, server: str) -> Lookup:
    """One question that any resolver of any network can answer: the reverse name of the loopback address.

    Only a failure tells something; whether there are records depends on the resolver.
    """
    answer = await _ask("1.0.0.127.in-addr.arpa", "PTR", resolver.ptr("127.0.0.1"))
    return Lookup(answer.name, answer.kind, answer.records, answer.absence, answer.failure, server=server)


async def _ask(name: str, kind: str, question: Awaitable[Answer[str]]) -> Lookup:
    loop = asyncio.get_running_loop()
    began = loop.time()
    try:
        answer = await question
    except LookupFailed as problem:
        return Lookup(name, kind, failure=problem.reason, seconds=loop.time() - began)
    absence = answer.absence.value if answer.absence else ""
    return Lookup(name, kind, answer.records, absence, "", answer.is_authentic, seconds=loop.time() - began)

"""Everything about this machine and its server at once, into one Machine."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives import hashes

from postreeve.checks.facts import Lookup
from postreeve.checks.machine import CertificateFile, Disk, Listed, Machine, Sending
from postreeve.net.certificate import CertificateFiles, inspect
from postreeve.net.resolver import NetResolver, ResolverSettings
from postreeve.probes.machine.counters import read_counters
from postreeve.probes.machine.names import (
    addresses_of,
    ask_list,
    ask_resolver,
    describe_sending,
    local_addresses,
    source_addresses,
)
from postreeve.probes.machine.place import read_clock, read_disk, read_permissions
from postreeve.probes.machine.plan import Plan
from postreeve.probes.machine.serving import visit_listeners, visit_ways_out, wanted_listeners
from postreeve.probes.machine.sockets import family_of, listening
from postreeve.probes.vantage import recognise_place
from postreeve.queue.settings import RouteSettings

_SUBMISSION_PORTS: Final = frozenset({465, 587, 2465, 2525, 2587})


async def gather(plan: Plan, routes: Sequence[RouteSettings]) -> Machine:
    """Look at everything, side by side. Takes a few time-outs at most; raises nothing that an ordinary day brings."""
    config, running = plan.config, plan.running
    servers = tuple((str(one.address), one.port) for one in config.dns.servers)
    resolver = NetResolver(ResolverSettings(servers, timeout_seconds=plan.timeout_seconds, total_seconds=10.0))
    try:
        async with asyncio.TaskGroup() as group:
            visits = group.create_task(visit_listeners(plan))
            ways = group.create_task(visit_ways_out(plan, routes, resolver))
            names = group.create_task(addresses_of(resolver, str(config.hostname)))
            people = group.create_task(_describe_senders(plan, resolver))
            asked = group.create_task(_ask_resolvers(plan))
            counted = group.create_task(read_counters(_own_ports(plan), _far_ports(plan)))
        served, unvisited = visits.result()
        ways_out, known_good = ways.result()
        sending = people.result()
        lists = await _ask_lists(plan, resolver, sending)
        counters, blind = counted.result()
    finally:
        await resolver.close()
    place = recognise_place()
    return Machine(
        at=time.time(),
        hostname=str(config.hostname),
        config_path=str(plan.config_path),
        data_dir=str(config.data_dir),
        process=running.process,
        version=running.version,
        problems=running.problems,
        wanted=wanted_listeners(plan),
        bound=listening(family_of(running.process) if running.process else frozenset()),
        served=served if running.process else (),
        certificate_files=tuple(_read_certificates(plan)),
        hostname_lookups=names.result(),
        local_addresses=local_addresses(),
        sending=sending,
        ways_out=ways_out,
        known_good=known_good,
        platform=place.network.id if place else "",
        block_lists=lists,
        resolver=asked.result(),
        clock=read_clock(),
        disks=_read_disks(plan),
        queue=running.queue,
        logins_failed=running.logins_failed,
        logins_succeeded=running.logins_succeeded,
        misplaced_credentials=running.misplaced_credentials,
        permissions=read_permissions(_private_files(plan)),
        counters=counters,
        unseen=(*unvisited, *([blind] if blind else [])),
    )


def _own_ports(plan: Plan) -> frozenset[int]:
    return frozenset(one.port for one in wanted_listeners(plan) if one.port)


def _far_ports(plan: Plan) -> frozenset[int]:
    return frozenset({25}) | frozenset(one.port for one in plan.config.route if one.port in _SUBMISSION_PORTS)


async def _describe_senders(plan: Plan, resolver: NetResolver) -> tuple[Sending, ...]:
    delivery = plan.config.delivery
    addresses = source_addresses(str(delivery.source_ipv4 or ""), str(delivery.source_ipv6 or ""))
    hello = str(plan.config.hostname)
    return tuple(await asyncio.gather(*(describe_sending(resolver, address, hello) for address in addresses)))


async def _ask_lists(plan: Plan, resolver: NetResolver, sending: Sequence[Sending]) -> tuple[Listed, ...]:
    """About public addresses only: nobody lists others."""
    if not plan.is_outward:
        return ()
    public = [one.seen_as for one in sending if ipaddress.ip_address(one.seen_as).is_global]
    questions = [ask_list(resolver, zone, address) for zone in plan.block_lists for address in public]
    return tuple(await asyncio.gather(*questions))


async def _ask_resolvers(plan: Plan) -> tuple[Lookup, ...]:
    async def ask(servers: tuple[tuple[str, int], ...], label: str) -> Lookup:
        one = NetResolver(ResolverSettings(servers, timeout_seconds=3.0, total_seconds=4.0))
        try:
            return await ask_resolver(one, label)
        finally:
            await one.close()

    configured = [(str(one.address), one.port) for one in plan.config.dns.servers]
    if not configured:
        return (await ask((), ""),)
    return tuple(await asyncio.gather(*(ask(((host, port),), host) for host, port in configured)))


def _read_certificates(plan: Plan) -> Iterator[CertificateFile]:
    tls = plan.config.tls
    pairs = [(tls.certificate, tls.key), *((one.certificate, one.key) for one in tls.extra)]
    for certificate, key in pairs:
        if certificate is None or key is None:
            continue
        files = CertificateFiles(Path(certificate), Path(key))
        loaded, findings = inspect(files, time.time())
        if loaded is None:
            yield CertificateFile(str(certificate), "", (), 0.0, 0.0, "; ".join(one.problem for one in findings))
            continue
        yield CertificateFile(
            str(certificate), _fingerprint(files.certificate), loaded.names, loaded.not_before, loaded.not_after
        )


def _fingerprint(path: Path) -> str:
    from cryptography import x509

    return x509.load_pem_x509_certificates(path.read_bytes())[0].fingerprint(hashes.SHA256()).hex()


def _read_disks(plan: Plan) -> tuple[Disk, ...]:
    directory, least = Path(plan.config.data_dir), plan.config.queue.min_free
    disk = read_disk(directory, 0)
    if disk is None:
        return ()
    return (replace(disk, floor_octets=least.of(disk.total_octets)),)


def _private_files(plan: Plan) -> Iterator[tuple[Path, int]]:
    """What others have no business with, and the mode that is enough."""
    config = plan.config
    data = Path(config.data_dir)
    if not os.access(data, os.X_OK):
        return
    yield data, 0o750
    yield data / "accounts.db", 0o640
    for key in (config.tls.key, *(one.key for one in config.tls.extra)):
        if key is not None:
            yield Path(key), 0o640
    for route in config.route:
        for file in (route.password_file, route.fallback.password_file if route.fallback else None):
            if file is not None:
                yield Path(file), 0o640

"""`postreeve probe-server`, and asking one: our ports as they look from somewhere else."""

from __future__ import annotations

import ipaddress
import json
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from postreeve.checks.machine import Clock, Outside
from postreeve.dns.answer import LookupFailed, Resolver
from postreeve.net.certificate import verified_context
from postreeve.net.fetch import NotFetched, fetch, split_url
from postreeve.probes.outside import look_back
from postreeve.web.outside import OutsideSettings, make_app

_PATIENCE_SECONDS: Final = 30.0


def serve_outside(
    address: str, port: int, settings: OutsideSettings, hostname: str, certificate: tuple[Path, Path] | None
) -> None:
    """Answer until interrupted. Raises OSError when the port or the certificate cannot be used."""
    import uvicorn

    async def look(client: str, ports: Sequence[int], implicit: Sequence[int], hello: str) -> Sequence[Outside]:
        return await look_back(client, ports, implicit, hello, hostname)

    if certificate is not None:
        _check(certificate)
    uvicorn.run(
        make_app(settings, look, time.time),
        host=address,
        port=port,
        http="h11",
        ws="none",
        lifespan="off",
        server_header=False,
        proxy_headers=False,
        log_level="info",
        limit_concurrency=256,
        ssl_certfile=str(certificate[0]) if certificate else None,
        ssl_keyfile=str(certificate[1]) if certificate else None,
    )


def _check(certificate: tuple[Path, Path]) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)


@dataclass(frozen=True, slots=True)
class View:
    """What the other side saw by each family of addresses, what went wrong, and its clock."""

    seen: tuple[Outside, ...]
    problem: str
    clock: Clock | None = None


async def ask_outside(
    url: str,
    token: str,
    ports: Sequence[int],
    implicit: Sequence[int],
    hello: str,
    resolver: Resolver,
    ca_file: Path | None = None,
) -> View:
    """Ask a probe-server about our ports, once by IPv4 and once by IPv6 where both sides have it.

    `implicit` are those that begin with TLS; `hello` is the name that our certificates should bear.
    """
    parts = split_url(url)
    if parts is None:
        return View((), f"{url!r} is no URL such as https://probe.example.com")
    host = parts.hostname or ""
    addresses: Sequence[str] = (host,)
    if not _is_address(host):
        try:
            addresses = (await resolver.host_addresses(host)).records
        except LookupFailed as problem:
            return View((), str(problem))
    if not addresses:
        return View((), f"{host} has no address")
    question = json.dumps({"ports": sorted(set(ports)), "implicit": sorted(set(implicit)), "hello": hello}).encode()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    target = parts._replace(path=parts.path.rstrip("/") + "/v1/ports")
    context = verified_context(ca_file) if parts.scheme == "https" else None
    seen: list[Outside] = []
    problems: list[str] = []
    clock = None
    for address in _one_of_each(addresses):
        said = await fetch(
            target,
            address,
            method="POST",
            body=question,
            headers=headers,
            timeout_seconds=_PATIENCE_SECONDS,
            context=context,
        )
        if isinstance(said, NotFetched):
            problems.append(f"{address}: {said.problem}")
            continue
        found = _read(said.status, said.body)
        if isinstance(found, str):
            problems.append(f"{address}: {found}")
            continue
        seen += found[0]
        clock = Clock(offset_seconds=found[1] - time.time(), source=parts.netloc)
    # One family that does not work is no problem as long as the other one answered.
    return View(tuple(seen), "" if seen else "; ".join(problems), clock)


def _one_of_each(addresses: Sequence[str]) -> list[str]:
    four = [one for one in addresses if ":" not in one]
    six = [one for one in addresses if ":" in one]
    return [*four[:1], *six[:1]]


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _read(status: int, body: bytes) -> tuple[tuple[Outside, ...], float] | str:
    """The answer's entries and its time, or what is wrong with it."""
    try:
        document: Any = json.loads(body)
        if status != 200:
            return f"it answered {status}: {str(document.get('problem', ''))[:200]}"
        return tuple(Outside(**entry) for entry in document["ports"]), float(document["at"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return f"it answered {status}, and not like a postreeve probe-server"

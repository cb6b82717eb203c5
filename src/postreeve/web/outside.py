"""The service that looks back: a second postreeve tests the ports of whoever asks, and of nobody else.

    POST /v1/ports   Authorization: Bearer TOKEN   {"ports": [25, 465, 587], "implicit": [465],
                                                            "hello": "mail.example.org"}
    200 {"address": "192.0.2.25", "at": 1800000000.0, "ports": [{"port": 25, "outcome": "open", …}, …]}

It connects to the address that the question came from and to no other, needs a token, and answers each address and
the world a bounded number of times: nobody can have others scanned by it.
"""

from __future__ import annotations

import hmac
import ipaddress
import json
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from postreeve.checks.machine import Outside
from postreeve.mail.domain import parse_domain

Look = Callable[[str, Sequence[int], Sequence[int], str], Awaitable[Sequence[Outside]]]
"""Look at these ports of an address, with TLS from the first octet at some of them; the name is for certificates."""

_MAX_PORTS: Final = 10
_MAX_BODY_OCTETS: Final = 4_096
_MAX_CLIENTS: Final = 10_000


@dataclass(frozen=True, slots=True)
class OutsideSettings:
    """Who may ask, and how often. `proxies` are networks whose X-Forwarded-For is believed."""

    tokens: tuple[str, ...]
    per_hour: int = 30
    """Questions by one address (IPv6: one /64)."""
    at_once: int = 4
    proxies: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()


class Rate:
    """A bucket per client that fills evenly; as many clients as there is room for, the idlest forgotten first."""

    __slots__ = ("_buckets", "_per_hour")

    def __init__(self, per_hour: int) -> None:
        self._per_hour = per_hour
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str, now: float) -> float:
        """0 when the client may go on, else the seconds until it may."""
        left, at = self._buckets.pop(client, (float(self._per_hour), now))
        left = min(float(self._per_hour), left + (now - at) * self._per_hour / 3_600)
        allowed = left >= 1
        self._buckets[client] = (left - 1 if allowed else left, now)
        while len(self._buckets) > _MAX_CLIENTS:
            self._buckets.popitem(last=False)
        return 0.0 if allowed else (1 - left) * 3_600 / self._per_hour


def make_app(settings: OutsideSettings, look: Look, clock: Callable[[], float]) -> Starlette:
    """The application. `look` connects; `clock` gives POSIX seconds."""
    rate = Rate(settings.per_hour)
    refused = Rate(settings.per_hour)
    busy = 0

    async def ports(request: Request) -> JSONResponse:
        nonlocal busy
        address = client_address(request, settings)
        if address is None:
            return _problem(400, "your address is not known")
        key = _bucket(address)
        if not _is_known(request.headers.get("authorization", ""), settings.tokens):
            wait = refused.take(key, clock())
            return _problem(429, "too many wrong tokens", wait) if wait else _problem(401, "the token is wrong")
        wait = rate.take(key, clock())
        if wait:
            return _problem(429, f"at most {settings.per_hour} questions an hour", wait)
        question = await _read(request)
        if isinstance(question, str):
            return _problem(400, question)
        if busy >= settings.at_once:
            return _problem(503, "others are being served, try again", 10)
        busy += 1
        try:
            seen = await look(address, *question)
        finally:
            busy -= 1
        return JSONResponse({"address": address, "at": clock(), "ports": [asdict(one) for one in seen]})

    return Starlette(routes=[Route("/v1/ports", ports, methods=["POST"])])


def client_address(request: Request, settings: OutsideSettings) -> str | None:
    """Who asks: the other end of the connection, or whom a trusted proxy names last."""
    if request.client is None:
        return None
    try:
        peer = ipaddress.ip_address(request.client.host)
        if any(peer in network for network in settings.proxies):
            named = request.headers.get("x-forwarded-for", "").rpartition(",")[2].strip()
            peer = ipaddress.ip_address(named)
    except ValueError:
        return None
    if isinstance(peer, ipaddress.IPv6Address) and peer.ipv4_mapped:
        return str(peer.ipv4_mapped)
    return str(peer)


def _bucket(address: str) -> str:
    parsed = ipaddress.ip_address(address)
    if parsed.version == 4:
        return address
    return str(ipaddress.ip_network(f"{address}/64", strict=False))


def _is_known(header: str, tokens: Sequence[str]) -> bool:
    scheme, _, token = header.partition(" ")
    given = token.strip().encode()
    found = [hmac.compare_digest(given, one.encode()) for one in tokens]
    return scheme.lower() == "bearer" and any(found)


async def _read(request: Request) -> tuple[tuple[int, ...], tuple[int, ...], str] | str:
    """The ports, those of implicit TLS and the name of a question, or what is wrong with it."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_BODY_OCTETS:
            return "the question is too long"
    try:
        asked: Any = json.loads(body)
    except (ValueError, RecursionError):
        return "the question is no JSON"
    if not isinstance(asked, dict):
        return 'the question must be like {"ports": [25, 465, 587], "hello": "mail.example.org"}'
    ports, implicit, hello = asked.get("ports"), asked.get("implicit", []), asked.get("hello")
    if not isinstance(ports, list) or not 1 <= len(ports) <= _MAX_PORTS:
        return f"ports must be a list of 1 to {_MAX_PORTS} numbers"
    if not isinstance(implicit, list) or len(implicit) > _MAX_PORTS:
        return "implicit must be a list of those ports that begin with TLS"
    if not all(isinstance(one, int) and not isinstance(one, bool) and 0 < one < 65_536 for one in (*ports, *implicit)):
        return "a port is a number from 1 to 65535"
    if not isinstance(hello, str) or parse_domain(hello) is None:
        return "hello must be the host name that your certificate should bear"
    return tuple(dict.fromkeys(ports)), tuple(implicit), hello


def _problem(status: int, words: str, wait: float = 0.0) -> JSONResponse:
    headers = {"Retry-After": str(int(wait) + 1)} if wait else {}
    return JSONResponse({"problem": words}, status, headers)

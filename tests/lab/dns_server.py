"""A small authoritative DNS server on a loopback port, UDP and TCP, over a dict, with faults on demand.

    zone = {"example.org": {"MX": ["10 mx.example.org."]}}
    async with DnsServer(zone, {"broken.example.org": Fault.SERVFAIL}) as server:
        ... ask 127.0.0.1, server.port ...

`server.asked` lists every question as "UDP MX example.org". For programs outside the test's event loop there is
`ThreadedDnsServer`, a context manager without `async`.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Mapping, Sequence
from enum import Enum
from types import TracebackType
from typing import Self, cast

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

Zone = Mapping[str, Mapping[str, Sequence[str]]]
SOA = "ns.invalid. hostmaster.invalid. 1 3600 600 86400 60"


class Fault(Enum):
    """How a question goes wrong."""

    SERVFAIL = "SERVFAIL"
    REFUSED = "REFUSED"
    SILENCE = "silence"
    """No answer at all."""
    TRUNCATED = "truncated"
    """Over UDP only the truncation bit: the answer comes over TCP."""
    GARBAGE = "garbage"
    """Octets that are no DNS message, then nothing."""
    WRONG_ID = "wrong id"
    """An answer to another question, then nothing."""


class DnsServer:
    """Answers while the `async with` lasts. A CNAME in the zone is followed within the zone."""

    def __init__(
        self,
        zone: Zone,
        faults: Mapping[str, Fault] | None = None,
        *,
        ttl: int = 300,
        authentic: bool = False,
        address: str = "127.0.0.1",
    ) -> None:
        """Keys of `faults` are names or "TYPE name". Both mappings may be changed while the server runs."""
        self.zone = dict(zone)
        self.faults = dict(faults or {})
        self.ttl = ttl
        self.authentic = authentic
        self.address = address
        self.port = 0
        self.asked: list[str] = []
        self._udp: asyncio.DatagramTransport | None = None
        self._tcp: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        for _ in range(20):  # the port that is free for UDP may not be for TCP
            self._udp, _protocol = await loop.create_datagram_endpoint(
                lambda: _Datagrams(self), local_addr=(self.address, 0)
            )
            self.port = self._udp.get_extra_info("sockname")[1]
            try:
                self._tcp = await asyncio.start_server(self._stream, self.address, self.port)
            except OSError:
                self._udp.close()
                continue
            return self
        raise OSError("no port that is free for both UDP and TCP")

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._udp is not None
        assert self._tcp is not None
        self._udp.close()
        self._tcp.close()

    def answer(self, wire: bytes, protocol: str) -> bytes | None:
        """The octets to send back, None for silence."""
        try:
            query = dns.message.from_wire(wire)
        except dns.exception.DNSException:
            return None
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        kind = dns.rdatatype.to_text(question.rdtype)
        self.asked.append(f"{protocol} {kind} {name}")
        response = dns.message.make_response(query)
        match self.faults.get(name) or self.faults.get(f"{kind} {name}"):
            case Fault.SILENCE:
                return None
            case Fault.SERVFAIL:
                response.set_rcode(dns.rcode.SERVFAIL)
            case Fault.REFUSED:
                response.set_rcode(dns.rcode.REFUSED)
            case Fault.GARBAGE:
                return wire[:2] + b"\xff" * 7
            case Fault.WRONG_ID:
                response.id ^= 0xFFFF
                self._fill(response, name, kind)
            case Fault.TRUNCATED if protocol == "UDP":
                response.flags |= dns.flags.TC
            case _:
                self._fill(response, name, kind)
        whole = response.to_wire(max_size=65_535)
        if protocol == "UDP" and len(whole) > max(512, query.payload):
            response.answer.clear()
            response.flags |= dns.flags.TC
            return response.to_wire()
        return whole

    def _fill(self, response: dns.message.Message, name: str, kind: str) -> None:
        response.flags |= dns.flags.AA | dns.flags.RA
        if self.authentic:
            response.flags |= dns.flags.AD
        for _ in range(10):
            records = self.zone.get(name)
            if records is None:
                response.set_rcode(dns.rcode.NXDOMAIN)
            elif "CNAME" in records and kind != "CNAME":
                response.answer.append(dns.rrset.from_text(name + ".", self.ttl, "IN", "CNAME", *records["CNAME"]))
                name = records["CNAME"][0].rstrip(".").lower()
                continue
            elif records.get(kind):
                response.answer.append(dns.rrset.from_text(name + ".", self.ttl, "IN", kind, *records[kind]))
                return
            response.authority.append(dns.rrset.from_text("invalid.", 60, "IN", "SOA", SOA))
            return

    async def _stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                length = int.from_bytes(await reader.readexactly(2), "big")
                answer = self.answer(await reader.readexactly(length), "TCP")
                if answer is None:
                    break
                writer.write(len(answer).to_bytes(2, "big") + answer)
        writer.close()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: DnsServer) -> None:
        self._server = server
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        answer = self._server.answer(data, "UDP")
        if answer is not None and self._transport is not None:
            self._transport.sendto(answer, address)


class ThreadedDnsServer:
    """A DnsServer with an event loop of its own."""

    def __init__(self, server: DnsServer) -> None:
        self.server = server
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> DnsServer:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self.server.__aenter__(), self._loop).result(10)
        return self.server

    def __exit__(self, *error: object) -> None:
        asyncio.run_coroutine_threadsafe(self.server.__aexit__(None, None, None), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

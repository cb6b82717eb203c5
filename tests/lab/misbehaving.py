"""Servers that misbehave, each in one way that is known beforehand: real listeners on loopback.

    lab = Lab(directory)
    async with Misbehaving(SCENARIOS["auth-535"].manner, lab) as server:
        ... connect to 127.0.0.1, server.port ...
    server.connections      # how many were made

A `Manner` says what a server does differently from a healthy one; a `Scenario` adds how a client comes and the causes
that are true of it, the best first (two where no client can tell them apart).
"""

from __future__ import annotations

import asyncio
import base64
import ssl
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from cryptography.hazmat.primitives.asymmetric import rsa

from postreeve.net.tls import TlsProblem
from tests.lab import faulty
from tests.lab.certificates import Issued
from tests.lab.sink import Act, Seen, _Play

HOST: Final = faulty.HOST
USERNAME, PASSWORD = "alice@example.com", "correct horse battery"
EHLO = b"250-mail.example.com\r\n250-PIPELINING\r\n250-SIZE 10240000\r\n%b250-8BITMIME\r\n250 ENHANCEDSTATUSCODES\r\n"
AUTH = b"250-AUTH PLAIN LOGIN\r\n"
Reply = bytes | Act | tuple[Act, ...]


@dataclass(frozen=True)
class Manner:
    """What this server does. `replies` are by verb, "EHLO tls" and the like for inside TLS, "." for the final dot."""

    greeting: Reply = b"220 mail.example.com ESMTP ready\r\n"
    greeting_seconds: float = 0.0
    reply_seconds: float = 0.0
    tls: str = "healthy"
    """The name of a context of `Lab`, "" for no TLS at all."""
    is_implicit: bool = False
    clear_auth: bool = False
    tls_auth: bytes = AUTH
    replies: Mapping[str, Reply] = field(default_factory=dict)
    injected: bytes = b""


class Lab:
    """The certificates and TLS contexts that scenarios name; made once, when first wanted."""

    def __init__(self, directory: Path, authority_url: str = "") -> None:
        self.directory = directory
        self.authority_url = authority_url
        self.ca_file = directory / "trusted.pem"
        faulty.root().write(self.ca_file)
        self._contexts: dict[str, ssl.SSLContext] = {}

    @cached_property
    def rsa(self) -> Issued:
        """A healthy certificate with an RSA key, for ciphers that need one."""
        return faulty.middle().issue(HOST, key=rsa.generate_private_key(65537, 2048))

    @cached_property
    def revoked(self) -> Issued:
        """One whose OCSP responder says that it is revoked."""
        return faulty.middle().issue(HOST, ocsp_url=self.authority_url)

    def context(self, name: str) -> ssl.SSLContext:
        """A server's context: a chain of `faulty`, or one of those below."""
        if name not in self._contexts:
            self._contexts[name] = self._make(name)
        return self._contexts[name]

    def _make(self, name: str) -> ssl.SSLContext:
        if name == "revoked":
            issued = self.revoked
        elif name == "no intermediate, said where" and self.authority_url:
            issued = faulty.middle().issue(HOST, issuer_url=self.authority_url)
            issued = Issued(issued.certificate, issued.key, (issued.certificate,))
        elif name in _NEED_RSA:
            issued = self.rsa
        else:
            issued = faulty.make(name if name in faulty.FAULTS else "healthy").issued
        chain, key = issued.write(self.directory, name.replace(" ", "-").replace("'", ""))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        context.load_cert_chain(chain, key)
        match name:
            case "TLS 1.0" | "TLS 1.1":
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", DeprecationWarning)  # old versions are what this is about
                    version = ssl.TLSVersion.TLSv1 if name == "TLS 1.0" else ssl.TLSVersion.TLSv1_1
                    context.minimum_version = context.maximum_version = version
            case "TLS 1.2":
                context.maximum_version = ssl.TLSVersion.TLSv1_2
            case "old cipher":
                context.maximum_version = ssl.TLSVersion.TLSv1_2
                context.set_ciphers("AES128-SHA:@SECLEVEL=0")
            case "DH 1024":
                context.maximum_version = ssl.TLSVersion.TLSv1_2
                context.set_ciphers("DHE-RSA-AES128-GCM-SHA256:@SECLEVEL=0")
                parameters = self.directory / "dh1024.pem"
                parameters.write_text(_dh_1024())
                context.load_dh_params(str(parameters))
            case "client certificate" | "client certificate 1.2":
                context.verify_mode = ssl.CERT_REQUIRED
                context.load_verify_locations(self.ca_file)
                if name.endswith("1.2"):
                    context.maximum_version = ssl.TLSVersion.TLSv1_2
            case "unknown name":
                context.sni_callback = lambda _, name, __: ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME if name else None
            case "chosen by name":
                context = self._choosing("wrong name", "healthy")
            case "chosen wrongly":
                context = self._choosing("healthy", "wrong name")
            case "internal error":
                context.sni_callback = lambda *_: ssl.ALERT_DESCRIPTION_INTERNAL_ERROR
            case _:
                pass
        return context

    def _choosing(self, default: str, chosen: str) -> ssl.SSLContext:
        """`default` for clients without SNI, `chosen` for those that name any host."""
        for_named, for_others = self._make(chosen), self._make(default)

        def choose(sock: ssl.SSLSocket | ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
            if name:
                sock.context = for_named

        for_others.sni_callback = choose
        return for_others


_NEED_RSA: Final = ("old cipher", "DH 1024", "TLS 1.0", "TLS 1.1")
_OAKLEY_2: Final = int(
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD"
    "EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED"
    "EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE65381FFFFFFFFFFFFFFFF",
    16,
)
"""The prime of 1024 bits of RFC 2409, section 6.2, long the default of many servers."""


def _dh_1024() -> str:
    """As PKCS #3 has it: a sequence of the prime and the generator 2."""
    der = b"\x30\x81\x87\x02\x81\x81\x00" + _OAKLEY_2.to_bytes(128, "big") + b"\x02\x01\x02"
    text = base64.encodebytes(der).decode()
    return f"-----BEGIN DH PARAMETERS-----\n{text}-----END DH PARAMETERS-----\n"


class Misbehaving:
    """Listens while the `async with` lasts; `connections` has what each of them said."""

    def __init__(self, manner: Manner, lab: Lab, address: str = "127.0.0.1") -> None:
        self._manner = manner
        self._lab = lab
        self._address = address
        self.port = 0
        self.connections: list[Seen] = []
        self.problems: list[BaseException] = []
        """What went wrong in the server itself; a test that finds one is broken."""
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, self._address, 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for _ in range(3):
            await asyncio.sleep(0)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for _ in range(3):
            await asyncio.sleep(0)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        seen = Seen()
        self.connections.append(seen)
        try:
            await _Server(self._manner, self._lab, _Play(reader, writer, seen, asyncio.Event())).serve()
        except (ConnectionError, asyncio.IncompleteReadError, TlsProblem):
            pass
        except asyncio.CancelledError:
            writer.transport.abort()  # and no more: the test is over, and nobody awaits this task
        except Exception as problem:
            self.problems.append(problem)
        finally:
            seen.is_over = True
            writer.close()
            self._tasks.discard(task)


class _Server:
    def __init__(self, manner: Manner, lab: Lab, play: _Play) -> None:
        self._manner = manner
        self._lab = lab
        self._play = play
        self._is_in_tls = False

    async def serve(self) -> None:
        if self._manner.is_implicit:
            await self._start_tls()
        await asyncio.sleep(self._manner.greeting_seconds)
        if not await self._give(self._manner.greeting):
            return
        while True:
            line = (await self._play._until(b"\n")).rstrip(b"\r\n")
            await asyncio.sleep(self._manner.reply_seconds)
            if not await self._obey(line.partition(b" ")[0].upper().decode("latin-1"), line):
                return

    async def _obey(self, verb: str, line: bytes) -> bool:
        reply = self._reply(verb)
        if not await self._give(reply):
            return False
        if verb == "STARTTLS" and isinstance(reply, bytes) and reply.startswith(b"220"):
            await self._start_tls()
        elif verb == "DATA" and isinstance(reply, bytes) and reply.startswith(b"354"):
            await self._play._content()
            return await self._give(self._reply("."))
        elif verb == "AUTH" and isinstance(reply, bytes) and reply.startswith(b"334"):
            while reply.startswith(b"334"):
                await self._play._until(b"\n")
                answer = self._reply("AUTH answer")
                if not isinstance(answer, bytes):
                    return await self._give(answer)
                reply = answer
                await self._give(reply)
        return verb != "QUIT"

    def _reply(self, verb: str) -> Reply:
        where = f"{verb} tls" if self._is_in_tls else verb
        given = self._manner.replies.get(where, self._manner.replies.get(verb))
        if given is not None:
            return given
        match verb:
            case "EHLO" | "LHLO":
                return EHLO % self._offers()
            case "HELO":
                return b"250 mail.example.com\r\n"
            case "STARTTLS":
                can = self._manner.tls and not self._is_in_tls
                return b"220 2.0.0 Ready\r\n" + self._manner.injected if can else b"502 5.5.1 not implemented\r\n"
            case "AUTH":
                return b"235 2.7.0 Authentication successful\r\n"
            case "AUTH answer":
                return b"235 2.7.0 Authentication successful\r\n"
            case "MAIL" | "RCPT" | "RSET" | "NOOP":
                return b"250 2.1.0 Ok\r\n"
            case "DATA":
                return b"354 End data with <CR><LF>.<CR><LF>\r\n"
            case ".":
                return b"250 2.0.0 Ok: queued as 4Zxyz\r\n"
            case "QUIT":
                return b"221 2.0.0 Bye\r\n"
            case _:
                return b"500 5.5.2 Error: command not recognized\r\n"

    def _offers(self) -> bytes:
        if self._is_in_tls:
            return self._manner.tls_auth
        offers = b"250-STARTTLS\r\n" if self._manner.tls and not self._manner.is_implicit else b""
        return offers + (AUTH if self._manner.clear_auth else b"")

    async def _start_tls(self) -> None:
        await self._play._start_tls(self._lab.context(self._manner.tls))
        self._is_in_tls = True

    async def _give(self, reply: Reply) -> bool:
        match reply:
            case bytes():
                await self._play._write(reply)
                return True
            case tuple():
                for act in reply:
                    if not await self._play._do(act):
                        return False
                return True
            case _:
                return await self._play._do(reply)

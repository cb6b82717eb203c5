"""The TLS pipe: against itself, against Python's own sockets, and against whatever else may come."""

from __future__ import annotations

import random
import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from postreeve.net.certificate import (
    CertificateFiles,
    ServerContexts,
    ServerTls,
    TlsSettings,
    load_contexts,
    opportunistic_context,
    verified_context,
)
from postreeve.net.tls import MAX_SILENT_OCTETS, TlsPipe, TlsProblem, TlsTrouble
from postreeve.net.trust import TrustRecorder
from tests.lab.certificates import Authority, key_pem

NAME = "mail.example.org"


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def contexts(authority: Authority, tmp_path: Path) -> ServerContexts:
    files = CertificateFiles(*authority.issue(NAME).write(tmp_path, "default"))
    extra = CertificateFiles(*authority.issue("*.example.net", "example.com").write(tmp_path, "extra"))
    made = load_contexts(TlsSettings(files, (extra,)), time.time())
    assert isinstance(made, ServerContexts), made
    return made


def handshake(server: TlsPipe, client: TlsPipe) -> None:
    for _ in range(6):
        assert server.receive(client.outgoing()) == b""
        assert client.receive(server.outgoing()) == b""
    assert server.handshake_done
    assert client.handshake_done


def pair(contexts: ServerContexts, name: str = NAME) -> tuple[TlsPipe, TlsPipe]:
    server = TlsPipe(contexts.default, server_side=True)
    client = TlsPipe(opportunistic_context(), server_side=False, server_hostname=name)
    handshake(server, client)
    return server, client


@pytest.mark.parametrize("size", [1, 100, 16_384, 16_385, 300_000])
def test_pipe_carries_both_ways(size: int, contexts: ServerContexts) -> None:
    server, client = pair(contexts)
    data = random.Random(size).randbytes(size)
    client.send(data)
    assert server.receive(client.outgoing()) == data
    server.send(data)
    assert client.receive(server.outgoing()) == data


def test_pipe_takes_one_octet_at_a_time(contexts: ServerContexts) -> None:
    server = TlsPipe(contexts.default, server_side=True)
    client = TlsPipe(opportunistic_context(), server_side=False)
    for _ in range(6):
        for octet in client.outgoing():
            assert server.receive(bytes([octet])) == b""
        for octet in server.outgoing():
            assert client.receive(bytes([octet])) == b""
    client.send(b"EHLO x\r\n")
    assert b"".join(server.receive(bytes([octet])) for octet in client.outgoing()) == b"EHLO x\r\n"


@pytest.mark.parametrize("name", [NAME, "a.example.net", "A.Example.NET", "example.com", "other.invalid", None])
def test_server_chooses_certificate_by_name(name: str | None, contexts: ServerContexts) -> None:
    server = TlsPipe(contexts.default, server_side=True)
    client = TlsPipe(opportunistic_context(), server_side=False, server_hostname=name)
    handshake(server, client)
    extra = name is not None and name.lower() in ("a.example.net", "example.com")
    shown = client.info.peer_certificate_der
    assert shown is not None
    assert (b"example.net" in shown) is extra
    assert server.server_name == (name or "").lower()
    assert client.info.version == "TLSv1.3"
    assert not client.info.verified


def test_nothing_after_close_notify_is_read(contexts: ServerContexts) -> None:
    """Plaintext that follows the end of TLS must never become a command."""
    server, client = pair(contexts)
    client.send(b"DATA\r\n")
    client.close()
    last = client.outgoing()
    assert server.receive(last + b"QUIT\r\n") == b"DATA\r\n"
    assert server.peer_closed
    assert server.receive(b"QUIT\r\n") == b""
    assert server.receive(last) == b""
    server.receive_eof()


def test_end_without_close_notify_is_a_problem(contexts: ServerContexts) -> None:
    server, _client = pair(contexts)
    with pytest.raises(TlsProblem) as caught:
        server.receive_eof()
    assert caught.value.kind is TlsTrouble.CLOSED
    fresh = TlsPipe(contexts.default, server_side=True)
    with pytest.raises(TlsProblem, match="during the TLS handshake"):
        fresh.receive_eof()


@pytest.mark.parametrize(
    ("octets", "kind"),
    [
        (b"EHLO client.example.org\r\n", TlsTrouble.PLAINTEXT),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", TlsTrouble.PLAINTEXT),
        (b"SSH-2.0-OpenSSH_9.2\r\n", TlsTrouble.PLAINTEXT),
        (b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00", TlsTrouble.BROKEN),
        (b"\x15\x03\x03\x00\x02\x02\x30", TlsTrouble.BROKEN),
    ],
    ids=["smtp", "http", "ssh", "broken", "alert"],
)
def test_server_names_what_came_instead_of_tls(octets: bytes, kind: TlsTrouble, contexts: ServerContexts) -> None:
    server = TlsPipe(contexts.default, server_side=True)
    with pytest.raises(TlsProblem) as caught:
        server.receive(octets)
    assert caught.value.kind is kind, caught.value
    assert caught.value.hint


def test_garbage_never_raises_anything_else(contexts: ServerContexts) -> None:
    for seed in range(300):
        chance = random.Random(seed)
        server, client = pair(contexts) if seed % 3 == 0 else (TlsPipe(contexts.default, server_side=True), None)
        data = bytearray(chance.randbytes(chance.randrange(1, 400)))
        if client is not None:
            client.send(bytes(data))
            data = bytearray(client.outgoing())
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        problems: list[str] = []
        try:
            assert server.receive(bytes(data)) == b""
        except TlsProblem as problem:
            problems.append(str(problem))
        assert "".join(problems).isprintable()


def flood(server: TlsPipe) -> None:
    """A handshake message that goes on and on."""
    record = b"\x16\x03\x01\x40\x00" + b"\x01\x00\xff\xff" + b"x" * 16_380
    for _ in range(2 + MAX_SILENT_OCTETS // len(record)):
        server.receive(record)


def test_endless_handshake_is_cut(contexts: ServerContexts) -> None:
    with pytest.raises(TlsProblem):
        flood(TlsPipe(contexts.default, server_side=True))


def test_records_without_content_are_cut(contexts: ServerContexts) -> None:
    client = TlsPipe(opportunistic_context(), server_side=False)
    server = TlsPipe(contexts.default, server_side=True)
    server._silent = MAX_SILENT_OCTETS  # OpenSSL itself gives up earlier on all that a client of ours could send
    with pytest.raises(TlsProblem) as caught:
        server.receive(client.outgoing()[:-1])
    assert caught.value.kind is TlsTrouble.FLOOD


def test_verification_says_what_is_wrong(authority: Authority, tmp_path: Path) -> None:
    ca_file = authority.write(tmp_path / "ca.pem")
    cases = {
        "another name": authority.issue("other.example.org"),
        "has expired": authority.issue(NAME, expired=True),
        "not valid yet": authority.issue(NAME, future=True),
        "unknown authority": Authority("Stranger").issue(NAME),
    }
    for hint, issued in cases.items():
        made = load_contexts(TlsSettings(CertificateFiles(*issued.write(tmp_path, "x"))), time.time())
        assert isinstance(made, ServerContexts)
        server = TlsPipe(made.default, server_side=True)
        client = TlsPipe(verified_context(ca_file), server_side=False, server_hostname=NAME)
        with pytest.raises(TlsProblem) as caught:
            handshake(server, client)
        assert caught.value.kind is TlsTrouble.UNVERIFIED
        assert hint in caught.value.hint
        with pytest.raises(TlsProblem) as told:
            server.receive(client.outgoing())
        assert told.value.kind is TlsTrouble.UNTRUSTED_BY_PEER
        assert "client does not trust the certificate" in told.value.hint


def test_trust_is_recorded_without_being_demanded(
    authority: Authority, contexts: ServerContexts, tmp_path: Path
) -> None:
    _server, client = pair(contexts)
    chain = client.info.peer_chain_der
    recorder = TrustRecorder(authority.write(tmp_path / "ca.pem"))
    assert recorder.would_verify(chain, NAME, time.time())
    assert recorder.would_verify(chain, NAME, time.time())
    assert not recorder.would_verify(chain, "other.example.org", time.time())
    assert not recorder.would_verify((), NAME, time.time())
    assert not recorder.would_verify((b"no certificate",), NAME, time.time())
    assert not TrustRecorder(Authority().write(tmp_path / "o.pem")).would_verify(chain, NAME, time.time())


def test_chain_with_intermediate_verifies(authority: Authority, tmp_path: Path) -> None:
    issued = Authority("Intermediate", authority).issue(NAME)
    made = load_contexts(TlsSettings(CertificateFiles(*issued.write(tmp_path, "x"))), time.time())
    assert isinstance(made, ServerContexts)
    assert made.findings == ()
    server = TlsPipe(made.default, server_side=True)
    client = TlsPipe(verified_context(authority.write(tmp_path / "ca.pem")), server_side=False, server_hostname=NAME)
    handshake(server, client)
    assert client.info.verified
    assert len(client.info.peer_chain_der) == 2


def test_versions_without_overlap_are_explained(authority: Authority, tmp_path: Path) -> None:
    files = CertificateFiles(*authority.issue(NAME).write(tmp_path, "x"))
    made = load_contexts(TlsSettings(files, minimum_version="1.3"), time.time())
    assert isinstance(made, ServerContexts)
    old = opportunistic_context()
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    server = TlsPipe(made.default, server_side=True)
    client = TlsPipe(old, server_side=False)
    with pytest.raises(TlsProblem) as caught:
        server.receive(client.outgoing())
    assert caught.value.kind is TlsTrouble.VERSION
    with pytest.raises(TlsProblem) as told:
        client.receive(server.outgoing())
    assert told.value.kind is TlsTrouble.VERSION


# Files


def spoil(directory: Path, authority: Authority) -> dict[str, Callable[[], tuple[CertificateFiles, str]]]:
    good, other = authority.issue(NAME), authority.issue("other.example.org")
    through = Authority("Intermediate", authority).issue(NAME)
    chain, key = good.write(directory, "good")
    (directory / "other.key").write_bytes(key_pem(other.key))
    (directory / "empty.pem").write_text("nothing here")
    pem = [one.public_bytes(Encoding.PEM) for one in through.chain]
    (directory / "reversed.pem").write_bytes(b"".join(reversed(pem)))
    (directory / "reversed.key").write_bytes(key_pem(through.key))
    files = CertificateFiles
    return {
        "missing certificate": lambda: (files(directory / "none.pem", key), "cannot be read"),
        "missing key": lambda: (files(chain, directory / "none.key"), "cannot be read"),
        "no certificate": lambda: (files(directory / "empty.pem", key), "no PEM certificate"),
        "no key": lambda: (files(chain, directory / "empty.pem"), "no usable PEM private key"),
        "other key": lambda: (files(chain, directory / "other.key"), "does not belong"),
        "wrong order": lambda: (files(directory / "reversed.pem", directory / "reversed.key"), "wrong order"),
    }


@pytest.mark.parametrize(
    "name", ["missing certificate", "missing key", "no certificate", "no key", "other key", "wrong order"]
)
def test_bad_files_are_refused_and_a_reload_keeps_the_old(
    name: str, authority: Authority, contexts: ServerContexts, tmp_path: Path
) -> None:
    files, words = spoil(tmp_path, authority)[name]()
    findings = load_contexts(TlsSettings(files), time.time())
    assert isinstance(findings, tuple)
    assert any(finding.is_fatal and words in finding.problem for finding in findings), findings
    tls = ServerTls(contexts)
    assert tls.reload(TlsSettings(files), time.time()) == findings
    assert tls.context is contexts.default


def test_expired_certificate_loads_with_a_finding(authority: Authority, tmp_path: Path) -> None:
    files = CertificateFiles(*authority.issue(NAME, expired=True).write(tmp_path, "x"))
    made = load_contexts(TlsSettings(files), time.time())
    assert isinstance(made, ServerContexts)
    assert "expired on" in made.findings[0].problem
    assert made.loaded[0].names == (NAME,)


def test_reload_shows_the_new_certificate(authority: Authority, contexts: ServerContexts, tmp_path: Path) -> None:
    tls = ServerTls(contexts)
    files = CertificateFiles(*authority.issue("new.example.org").write(tmp_path, "new"))
    assert tls.reload(TlsSettings(files), time.time()) == ()
    server = TlsPipe(tls.context, server_side=True)
    client = TlsPipe(opportunistic_context(), server_side=False)
    handshake(server, client)
    assert b"new.example.org" in client.info.peer_chain_der[0]


# Real peers


def test_pipe_serves_a_real_client(authority: Authority, contexts: ServerContexts, tmp_path: Path) -> None:
    context = ssl.create_default_context(cafile=str(authority.write(tmp_path / "ca.pem")))
    ours, theirs = socket.socketpair()
    got: list[bytes] = []

    def client() -> None:
        with context.wrap_socket(theirs, server_hostname=NAME) as wrapped:
            wrapped.sendall(b"x" * 100_000)
            got.append(wrapped.recv(100))
            wrapped.unwrap()

    thread = threading.Thread(target=client)
    thread.start()
    pipe = TlsPipe(contexts.default, server_side=True)
    received = b""
    ours.settimeout(10)
    while not pipe.peer_closed:
        received += pipe.receive(ours.recv(65_536))
        if len(received) == 100_000 and not got:
            pipe.send(b"thanks")
            received += b"."
        if pipe.peer_closed:
            pipe.close()
        ours.sendall(pipe.outgoing())
    thread.join(10)
    ours.close()
    assert got == [b"thanks"]
    assert len(received) == 100_001


def test_pipe_talks_to_a_real_server(authority: Authority, tmp_path: Path) -> None:
    chain, key = authority.issue(NAME).write(tmp_path, "x")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    ours, theirs = socket.socketpair()
    got: list[bytes] = []

    def server() -> None:
        with context.wrap_socket(theirs, server_side=True) as wrapped:
            got.append(wrapped.recv(100))
            wrapped.sendall(b"y" * 50_000)
            wrapped.unwrap()

    thread = threading.Thread(target=server)
    thread.start()
    pipe = TlsPipe(verified_context(authority.write(tmp_path / "ca.pem")), server_side=False, server_hostname=NAME)
    received = b""
    ours.settimeout(10)
    asked = False
    while not pipe.peer_closed:
        ours.sendall(pipe.outgoing())
        received += pipe.receive(ours.recv(65_536))
        if pipe.handshake_done and not asked:
            pipe.send(b"hello")
            asked = True
    pipe.close()
    ours.sendall(pipe.outgoing())
    thread.join(10)
    ours.close()
    assert got == [b"hello"]
    assert received == b"y" * 50_000


def test_renegotiation_is_refused(contexts: ServerContexts) -> None:
    assert contexts.default.options & ssl.OP_NO_RENEGOTIATION
    assert contexts.default.options & ssl.OP_NO_COMPRESSION


def test_pipe_tells_a_client_that_waits_for_a_greeting_from_a_slow_one(contexts: ServerContexts) -> None:
    silent, slow = (TlsPipe(contexts.default, server_side=True) for _ in range(2))
    slow.receive(b"\x16\x03\x01")
    assert "STARTTLS on port 587" in silent.timed_out().hint
    with pytest.raises(TlsProblem) as closed:
        silent.receive_eof()
    assert "STARTTLS on port 587" in closed.value.hint
    assert "slow" in slow.timed_out().hint

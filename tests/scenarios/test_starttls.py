"""TLS and logins on the three ports, with real sockets: what is offered, what is refused, what is never obeyed."""

from __future__ import annotations

import base64
import contextlib
import select
import ssl
import subprocess
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.lab.certificates import Authority
from tests.lab.server import Server
from tests.lab.talk import Talk, open_session, plain_response, trusting
from tests.scenarios.conftest import PASSWORD, USERNAME, assert_calm, make_server

EXTRA = "mail.example.net"
INJECTED = b"EHLO evil\r\nMAIL FROM:<evil@example.com>\r\nRCPT TO:<victim@example.org>\r\n"
LISTENERS = ("mx", "submission", "submissions")
TLS_1_3_HELLO = b"\x16\x03\x01\x00\x05hello"


@pytest.fixture(scope="module")
def extra(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    directory = tmp_path_factory.mktemp("extra")
    authority = Authority()
    chain, key = authority.issue(EXTRA).write(directory, "extra")
    return chain, key, authority.write(directory / "ca.pem")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, extra: tuple[Path, Path, Path]) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("starttls")
    tls = {
        "certificate": str(directory / "certificate.pem"),
        "key": str(directory / "key.pem"),
        "extra": [{"certificate": str(extra[0]), "key": str(extra[1])}],
    }
    limits = {"max_auth_failures": 50, "auth_failures_per_client": 0, "auth_failures_per_account": 0, "max_errors": 100}
    limits |= {"soft_errors": 0, "tls_timeout": "5s"}
    with make_server(directory, {"tls": tls, "limits": limits}) as one:
        yield one
    # Stopped, it has told all there was to tell.
    assert "sender=evil@" not in one.log()
    assert not list(one.mail_dir.glob("victim@*"))
    assert_calm(one)


@pytest.fixture
def context(server: Server) -> ssl.SSLContext:
    return trusting(server.ca_file)


# --- the table of the three ports -----------------------------------------------------------------------------------


def offered(lines: Sequence[str]) -> set[str]:
    return {line.partition(" ")[0] for line in lines}


def test_25_offers_tls_and_never_requires_it(server: Server, context: ssl.SSLContext) -> None:
    with Talk(server.port("mx")) as talk:
        assert "STARTTLS" in offered(talk.hello())
        talk.envelope("jane@example.com", "tls.plain@example.org")
        assert talk.data(b"Subject: plain\r\n\r\nhello\r\n").startswith("250 ")
        talk.start_tls(context)
        assert "STARTTLS" not in offered(talk.offers())
        talk.envelope("jane@example.com", "tls.over@example.org")
        assert talk.data(b"Subject: tls\r\n\r\nhello\r\n").startswith("250 ")
    server.wait_for_messages("tls.plain@example.org")
    server.wait_for_messages("tls.over@example.org")


@pytest.mark.parametrize("over_tls", [False, True], ids=["plain", "tls"])
def test_25_never_offers_auth_and_names_the_right_ports(
    server: Server, context: ssl.SSLContext, over_tls: bool
) -> None:
    with Talk(server.port("mx")) as talk:
        lines = talk.hello()
        if over_tls:
            talk.start_tls(context)
            lines = talk.offers()
        assert "AUTH" not in offered(lines)
        reply = talk.ask(f"AUTH PLAIN {plain_response(USERNAME, PASSWORD)}")
        assert reply[:3] in ("502", "503")
        assert "465" in reply
        assert "587" in reply
    server.wait_for_log("event=credentials_misplaced")
    assert PASSWORD not in server.log()
    assert plain_response(USERNAME, PASSWORD) not in server.log()


def test_25_takes_mail_for_our_domains_only(server: Server) -> None:
    with Talk(server.port("mx")) as talk:
        talk.hello()
        talk.envelope("jane@example.com", "tls.ours@example.org")
        assert talk.ask("RCPT TO:<bob@example.com>").startswith("550 5.7.1 ")


def test_587_requires_tls_before_auth_and_mail(server: Server) -> None:
    with Talk(server.port("submission")) as talk:
        keywords = offered(talk.hello())
        assert "STARTTLS" in keywords
        assert "AUTH" not in keywords
        commands = (f"AUTH PLAIN {plain_response(USERNAME, PASSWORD)}", "MAIL FROM:<a@example.org>", "VRFY x", "DATA")
        for command in commands:
            assert talk.ask(command).startswith("530 5.7.0 "), command
        assert talk.ask("NOOP").startswith("250 ")


def test_465_is_tls_from_the_first_octet(server: Server, context: ssl.SSLContext) -> None:
    with Talk(server.port("submissions"), tls=context) as talk:
        keywords = offered(talk.hello())
        assert "STARTTLS" not in keywords
        assert "AUTH" in keywords
        assert talk.ask("STARTTLS")[:3] in ("502", "503")
    with Talk(server.port("submissions")) as plain:
        plain.send(b"EHLO client.example.net\r\n")
        assert not plain.rest().startswith("220")


@pytest.mark.parametrize("listener", ["submission", "submissions"])
def test_submission_requires_auth_before_mail(server: Server, context: ssl.SSLContext, listener: str) -> None:
    with open_session(server.port(listener), listener, context) as talk:
        assert talk.ask("MAIL FROM:<alice@example.org>").startswith("530 5.7.0 ")
        talk.log_in(USERNAME, PASSWORD)
        talk.envelope("alice@example.org", f"tls.{listener}@example.org", "far@example.com")
        assert talk.data(b"From: alice@example.org\r\n\r\nhello\r\n").startswith("250 ")
    server.wait_for_messages(f"tls.{listener}@example.org")


def test_login_is_forgotten_at_starttls_only_and_kept_by_ehlo(server: Server, context: ssl.SSLContext) -> None:
    with open_session(server.port("submission"), "submission", context, USERNAME, PASSWORD) as talk:
        assert talk.ask("RSET").startswith("250 ")
        talk.envelope("alice@example.org", "bob@example.org")


# --- STARTTLS: nothing that came in plaintext is obeyed in TLS ------------------------------------------------------

SEGMENTATIONS: dict[str, list[bytes]] = {
    "one segment": [b"STARTTLS\r\n" + INJECTED],
    "two segments": [b"STARTTLS\r\n", INJECTED],
    "every octet": [bytes([octet]) for octet in b"STARTTLS\r\n" + INJECTED],
    "pairs": [(b"STARTTLS\r\n" + INJECTED)[place : place + 2] for place in range(0, 10 + len(INJECTED), 2)],
    "within the line end": [b"STARTTLS\r", b"\n" + INJECTED],
    "within the injected command": [b"STARTTLS\r\nEHLO ev", b"il\r\nMAIL FROM:<evil@example.com>\r\n"],
    "one octet more": [b"STARTTLS\r\nN"],
    "an empty line more": [b"STARTTLS\r\n\r\n"],
    "a NUL more": [b"STARTTLS\r\n\0"],
    "after NOOP": [b"NOOP\r\nSTARTTLS\r\n" + INJECTED],
    "after EHLO": [b"EHLO again\r\nSTARTTLS\r\n" + INJECTED],
    "twice": [b"STARTTLS\r\nSTARTTLS\r\n" + INJECTED],
    "with a TLS record behind": [b"STARTTLS\r\n" + INJECTED + TLS_1_3_HELLO],
    "with a bare line feed": [b"STARTTLS\n" + INJECTED],
    "with QUIT behind": [b"STARTTLS\r\nQUIT\r\n"],
    "a long tail": [b"STARTTLS\r\n" + INJECTED * 500],
}


def send_in_segments(talk: Talk, segments: Sequence[bytes]) -> None:
    """Each in a packet of its own as far as a sender can bring that about; stops when the server closes."""
    with contextlib.suppress(ConnectionError):
        for segment in segments:
            talk.send(segment)
            select.select([talk.socket], [], [], 0.001 if len(segments) > 3 else 0.02)


@pytest.mark.parametrize("listener", ["mx", "submission"])
@pytest.mark.parametrize("name", SEGMENTATIONS)
def test_starttls_discards_injected_commands(server: Server, context: ssl.SSLContext, listener: str, name: str) -> None:
    with Talk(server.port(listener)) as talk:
        talk.hello()
        send_in_segments(talk, SEGMENTATIONS[name])
        replies = []
        while (reply := talk.reply()) and not reply.startswith("220 "):
            replies.append(reply)
            if select.select([talk.socket], [], [], 0.3)[0] == [] and b"\n" not in talk._buffer:
                break
        assert not any(reply.startswith("354") for reply in replies)
        if not reply.startswith("220 "):
            # Dropped, or refused in plaintext: then no handshake is waiting either.
            return
        try:
            talk._buffer = b""
            talk.socket = context.wrap_socket(talk.socket, server_hostname="mail.example.org")
        except (ssl.SSLError, OSError):
            return  # The injected octets were taken for TLS, and were none.
        # TLS came about: then nothing that was injected may have left a trace.
        assert talk.ask("MAIL FROM:<x@example.com>")[:3] in ("503", "530")
        assert talk.offers()
        assert talk.ask("RCPT TO:<victim@example.org>")[:3] in ("503", "530")
        assert talk.ask("NOOP").startswith("250 ")


@pytest.mark.parametrize("listener", ["mx", "submission"])
@pytest.mark.parametrize("before_hello", [False, True], ids=["instead-of-hello", "before-hello"])
def test_plaintext_after_220_is_taken_for_tls(server: Server, listener: str, before_hello: bool) -> None:
    with Talk(server.port(listener)) as talk:
        talk.hello()
        assert talk.ask("STARTTLS").startswith("220 ")
        talk.send(INJECTED + (TLS_1_3_HELLO if before_hello else b""))
        assert "250" not in talk.socket.recv(65_536).decode("latin-1")


def test_everything_said_before_starttls_is_forgotten(server: Server, context: ssl.SSLContext) -> None:
    with Talk(server.port("mx")) as talk:
        talk.hello()
        talk.start_tls(context)
        assert talk.ask("MAIL FROM:<a@example.com>").startswith("503 ")
        talk.offers()
        talk.envelope("a@example.com", "bob@example.org")
        assert talk.ask("STARTTLS").startswith("503 ")


def test_starttls_inside_a_transaction_is_refused(server: Server) -> None:
    with Talk(server.port("mx")) as talk:
        talk.hello()
        talk.envelope("a@example.com", "bob@example.org")
        assert talk.ask("STARTTLS").startswith("503 ")


@pytest.mark.parametrize("command", ["STARTTLS now", "STARTTLS ssl"])
def test_starttls_takes_no_parameter(server: Server, command: str) -> None:
    with Talk(server.port("mx")) as talk:
        talk.hello()
        assert talk.ask(command).startswith("501 ")


# --- AUTH -----------------------------------------------------------------------------------------------------------


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


AS_SOMEBODY_ELSE = b"bob\0alice\0" + PASSWORD.encode()
BAD_LOGINS: dict[str, tuple[list[str], str]] = {
    "no base64": (["AUTH PLAIN ***"], "501 5.5.2"),
    "padding inside": (["AUTH PLAIN YQ==YQ=="], "501 5.5.2"),
    "no NUL": ([f"AUTH PLAIN {encoded(b'alice')}"], "501 5.5.2"),
    "one NUL": ([f"AUTH PLAIN {encoded(b'alice' + bytes(1) + b'secret')}"], "501 5.5.2"),
    "three NULs": ([f"AUTH PLAIN {encoded(bytes(3) + b'secret')}"], "501 5.5.2"),
    "empty name": ([f"AUTH PLAIN {encoded(bytes(1) + bytes(1) + b'secret')}"], "501 5.5.2"),
    "name with CR LF": ([f"AUTH PLAIN {plain_response('a' + chr(13) + chr(10) + 'b', PASSWORD)}"], "5"),
    "somebody else's authority": ([f"AUTH PLAIN {encoded(AS_SOMEBODY_ELSE)}"], "535 5.7.8"),
    "empty initial response": (["AUTH PLAIN ="], "501 5.5.2"),
    "cancelled PLAIN": (["AUTH PLAIN", "*"], "501 5.7.0"),
    "cancelled LOGIN": (["AUTH LOGIN", encoded(b"alice"), "*"], "501 5.7.0"),
    "unknown mechanism": (["AUTH NTLM"], "504 5.5.4"),
    "no mechanism": (["AUTH"], "50"),
    "too long": (["AUTH PLAIN", "A" * 13_000], "500 5.5.6"),
    "long password": ([f"AUTH PLAIN {plain_response('alice', 'x' * 1025)}"], "5"),
    "not UTF-8": ([f"AUTH PLAIN {encoded(bytes(1) + b'al' + bytes([255]) + bytes(1) + b'x')}"], "501 5.5.2"),
    "unknown name": ([f"AUTH PLAIN {plain_response('nobody', PASSWORD)}"], "535 5.7.8"),
    "wrong password": ([f"AUTH PLAIN {plain_response(USERNAME, 'wrong')}"], "535 5.7.8"),
    "wrong password by LOGIN": (["AUTH LOGIN", encoded(b"alice"), encoded(b"wrong")], "535 5.7.8"),
}  # fmt: skip


@pytest.mark.parametrize("listener", ["submission", "submissions"])
@pytest.mark.parametrize("name", BAD_LOGINS)
def test_bad_login_is_refused_and_the_session_lives(
    server: Server, context: ssl.SSLContext, listener: str, name: str
) -> None:
    lines, expected = BAD_LOGINS[name]
    with open_session(server.port(listener), listener, context) as talk:
        for line in lines[:-1]:
            assert talk.ask(line).startswith("334"), line
        reply = talk.ask(lines[-1])
        assert reply.startswith(expected), reply
        if name != "too long":
            assert talk.ask("MAIL FROM:<alice@example.org>").startswith("530 5.7.0 ")
            talk.log_in(USERNAME, PASSWORD)


def test_second_auth_and_auth_in_a_transaction_are_refused(server: Server, context: ssl.SSLContext) -> None:
    with open_session(server.port("submissions"), "submissions", context, USERNAME, PASSWORD) as talk:
        assert talk.ask("AUTH PLAIN").startswith("503 ")
        talk.envelope("alice@example.org", "bob@example.org")
        assert talk.ask("AUTH PLAIN").startswith("503 ")


def test_third_failed_login_ends_the_session(tmp_path: Path) -> None:
    with make_server(tmp_path) as one:
        with open_session(one.port("submissions"), "submissions", trusting(one.ca_file)) as talk:
            for _ in range(2):
                assert talk.ask(f"AUTH PLAIN {plain_response(USERNAME, 'wrong')}").startswith("535 ")
            talk.ask(f"AUTH PLAIN {plain_response(USERNAME, 'wrong')}")
            assert talk.line().startswith("421 ")
            assert talk.rest() == ""
        assert_calm(one)


# --- versions, renegotiation, names ---------------------------------------------------------------------------------


@pytest.mark.peer("openssl")
@pytest.mark.parametrize("listener", LISTENERS)
@pytest.mark.parametrize(
    ("version", "succeeds"), [("-tls1", False), ("-tls1_1", False), ("-tls1_2", True), ("-tls1_3", True)]
)
def test_tls_before_1_2_is_refused(server: Server, listener: str, version: str, succeeds: bool) -> None:
    shown = openssl(server, listener, version, "-cipher", "ALL:@SECLEVEL=0", text="QUIT\n")
    assert ("Cipher is (NONE)" in shown) != succeeds, shown[-1500:]
    assert ("221 2.0.0" in shown) == succeeds, shown[-1500:]


@pytest.mark.peer("openssl")
@pytest.mark.parametrize("listener", LISTENERS)
def test_renegotiation_is_refused(server: Server, listener: str) -> None:
    # "R" at the beginning of a line makes this client ask for a new handshake; at the end of its input it would leave.
    command = client_command(server, listener, "-tls1_2")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as client:
        ends = threading.Timer(30, client.kill)
        ends.start()
        assert client.stdin is not None
        assert client.stdout is not None
        shown = b""
        if listener == "submissions":
            # A greeting in the middle of the new handshake would end it on the client's side.
            while b"\n220 " not in shown and (line := client.stdout.readline()):
                shown += line
        client.stdin.write(b"R\n")
        client.stdin.flush()
        while b"no renegotiation" not in shown and (line := client.stdout.readline()):
            shown += line
        ends.cancel()
        client.kill()
    assert b"RENEGOTIATING" in shown
    assert b"no renegotiation" in shown, shown[-1500:]


def client_command(server: Server, listener: str, *options: str) -> list[str]:
    starttls = [] if listener == "submissions" else ["-starttls", "smtp"]
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{server.port(listener)}", "-CAfile", str(server.ca_file)]
    return [*command, *starttls, *options]


def openssl(server: Server, listener: str, *options: str, text: str) -> str:
    command = client_command(server, listener, "-crlf", "-ign_eof", *options)
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=15, check=False)
    return done.stdout + done.stderr


@pytest.mark.parametrize("listener", LISTENERS)
@pytest.mark.parametrize(
    ("asked", "shown"),
    [("mail.example.org", "mail.example.org"), (EXTRA, EXTRA), ("wrong.example.com", "mail.example.org")],
    ids=["own", "extra", "wrong"],
)
def test_certificate_is_chosen_by_the_name_asked_for(
    server: Server, extra: tuple[Path, Path, Path], listener: str, asked: str, shown: str
) -> None:
    context = trusting(server.ca_file)
    context.load_verify_locations(extra[2])
    with Talk(server.port(listener), tls=context if listener == "submissions" else None, server_name=asked) as talk:
        talk.hello()
        if listener != "submissions":
            talk.start_tls(context, asked)
        assert isinstance(talk.socket, ssl.SSLSocket)
        certificate = talk.socket.getpeercert()
        assert certificate is not None
        assert ("DNS", shown) in certificate["subjectAltName"]


# --- other protocols ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("listener", LISTENERS)
@pytest.mark.parametrize("request_line", [b"GET / HTTP/1.1", b"POST /x HTTP/1.0", b"CONNECT example.com:25 HTTP/1.1"])
def test_http_is_closed_at_its_first_line(
    server: Server, context: ssl.SSLContext, listener: str, request_line: bytes
) -> None:
    before = server.log().count("event=wrong_protocol_seen")
    with Talk(server.port(listener), tls=context if listener == "submissions" else None) as talk:
        assert talk.reply().startswith("220 ")
        body = b"MAIL FROM:<evil@example.com>\r\nRCPT TO:<victim@example.org>\r\nDATA\r\n"
        talk.send(request_line + b"\r\nHost: mail.example.org\r\n\r\n" + body)
        replies = talk.rest().splitlines()
        assert len(replies) <= 1, replies
        assert not replies or replies[0][0] in "45"
    line = server.wait_for_log("event=wrong_protocol_seen", count=before + 1)
    assert "sniffed=http" in line

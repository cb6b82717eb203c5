"""STARTTLS: commands injected before the handshake are never executed, however they are cut."""

import socket
import ssl

import pytest

from tests.inbound.harness import HOSTNAME, Client, Serving

INJECTED = b"RSET\r\nMAIL FROM:<evil@example.com>\r\n"
LISTENERS = ["mx", "submission"]


def greeted(server: Serving, name: str) -> Client:
    client = Client(server.port(name))
    client.reply()
    assert client.ask("EHLO c.example.com").startswith("250 ")
    return client


@pytest.mark.parametrize("name", LISTENERS)
def test_starttls_discards_injected_commands_in_one_segment(server: Serving, name: str) -> None:
    with greeted(server, name) as client:
        client.send(b"STARTTLS\r\n" + INJECTED)
        assert client.rest().startswith("554 5.5.1")
    assert server.events_of("TlsEstablished") == []


@pytest.mark.parametrize("name", LISTENERS)
@pytest.mark.parametrize("cut", range(1, 12))
def test_starttls_discards_injected_commands_in_two_segments(server: Serving, name: str, cut: int) -> None:
    """Whatever reaches us before the handshake ends the session, or is no TLS; none of it is ever a command."""
    octets = b"STARTTLS\r\n" + INJECTED
    with greeted(server, name) as client:
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.send(octets[:cut])
        client.send(octets[cut:])
        answer = client.rest()
    assert "250" not in answer
    assert server.events_of("TlsEstablished") == []


@pytest.mark.parametrize("name", LISTENERS)
def test_starttls_discards_injected_commands_byte_by_byte(server: Serving, name: str) -> None:
    with greeted(server, name) as client:
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for octet in b"STARTTLS\r\n" + INJECTED:
            try:
                client.send(bytes([octet]))
            except OSError:
                break
        assert "250" not in client.rest()


@pytest.mark.parametrize("name", LISTENERS)
def test_starttls_takes_plaintext_after_220_for_broken_tls(server: Serving, name: str) -> None:
    with greeted(server, name) as client:
        assert client.ask("STARTTLS").startswith("220 2.0.0")
        client.send(INJECTED)
        assert b"250" not in client.socket.recv(4096)
    assert server.told("TlsFailed")


def test_starttls_ignores_octets_before_the_handshake_even_if_tls_follows(server: Serving) -> None:
    """The client says EHLO in plain after the 220 and then begins TLS: no session may come of it."""
    with greeted(server, "mx") as client:
        client.ask("STARTTLS")
        client.send(INJECTED)
        with pytest.raises(OSError):  # ssl.SSLError and resets alike
            client.start_tls(server.tls.client)
    assert server.messages() == []


def test_starttls_forgets_what_was_said_before(server: Serving) -> None:
    with greeted(server, "mx") as client:
        client.ask("STARTTLS")
        client.start_tls(server.tls.client)
        assert client.ask("MAIL FROM:<bob@example.com>").startswith("503 5.5.1")
        assert client.ask("EHLO c.example.com").startswith("250 ")
        assert client.ask("STARTTLS").startswith("503 5.5.1")
    (established,) = server.told("TlsEstablished")
    assert (established.version, established.server_name) == ("TLSv1.3", HOSTNAME)


def test_implicit_tls_refuses_plaintext_in_good_order_and_with_a_hint(server: Serving) -> None:
    """The client gets the end (after an alert, where OpenSSL sends one), not a reset, also when it goes on talking."""
    with Client(server.port("submissions")) as client:
        client.send(b"EHLO c.example.com\r\n")
        client.send(b"MAIL FROM:<a@example.com>\r\n" * 100)
        answer = b""
        while data := client.socket.recv(4096):
            answer += data
        assert answer[:2] in (b"", b"\x15\x03")
    (failed,) = server.told("TlsFailed")
    assert "plaintext on a TLS port" in failed.hint


def test_plain_port_names_a_client_that_begins_with_tls(server: Serving) -> None:
    raw = socket.create_connection(("127.0.0.1", server.port("mx")), timeout=10)
    with raw, pytest.raises(OSError):
        server.tls.client.wrap_socket(raw, server_hostname=HOSTNAME)
    (seen,) = server.told("WrongProtocolSeen")
    assert seen.sniffed == "tls"
    assert "465" in seen.hint


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_old_tls_is_refused(server: Serving) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    raw = socket.create_connection(("127.0.0.1", server.port("submissions")), timeout=10)
    with raw, pytest.raises(OSError):
        context.wrap_socket(raw, server_hostname=HOSTNAME)
    (failed,) = server.told("TlsFailed")
    assert "no TLS version in common" in failed.hint

"""Certificate files that change under a running server."""

import smtplib
import socket
import ssl
import time
from pathlib import Path

import pytest

from tests.lab.server import NAMES, Server


def shown(port: int, server: Server, name: str = "mail.example.org") -> set[str]:
    """The names in the certificate that the server shows, verified."""
    context = ssl.create_default_context(cafile=str(server.ca_file))
    with (
        socket.create_connection(("127.0.0.1", port), 20) as plain,
        context.wrap_socket(plain, server_hostname=name) as tls,
    ):
        certificate = tls.getpeercert()
        assert certificate is not None
        return {str(entry[1]) for entry in certificate["subjectAltName"]}


@pytest.mark.slow
def test_changed_certificate_files_are_taken_up_and_broken_ones_are_not(tmp_path: Path) -> None:
    with Server(tmp_path, workers=2) as server:
        port = server.port("submissions")
        context = ssl.create_default_context(cafile=str(server.ca_file))
        with smtplib.SMTP_SSL("127.0.0.1", port, context=context, timeout=60) as session:
            good = server.certificate_file.read_bytes()
            server.certificate_file.write_bytes(good.replace(b"A", b"B", 5))
            line = server.wait_for_log("the old certificate stays in use")
            assert "level=error" in line
            assert "new.example.org" not in shown(port, server)

            server.renew_certificate((*NAMES, "new.example.org"))
            server.wait_for_log('names="mail.example.org localhost new.example.org 127.0.0.1 ::1"')
            # Each worker looks for itself.
            deadline = time.monotonic() + 20
            while not all("new.example.org" in shown(port, server) for _ in range(10)):
                assert time.monotonic() < deadline
                time.sleep(0.2)
            assert session.noop()[0] == 250


def test_certificates_are_chosen_by_the_name_the_client_asks_for(tmp_path: Path) -> None:
    other = Server(tmp_path / "other")
    other.prepare()
    other.renew_certificate(("mail.example.net",))
    server = Server(tmp_path / "server")
    server.config["tls"] = server.config["tls"] | {
        "extra": [{"certificate": str(other.certificate_file), "key": str(other.key_file)}]
    }
    with server:
        port = server.port("submissions")
        assert "mail.example.org" in shown(port, server)
        assert shown(port, other, "mail.example.net") == {"mail.example.net"}


def test_reload_to_unusable_certificates_leaves_the_old_ones(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        line = server.reload({"tls": {"certificate": "/nowhere.pem", "key": str(server.key_file)}})
        assert "tls.certificate: /nowhere.pem: cannot be read" in line
        assert "the old configuration stays in force" in line
        assert "mail.example.org" in shown(server.port("submissions"), server)

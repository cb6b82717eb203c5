"""A real Postfix with a private configuration, on loopback; mail for example.com ends in a Maildir of its own.

With `sasl`, the path of a SASL socket of Dovecot's, its port 465 and 587 ask for a login and take mail for anywhere.
"""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import pytest

from bench.postfix import PrivatePostfix
from tests.lab.waiting import until


class Postfix:
    """Runs while the `with` lasts. Needs root, as Postfix does."""

    def __init__(self, base: Path, certificate: Path, key: Path, *, sasl: Path | None = None, **settings: str) -> None:
        """`settings` are added to main.cf."""
        if os.getuid() != 0:
            pytest.skip("Postfix is started by root only")
        self.base = base
        self.port, self.submission_port, self.submissions_port = free_ports(3)
        self._private = PrivatePostfix(base)
        self.log_file = self._private.log_file
        self._settings: Mapping[str, str] = {
            "myhostname": "postfix.example.com",
            "mynetworks": "192.0.2.1/32",
            "inet_protocols": "ipv4",
            "smtpd_relay_restrictions": "permit_sasl_authenticated, reject_unauth_destination",
            "virtual_mailbox_domains": "static:ALL",
            "virtual_mailbox_base": str(base / "mail"),
            "virtual_mailbox_maps": "static:inbox/",
            "virtual_uid_maps": "static:65534",
            "virtual_gid_maps": "static:65534",
            "virtual_minimum_uid": "1",
            "virtual_transport": "virtual",
            "smtpd_tls_cert_file": str(certificate),
            "smtpd_tls_key_file": str(key),
            "smtpd_tls_security_level": "may",
            "smtpd_tls_received_header": "yes",
            "smtpd_tls_session_cache_database": "",
            "smtputf8_enable": "no",
            **({"smtpd_sasl_type": "dovecot", "smtpd_sasl_path": str(sasl)} if sasl else {}),
            **settings,
        }

    def __enter__(self) -> Self:
        ports = {"relay": self.port, "submission": self.submission_port, "submissions": self.submissions_port}
        self._private.prepare(ports, self._settings)
        (self.base / "mail").mkdir()
        shutil.chown(self.base / "mail", 65534, 65534)
        open_up(self.base)
        self._private.start()
        until(lambda: answers(self.port), "Postfix's greeting")
        return self

    def __exit__(self, *_: object) -> None:
        self._private.stop()

    def log(self) -> str:
        """What Postfix logged."""
        return self.log_file.read_text() if self.log_file.exists() else ""

    def messages(self) -> list[bytes]:
        """What it delivered so far."""
        new = self.base / "mail" / "inbox" / "new"
        return [path.read_bytes() for path in sorted(new.iterdir())] if new.is_dir() else []

    def wait_for_messages(self, count: int = 1) -> list[bytes]:
        """The same, once there are that many."""
        until(lambda: len(self.messages()) >= count, f"{count} messages; Postfix says:\n{self.log()[-2000:]}")
        return self.messages()

    def is_idle(self) -> bool:
        """True when nothing waits in its queues."""
        queues = ("incoming", "active", "deferred", "maildrop")
        spool = self.base / "spool"
        return not [path for queue in queues for path in (spool / queue).rglob("*") if path.is_file()]


def free_ports(count: int) -> list[int]:
    """Ports on 127.0.0.1 that nobody uses now, each another."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


def answers(port: int) -> bool:
    """True when something accepts on that port of 127.0.0.1."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def open_up(directory: Path) -> None:
    """Let other accounts through to a directory below the test's own."""
    for path in (directory, *directory.parents):
        if path.stat().st_uid != os.getuid() or path == Path("/tmp") or path.stat().st_mode & 0o1000:
            break
        path.chmod(0o755)

"""What /proc tells."""

import os
import socket
import subprocess
import sys
from ipaddress import ip_address

import pytest

from postreeve.app.process import describe, listener_on, own_addresses


def test_describe_gives_the_command_line_within_bounds() -> None:
    assert "pytest" in describe(os.getpid()) or "python" in describe(os.getpid())
    code = "import time; time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", code, "\x1b[31m" + "x" * 500])
    try:
        text = describe(process.pid)
        assert len(text) <= 201
        assert text.isprintable()
    finally:
        process.kill()
        process.wait()
    assert describe(2**22 + 1) == ""


@pytest.mark.parametrize(
    ("bound", "asked", "is_found"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "0.0.0.0", True),
        ("0.0.0.0", "127.0.0.1", True),
        ("127.0.0.2", "127.0.0.1", False),
        ("::1", "::1", True),
        ("::", "::1", True),
    ],
)
def test_listener_on_finds_who_listens(bound: str, asked: str, is_found: bool) -> None:
    family = socket.AF_INET6 if ":" in bound else socket.AF_INET
    with socket.create_server((bound, 0), family=family) as one:
        found = listener_on(one.getsockname()[1], ip_address(asked))
    assert (found == os.getpid()) is is_found


def test_own_addresses_have_what_the_system_would_answer_from() -> None:
    assert {"127.0.0.1", "::1"} <= own_addresses()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        try:
            one.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no IPv4 route")
        assert one.getsockname()[0] in own_addresses()

"""What needs a terminal or the rights of root."""

from __future__ import annotations

import os
import pty
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import CONFIG, Desk
from tests.cli.mail import message

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another account")


def run(*words: str, text: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "postreeve", *words]
    return subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that any account can reach."""
    path = Path(tempfile.mkdtemp())
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@needs_root
def test_root_works_with_the_rights_of_the_servers_account(open_directory: Path) -> None:
    config = open_directory / "postreeve.toml"
    config.write_text(CONFIG.replace('user = ""', 'user = "nobody"'))
    done = run("user", "add", "alice@example.org", "--password-stdin", "--config", str(config), text="long-enough\n")
    assert (done.returncode, done.stderr) == (0, "")
    nobody = pwd.getpwnam("nobody").pw_uid
    found = [open_directory / "data", *(open_directory / "data").iterdir()]
    assert {path.stat().st_uid for path in found} == {nobody}
    assert (open_directory / "data").stat().st_mode & 0o777 == 0o700
    assert (open_directory / "data" / "accounts.db").stat().st_mode & 0o077 == 0


@needs_root
def test_directory_of_somebody_else_is_named(open_directory: Path) -> None:
    config = open_directory / "postreeve.toml"
    config.write_text(CONFIG.replace('user = ""', 'user = "nobody"'))
    (open_directory / "data").mkdir(mode=0o700)
    done = run("queue", "list", "--config", str(config))
    assert done.returncode == 1
    assert done.stderr == (
        f"postreeve: data directory {open_directory / 'data'} cannot be read: Permission denied "
        "(run this as nobody or as root)\n"
    )


def on_terminal(*words: str) -> bytes:
    """What a terminal gets to see."""
    parent, child = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "NO_COLOR": "1", "COLUMNS": "200"}
    command = [sys.executable, "-m", "postreeve", *words]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=child, env=environment) as process:
        os.close(child)
        seen = b""
        while True:
            try:
                piece = os.read(parent, 65_536)
            except OSError:
                break
            if not piece:
                break
            seen += piece
        assert process.wait(30) == 0
    os.close(parent)
    return seen


def test_content_cannot_steer_a_terminal(desk: Desk) -> None:
    hostile = b"Subject: \x1b]0;owned\x07\r\n\r\n\x1b[2J\x9b31m \xc2\x9b1m\r\nplain \xc3\xa4\r\n"
    (name,) = desk.accept(message(content=hostile))
    for option in ("--content", "--headers"):
        seen = on_terminal("queue", "show", name, option, "--config", str(desk.config))
        assert b"\\x1b]0;owned\\x07" in seen
        assert not set(b"\x1b\x07") & set(seen)
        assert b"\xc2\x9b" not in seen
    assert "plain ä".encode() in on_terminal("queue", "show", name, "--content", "--config", str(desk.config))


def test_list_on_a_terminal_has_no_colour_with_no_color(desk: Desk) -> None:
    desk.accept(message())
    seen = on_terminal("queue", "list", "--config", str(desk.config))
    assert b"alice@example.org" in seen
    assert b"\x1b[3" not in seen
    assert b"\x1b[9" not in seen

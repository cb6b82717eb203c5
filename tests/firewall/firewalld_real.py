"""The real firewalld, with a message bus of its own, in network and mount namespaces, on copies of its files."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

_START = """
set -eu
mount --make-rprivate /
mount --bind "$1/etc" /etc/firewalld
mount -t tmpfs tmpfs /run
mkdir -p /run/dbus
ip link set lo up
bus=$(dbus-daemon --system --fork --print-pid)
firewalld --nofork --nopid >"$1/log" 2>&1 &
daemon=$!
trap 'kill $daemon; wait $daemon || :; kill $bus' EXIT
tries=0
until firewall-cmd --state >/dev/null 2>&1; do
    tries=$((tries + 1))
    [ $tries -lt 100 ] || { cat "$1/log" >&2; exit 1; }
    sleep 0.1
done
sh -eu "$1/commands"
cat "$1/log" >&2
"""


def within(commands: str, files: Iterable[tuple[str, str]] = ()) -> str:
    """What the commands print while firewalld runs with these files; neither they nor its log may name an error."""
    with tempfile.TemporaryDirectory() as name:
        etc = Path(name, "etc")
        shutil.copytree("/etc/firewalld", etc)
        place(etc, files)
        Path(name, "commands").write_text(commands)
        done = subprocess.run(
            ["unshare", "--net", "--mount", "sh", "-c", _START, "sh", name],
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ERROR" not in done.stderr, done.stderr
    return done.stdout


def place(directory: Path, files: Iterable[tuple[str, str]]) -> None:
    """Write files by their paths below /etc/firewalld."""
    for path, text in files:
        target = directory / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)


def offline(directory: Path, *words: str) -> tuple[int, str, str]:
    """firewall-offline-cmd on a directory that looks like /etc/firewalld."""
    config = directory / "firewalld.conf"
    if not config.exists():
        directory.mkdir(parents=True, exist_ok=True)
        shutil.copy("/etc/firewalld/firewalld.conf", config)
    done = subprocess.run(
        ["firewall-offline-cmd", f"--system-config={directory}", *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr

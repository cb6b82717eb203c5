"""The real ufw, enabled and reset in a network namespace, on copies of its files.


`within` runs sh commands where /etc/ufw, /lib/ufw and /etc/default/ufw are copies and the network is empty; root only.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

_PLACES = ("/etc/ufw", "/lib/ufw", "/etc/default/ufw")


def within(commands: str, *, timeout_seconds: int = 100) -> str:
    """What the commands print; they must succeed."""
    with tempfile.TemporaryDirectory() as name:
        lines = ["set -eu", "mount --make-rprivate /"]
        for number, place in enumerate(_PLACES):
            copy = Path(name, str(number))
            if Path(place).is_dir():
                shutil.copytree(place, copy)
            else:
                shutil.copy(place, copy)
            lines.append(f"mount --bind '{copy}' {place}")
        script = "\n".join((*lines, "ip link set lo up", commands))
        done = subprocess.run(
            ["unshare", "--net", "--mount", "sh", "-c", script],
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
            check=False,
        )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout

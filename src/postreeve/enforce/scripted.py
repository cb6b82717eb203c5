"""The way of a machine that ufw or firewalld looks after: told in its own commands, brought back from its own files.

Not one transaction: killed half-way, some of the new rules may be there until the watch has brought back the old files.
Banned addresses are refused by a table of our own beside theirs: a drop there is final, and it accepts everything else.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from postreeve.enforce import durable, nft
from postreeve.enforce.command import attempt, run
from postreeve.enforce.place import Place
from postreeve.firewall.flow import Policy

_BEFORE: Final = "before.json"
_SCRIPT_SECONDS: Final = 300.0
_MAX_FILE_OCTETS: Final = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Scripted:
    """`files` are patterns below the machine's root: what is in them is what this firewall is. See `way.Way`."""

    files: tuple[str, ...]
    reload: tuple[str, ...]

    def check(self, place: Place, rules: str, policy: Policy) -> None:
        """See `way.Way`. The words are looked at by the shell only: they are checked by the manager as they are run."""
        run(place, self.reload[0], "--version")
        run(place, "sh", "-n", text=rules)

    def snapshot(self, place: Place, directory: Path) -> None:
        """See `way.Way`."""
        document = {"files": self._read(place), "table": nft.list_own(place)}
        durable.write(directory / _BEFORE, json.dumps(document))

    def load(self, place: Place, rules: str, policy: Policy) -> None:
        """See `way.Way`."""
        script = place.state / "load.sh"
        durable.write(script, rules)
        run(place, "sh", str(script), timeout_seconds=_SCRIPT_SECONDS)

    def restore(self, place: Place, directory: Path) -> None:
        """See `way.Way`."""
        before = json.loads((directory / _BEFORE).read_text())
        now = self._read(place)
        for name in now.keys() - before["files"].keys():
            durable.remove(place.root / name)
        for name, (mode, text) in before["files"].items():
            if now.get(name) != [mode, text]:
                (place.root / name).parent.mkdir(parents=True, exist_ok=True)
                durable.write(place.root / name, text, mode)
        bans = nft.list_bans(place) if nft.list_own(place) is not None else {}
        nft.load(place, nft.restoring(before["table"], bans))
        run(place, *self.reload, timeout_seconds=_SCRIPT_SECONDS)

    def persist(self, place: Place, rules: str) -> None:
        """See `way.Way`. The manager has written its own files."""

    def live(self, place: Place) -> str | None:
        """See `way.Way`. A digest of the manager's files, and whether it is at work."""
        is_at_work = attempt(place, *self.reload[:1], "--version").status == 0
        text = json.dumps(self._read(place), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest() if is_at_work else None

    def drift(self, place: Place, rules: str) -> str:
        """See `way.Way`. What is in force and what is loaded at the next start are the same files."""
        return ""

    def _read(self, place: Place) -> dict[str, list[int | str]]:
        found: dict[str, list[int | str]] = {}
        for pattern in self.files:
            for path in sorted(place.root.glob(pattern)):
                if path.is_file() and path.stat().st_size <= _MAX_FILE_OCTETS:
                    text = path.read_bytes().decode("utf-8", "surrogateescape")
                    found[str(path.relative_to(place.root))] = [path.stat().st_mode & 0o777, text]
        return found


UFW: Final = Scripted(("etc/ufw/*.rules", "etc/ufw/ufw.conf", "etc/default/ufw"), ("ufw", "reload"))
FIREWALLD: Final = Scripted(("etc/firewalld/*.conf", "etc/firewalld/*/*.xml"), ("firewall-cmd", "--reload"))

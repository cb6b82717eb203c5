"""What was applied last, and what became of it: one small file, changed only while its lock is held."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final

from postreeve.enforce import durable
from postreeve.enforce.owner import Owner
from postreeve.enforce.place import Place
from postreeve.mail.error import PostreeveError

_PATIENCE_SECONDS: Final = 60.0
_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")


class Phase(Enum):
    """Where it stands."""

    PENDING = "pending"
    """Loaded, or about to be; the old rules come back unless somebody confirms."""
    CONFIRMED = "confirmed"
    RESTORED = "restored"
    """What was there before is there again."""


@dataclass(frozen=True, slots=True)
class Record:
    """One `apply`. `until` is in seconds of the clock that counts from the machine's start, sleep included."""

    ident: str
    phase: Phase
    owner: Owner
    began: float
    until: float
    boot: str
    ended: float = 0.0
    """When it was confirmed or restored; POSIX seconds, as `began`."""
    because: str = ""
    """Why it was restored."""

    @property
    def is_of_this_start(self) -> bool:
        """False when the machine was started anew since: what was loaded then is gone."""
        return self.boot == boot()


class RecordDamaged(PostreeveError):
    """The file is not what we write."""


def boot() -> str:
    """Which start of the machine this is."""
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return ""


def clock() -> float:
    """Seconds since the machine's start, sleep included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def directory_of(place: Place, ident: str) -> Path:
    """Where the snapshot of an `apply` is, and the rules that it brought."""
    return place.state / "snapshots" / ident


def read_record(place: Place) -> Record | None:
    """None when nothing was ever applied. Raises RecordDamaged."""
    path = place.state / "record.json"
    try:
        document: dict[str, Any] = json.loads(path.read_text())
        return Record(
            ident=str(document["ident"]),
            phase=Phase(document["phase"]),
            owner=Owner(document["owner"]),
            began=float(document["began"]),
            until=float(document["until"]),
            boot=str(document["boot"]),
            ended=float(document["ended"]),
            because=str(document["because"]),
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise RecordDamaged(f"{path} cannot be read: {problem}") from None


def write_record(place: Place, record: Record) -> None:
    """On stable storage when this returns. The caller holds `lock_record`."""
    document = asdict(record) | {"phase": record.phase.value, "owner": record.owner.value}
    durable.write(place.state / "record.json", json.dumps(document, indent=2) + "\n")


def lock_record(place: Place) -> AbstractContextManager[None]:
    """Nobody else changes the record meanwhile."""
    busy = "somebody else is restoring or confirming the firewall just now"
    return durable.lock(place.state / "record.lock", busy, _PATIENCE_SECONDS)


def lock_apply(place: Place) -> AbstractContextManager[None]:
    """One `apply` at a time."""
    return durable.lock(place.state / "apply.lock", "another `firewall apply` is at work")


def lock_watch(place: Place, patience_seconds: float = 0.0) -> AbstractContextManager[None]:
    """Held by the process that watches over a pending one, as long as it lives."""
    return durable.lock(place.state / "watch.lock", "somebody watches already", patience_seconds)


def is_watched(place: Place) -> bool:
    """True while there is somebody who will bring the old rules back."""
    try:
        with lock_watch(place):
            return False
    except durable.Busy:
        return True


@contextlib.contextmanager
def prepared(place: Place) -> Iterator[None]:
    """The state's directory is there, and we are the only `apply`."""
    durable.make_directory(place.state)
    durable.make_directory(place.state / "snapshots")
    with lock_apply(place):
        yield

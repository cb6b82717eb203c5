"""The two ends of a pending `apply`: confirmed, or what was there before is brought back. Whoever is first wins."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Final

from postreeve.enforce import durable
from postreeve.enforce.owner import Owner
from postreeve.enforce.place import Place
from postreeve.enforce.record import (
    Phase,
    Record,
    RecordDamaged,
    boot,
    clock,
    directory_of,
    lock_record,
    read_record,
    write_record,
)
from postreeve.enforce.way import find_way
from postreeve.mail.error import PostreeveError

RULES: Final = "rules"
LIVE: Final = "live"


class NothingPending(PostreeveError):
    """There is nothing to confirm, or to take back."""


def confirm(place: Place) -> Record:
    """Keep the new rules, for every start of the machine too. Raises NothingPending, CommandFailed, OSError."""
    _must_exist(place)
    with lock_record(place):
        record = read_record(place)
        if record is None or record.phase is not Phase.PENDING:
            raise NothingPending(_why_not(record))
        if not record.is_of_this_start:
            raise NothingPending("the machine was started anew meanwhile: the rules from before are in force")
        if clock() >= record.until:
            raise NothingPending("the time to confirm is over, the rules from before come back: apply again")
        directory = directory_of(place, record.ident)
        way = find_way(record.owner)
        live = way.live(place)
        if live is None:
            raise NothingPending("the rules are not loaded: apply again")
        if not (directory / LIVE).exists():
            durable.write(directory / LIVE, live)
        way.persist(place, (directory / RULES).read_text())
        confirmed = replace(record, phase=Phase.CONFIRMED, ended=time.time())
        write_record(place, confirmed)
    return confirmed


def restore_pending(place: Place, ident: str, because: str) -> bool:
    """Bring back what was there before `ident`, unless it was confirmed or restored meanwhile."""
    with lock_record(place):
        try:
            record = read_record(place)
        except RecordDamaged:
            record = Record(ident, Phase.PENDING, _owner_of(place, ident), time.time(), 0.0, boot())
        if record is None or record.ident != ident or record.phase is not Phase.PENDING:
            return False
        _restore(place, record, because)
    return True


def roll_back(place: Place) -> Record:
    """Bring back what was there before the last `apply`, confirmed or not. Raises NothingPending, CommandFailed."""
    _must_exist(place)
    with lock_record(place):
        record = read_record(place)
        if record is None or record.phase is Phase.RESTORED:
            raise NothingPending(_why_not(record))
        return _restore(place, record, "somebody asked for it")


def _restore(place: Place, record: Record, because: str) -> Record:
    find_way(record.owner).restore(place, directory_of(place, record.ident))
    restored = replace(record, phase=Phase.RESTORED, ended=time.time(), because=because)
    write_record(place, restored)
    return restored


def _owner_of(place: Place, ident: str) -> Owner:
    return Owner((directory_of(place, ident) / "owner").read_text().strip())


def _must_exist(place: Place) -> None:
    if not place.state.is_dir():
        raise NothingPending(_why_not(None))


def _why_not(record: Record | None) -> str:
    match record:
        case None:
            return "nothing was applied yet: postreeve firewall apply"
        case Record(phase=Phase.CONFIRMED):
            return "it is confirmed already"
        case Record(because=because):
            return f"the rules from before are back: {because}"

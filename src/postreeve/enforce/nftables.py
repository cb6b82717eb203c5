"""The way of a machine whose firewall is our own table: loaded in one transaction, kept in a file for every start."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from postreeve.enforce import durable, nft
from postreeve.enforce.command import CommandFailed
from postreeve.enforce.place import Place
from postreeve.firewall.flow import Policy

_BEFORE: Final = "before.json"


class Nftables:
    """See `way.Way`."""

    __slots__ = ()

    def check(self, place: Place, rules: str, policy: Policy) -> None:
        """See `way.Way`."""
        nft.check(place, rules)

    def snapshot(self, place: Place, directory: Path) -> None:
        """See `way.Way`."""
        document = {"table": nft.list_own(place), "file": _text_of(place.rules)}
        durable.write(directory / _BEFORE, json.dumps(document))

    def load(self, place: Place, rules: str, policy: Policy) -> None:
        """See `way.Way`."""
        nft.load(place, rules)

    def restore(self, place: Place, directory: Path) -> None:
        """See `way.Way`. Who was banned meanwhile stays banned."""
        before = json.loads((directory / _BEFORE).read_text())
        try:
            bans = nft.list_bans(place)
        except CommandFailed:
            bans = {}
        try:
            nft.load(place, nft.restoring(before["table"], bans))
        except CommandFailed:
            if not any(bans.values()):
                raise
            nft.load(place, nft.restoring(before["table"], {}))
        if before["file"] is None:
            durable.remove(place.rules)
        elif before["file"] != _text_of(place.rules):
            durable.write(place.rules, before["file"], 0o644)

    def persist(self, place: Place, rules: str) -> None:
        """See `way.Way`."""
        place.rules.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        durable.write(place.rules, rules, 0o644)

    def live(self, place: Place) -> str | None:
        """See `way.Way`."""
        return nft.list_own(place)

    def drift(self, place: Place, rules: str) -> str:
        """See `way.Way`."""
        text = _text_of(place.rules)
        if text is None:
            return f"{place.rules} is missing"
        return "" if text == rules else f"{place.rules} has other rules"


def _text_of(path: Path) -> str | None:
    try:
        return path.read_text()
    except FileNotFoundError:
        return None

"""The rules in force on this machine as texts that load elsewhere, each with the command that loads it. Reads only.

Tables that iptables made hold expressions that nft prints and does not take back: those go by iptables-save.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from postreeve.enforce.command import CommandFailed, Failure, attempt, run
from postreeve.enforce.place import Place
from postreeve.enforce.rehearse import Load

_FAMILIES: Final = (("iptables", "ip"), ("ip6tables", "ip6"))


def read_loads(place: Place) -> tuple[Load, ...]:
    """All of it, sets before the rules that name them. Raises CommandFailed."""
    return tuple(_loads(place))


def _loads(place: Place) -> Iterator[Load]:
    sets = _try(place, "ipset", "save")
    if sets:
        yield Load(("ipset", "restore"), sets)
    hidden: set[tuple[str, str]] = set()
    for variant in ("legacy", "nft"):
        for program, family in _FAMILIES:
            saved = _try(place, f"{program}-{variant}-save")
            if any(line.startswith(("-A", "-N")) or " DROP " in line for line in saved.splitlines()):
                yield Load((f"{program}-{variant}-restore",), saved)
                if variant == "nft":
                    hidden |= {(family, line[1:]) for line in saved.splitlines() if line.startswith("*")}
    listed: Any = json.loads(run(place, "nft", "-j", "list", "tables") or "{}")
    for item in listed.get("nftables", ()):
        if "table" in item and (key := (item["table"]["family"], item["table"]["name"])) not in hidden:
            yield Load(("nft", "-f", "-"), run(place, "nft", "-s", "list", "table", *key))


def _try(place: Place, *words: str) -> str:
    """What it prints; nothing where there is no such program, or the kernel has nothing for it."""
    try:
        done = attempt(place, *words)
    except CommandFailed as problem:
        if problem.failure is Failure.MISSING:
            return ""
        raise
    return "" if done.status else done.out

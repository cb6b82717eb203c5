"""nft(8): check, load in one transaction, list. Only our own table is ever written."""

from __future__ import annotations

import json
from typing import Any, Final

from postreeve.enforce.command import CommandFailed, Failure, attempt, run, shorten
from postreeve.enforce.place import Place

FAMILY: Final = "inet"
TABLE: Final = "postreeve"
_ABSENT: Final = "No such file or directory"
_LOAD_SECONDS: Final = 30.0


def check(place: Place, rules: str) -> None:
    """Raises CommandFailed with nft's words when the kernel would not take these rules. Nothing is changed."""
    run(place, "nft", "-c", "-f", "-", text=rules, timeout_seconds=_LOAD_SECONDS)


def load(place: Place, rules: str) -> None:
    """All of it or nothing. Raises CommandFailed; after Failure.SLOW it is one of the two, and not known which."""
    run(place, "nft", "-f", "-", text=rules, timeout_seconds=_LOAD_SECONDS)


def list_own(place: Place) -> str | None:
    """Our table in nft's words, without what is in its sets; None when there is none."""
    done = attempt(place, "nft", "-t", "-s", "list", "table", FAMILY, TABLE, timeout_seconds=_LOAD_SECONDS)
    if done.status == 0:
        return done.out
    if _ABSENT in done.err:
        return None
    is_forbidden = "Operation not permitted" in done.err
    raise CommandFailed("nft", Failure.FORBIDDEN if is_forbidden else Failure.REFUSED, shorten(done.err))


def list_ruleset(place: Place) -> str:
    """Everything that the kernel has, as JSON, for `firewall.read.nftables`."""
    return run(place, "nft", "-j", "list", "ruleset", timeout_seconds=_LOAD_SECONDS)


def list_bans(place: Place) -> dict[str, list[tuple[str, int]]]:
    """The sets of banned addresses that there are: address or prefix, and the seconds it has left (0: for good)."""
    text = run(place, "nft", "-j", "list", "table", FAMILY, TABLE, timeout_seconds=_LOAD_SECONDS)
    found: dict[str, list[tuple[str, int]]] = {}
    try:
        for entry in json.loads(text)["nftables"]:
            known = entry.get("set")
            if known is not None and "dynamic" not in known.get("flags", ()):
                found[str(known["name"])] = [_member(one) for one in known.get("elem", ())]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise CommandFailed("nft", Failure.REFUSED, "its list is not what nft usually prints") from None
    return found


def _member(document: Any) -> tuple[str, int]:
    body = document.get("elem", document) if isinstance(document, dict) else {"val": document}
    value = body.get("val", body)
    if isinstance(value, dict):
        value = f"{value['prefix']['addr']}/{value['prefix']['len']}"
    return str(value), int(body.get("expires", 0))


def restoring(before: str | None, bans: dict[str, list[tuple[str, int]]]) -> str:
    """The transaction that brings back `before` (as `list_own` gave it), with who is banned now still banned."""
    lines = [f"add table {FAMILY} {TABLE}", f"delete table {FAMILY} {TABLE}"]
    if before is None:
        return "\n".join(lines) + "\n"
    lines.append(before)
    for name, members in bans.items():
        if not members or f"set {name} {{" not in before:
            continue
        entries = (f"{value} timeout {left}s" if left > 0 else value for value, left in members)
        lines.append(f"add element {FAMILY} {TABLE} {name} {{ {', '.join(entries)} }}")
    return "\n".join(lines) + "\n"


def has_tables_of_others(place: Place) -> bool:
    """True when somebody else has rules in nftables too."""
    words = [line.split() for line in run(place, "nft", "list", "tables").splitlines() if line.startswith("table ")]
    return any(line[1:] != [FAMILY, TABLE] for line in words)

"""The tables of submission services and of networks that block ports, as the program reads them.

python tools/port_data.py            write providers.json and networks.json beside their TOML
python tools/port_data.py --check    exit 1 when they are not what would be written

The TOML is what people edit. Every row is checked here, so that the program need not: a wrong word stops `make docs`.
"""

import argparse
import datetime
import json
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

DATA = Path(__file__).resolve().parent.parent / "src" / "postreeve" / "ports" / "data"
MODES = {"implicit", "starttls", "plain"}
USERS = {"address", "local-part", "fixed", "account", "none"}
STATUSES = {"blocked", "open", "limited", "mixed"}
KINDS = {"cloud", "platform", "access"}
DMI_FIELDS = {
    "sys_vendor", "product_name", "product_serial", "product_uuid", "chassis_asset_tag", "bios_vendor", "board_name",
}  # fmt: skip
PROVIDER_KEYS = {
    "id", "name", "hosts", "regions", "domains", "ports", "user", "user_name", "password", "mechanisms",
    "is_oauth_only", "is_sandbox", "is_local", "notes", "unconfirmed_notes", "disagreements", "sources", "checked_on",
    "is_confirmed",
}  # fmt: skip
NETWORK_KEYS = {
    "id", "name", "kind", "ports", "unblock", "notes", "unconfirmed_notes", "dmi", "environment", "sources",
    "checked_on", "is_confirmed",
}  # fmt: skip


class BadRow(Exception):
    """A row that cannot be used, and why."""


def _demand(is_right: bool, row: Mapping[str, Any], problem: str) -> None:
    if not is_right:
        raise BadRow(f"{row.get('id', '?')}: {problem}")


def _doubt(text: str) -> tuple[str, bool]:
    """The text without its question mark, and whether it is confirmed."""
    return text.removesuffix("?").strip(), not text.endswith("?")


def _shared(row: Mapping[str, Any], keys: set[str]) -> dict[str, Any]:
    _demand(set(row) <= keys, row, f"unknown keys {sorted(set(row) - keys)}")
    for key in ("id", "name", "ports", "sources", "checked_on"):
        _demand(bool(row.get(key)), row, f"no {key}")
    _demand(isinstance(row["checked_on"], datetime.date), row, "checked_on is no date")
    notes = [[text, True] for text in row.get("notes", [])] + [
        [text, False] for text in row.get("unconfirmed_notes", [])
    ]
    return {
        "id": row["id"],
        "name": row["name"],
        "notes": notes,
        "sources": row["sources"],
        "checked_on": row["checked_on"].isoformat(),
        "is_confirmed": row.get("is_confirmed", True),
    }


def make_provider(row: Mapping[str, Any], sources: Mapping[str, str]) -> dict[str, Any]:
    """One row of providers.json."""
    made = _shared(row, PROVIDER_KEYS)
    _demand(row.get("user") in USERS, row, f"user is one of {sorted(USERS)}")
    _demand((row["user"] == "fixed") == ("user_name" in row), row, "user_name goes with user = fixed")
    _demand("{region}" in row["hosts"][0] or not row.get("regions"), row, "regions without {region}")
    ports = []
    for text in row["ports"]:
        words, is_confirmed = _doubt(text)
        number, _, mode = words.partition(" ")
        _demand(number.isdigit() and mode in MODES, row, f"not a port and a mode: {text!r}")
        ports.append([int(number), mode, is_confirmed])
    return made | {
        "sources": [sources.get(name, name) for name in row["sources"]],
        "hosts": [list(_doubt(text)) for text in row["hosts"]],
        "regions": row.get("regions", []),
        "domains": row.get("domains", []),
        "ports": ports,
        "user": row["user"],
        "user_name": row.get("user_name", ""),
        "password": row["password"],
        "mechanisms": row.get("mechanisms", []),
        "is_oauth_only": row.get("is_oauth_only", False),
        "is_sandbox": row.get("is_sandbox", False),
        "is_local": row.get("is_local", False),
        "disagreements": row.get("disagreements", []),
    }


def make_network(row: Mapping[str, Any]) -> dict[str, Any]:
    """One row of networks.json."""
    made = _shared(row, NETWORK_KEYS)
    _demand(row.get("kind") in KINDS, row, f"kind is one of {sorted(KINDS)}")
    ports = []
    for number, text in row["ports"].items():
        status, is_confirmed = _doubt(text)
        _demand(number.isdigit() and status in STATUSES, row, f"not a port and a status: {number} {text!r}")
        ports.append([int(number), status, is_confirmed])
    for one in row.get("dmi", []):
        _demand(one["field"] in DMI_FIELDS, row, f"unknown DMI field {one['field']}")
    return made | {
        "kind": row["kind"],
        "ports": ports,
        "unblock": row["unblock"],
        "dmi": [[one["field"], one["value"]] for one in row.get("dmi", [])],
        "environment": row.get("environment", []),
    }


def draw(name: str) -> str:
    """The JSON for one table, one row a line."""
    document = tomllib.loads((DATA / f"{name}s.toml").read_text())
    sources = document.get("source", {})
    rows = [make_provider(row, sources) if name == "provider" else make_network(row) for row in document[name]]
    names = [row["id"] for row in rows]
    twice = {one for one in names if names.count(one) > 1}
    if twice:
        raise BadRow(f"ids given twice: {sorted(twice)}")
    return "[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n"


def main() -> int:
    """Write both files, or check that they are fresh."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    is_check = parser.parse_args().check
    stale = []
    for name in ("provider", "network"):
        path = DATA / f"{name}s.json"
        try:
            text = draw(name)
        except BadRow as problem:
            sys.stderr.write(f"{name}s.toml: {problem}\n")
            return 1
        if is_check:
            stale += [path.name] if not path.is_file() or path.read_text() != text else []
        else:
            path.write_text(text)
    if stale:
        sys.stderr.write(f"stale: {', '.join(stale)}; run `make docs`\n")
    return 1 if stale else 0


if __name__ == "__main__":
    raise SystemExit(main())

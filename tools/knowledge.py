"""Compiles the knowledge of failures: TOML is what people write, JSON what the program reads, pages what users read.

    python tools/knowledge.py            write catalogue.json, patterns.json and docs/causes/
    python tools/knowledge.py --check    exit 1 when one of them is not what would be written
"""

import argparse
import json
import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
KNOWLEDGE = ROOT / "src" / "postreeve" / "checks" / "knowledge"
PAGES = ROOT / "docs" / "causes"
STAGES = ("dns", "tcp", "banner", "ehlo", "tls", "cert", "auth", "mail", "rcpt", "data", "proto", "client")
REQUIRED = ("id", "stage", "title", "cause", "fix", "decide_by")


def read_causes(folder: Path = KNOWLEDGE) -> list[dict[str, Any]]:
    """Every cause of causes.toml and probe_causes.toml, by stage; a row that is wrong ends the program."""
    rows: dict[str, dict[str, Any]] = {}
    for name in ("causes.toml", "probe_causes.toml"):
        path = folder / name
        if not path.exists():
            continue
        for row in tomllib.loads(path.read_text()).get("cause", []):
            missing = [key for key in REQUIRED if not row.get(key)]
            unknown = set(row) - {*REQUIRED, "references", "narrows"}
            if missing or unknown or row["id"] in rows or row["stage"] not in STAGES:
                raise SystemExit(f"{name}: {row.get('id')}: twice, bad stage, missing {missing} or unknown {unknown}")
            rows[row["id"]] = {"references": [], "narrows": ""} | row
    for row in rows.values():
        if row["narrows"] and row["narrows"] not in rows:
            raise SystemExit(f"{row['id']}: narrows {row['narrows']}, which does not exist")
    return sorted(rows.values(), key=lambda row: STAGES.index(row["stage"]))


def render() -> dict[Path, str]:
    """What each generated file holds."""
    return {KNOWLEDGE / "catalogue.json": _json(read_causes())}


def _json(rows: list[dict[str, Any]]) -> str:
    return "[\n" + ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n]\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    stale = [path for path, text in render().items() if not path.exists() or path.read_text() != text]
    if not check:
        for path in stale:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(render()[path])
        return 0
    for path in stale:
        print(f"{path.relative_to(ROOT)} is not what tools/knowledge.py writes: run make docs")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())

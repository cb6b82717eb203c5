"""Compiles the knowledge of failures: TOML is what people write, JSON what the program reads, pages what users read.

python tools/knowledge.py            write catalogue.json, patterns.json and docs/causes/
python tools/knowledge.py --check    exit 1 when one of them is not what would be written
"""

import argparse
import json
import re
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
KNOWLEDGE = ROOT / "src" / "postreeve" / "checks" / "knowledge"
PAGES = ROOT / "docs" / "causes"
STAGES = {
    "dns": "Names",
    "tcp": "Connecting",
    "banner": "The greeting",
    "ehlo": "EHLO",
    "tls": "TLS",
    "cert": "Certificates",
    "auth": "Authentication",
    "mail": "The sender",
    "rcpt": "The recipient",
    "data": "The message",
    "proto": "The protocol",
    "client": "The client",
}
REQUIRED = ("id", "stage", "title", "cause", "fix", "decide_by")
TIERS = ("exact", "umbrella", "fallback")
FACTS = {"port", "library", "mode", "command", "text", "family", "loopback", "address_as_host"}
BLANK = re.compile(r"\{(host|port|address|domain|name|sender|recipient)\}")


def read_causes(folder: Path = KNOWLEDGE) -> list[dict[str, Any]]:
    """Every cause of causes.toml and probe_causes.toml, by stage; a row that is wrong ends the program."""
    rows: dict[str, dict[str, Any]] = {}
    for name in ("causes.toml", "probe_causes.toml"):
        path = folder / name
        for row in tomllib.loads(path.read_text()).get("cause", []) if path.exists() else ():
            missing = [key for key in REQUIRED if not row.get(key)]
            unknown = set(row) - {*REQUIRED, "references", "narrows"}
            if missing or unknown or row["id"] in rows or row["stage"] not in STAGES:
                raise SystemExit(f"{name}: {row.get('id')}: twice, bad stage, missing {missing} or unknown {unknown}")
            rows[row["id"]] = {"references": [], "narrows": ""} | row
    for row in rows.values():
        if row["narrows"] and row["narrows"] not in rows:
            raise SystemExit(f"{row['id']}: narrows {row['narrows']}, which does not exist")
    order = list(STAGES)
    return sorted(rows.values(), key=lambda row: order.index(row["stage"]))


def read_patterns(folder: Path = KNOWLEDGE) -> list[dict[str, Any]]:
    """Every pattern with its examples, by tier and file. The fields are those of `pattern.Pattern`:

    `literals` (lower case, one must occur), `unless` (none may), `regex` (may name groups host, port, address, name,
    command and code, with a number behind to use a name twice), `tier`, `causes` (id = weight; 95 and more decide),
    `when` (rules, the first that holds replaces `causes`), `positive` (two at least) and `negative` (one at least).
    """
    known = {row["id"] for row in read_causes(folder)}
    rows: dict[str, dict[str, Any]] = {}
    for path in sorted((folder / "patterns").glob("*.toml")):
        for given in tomllib.loads(path.read_text())["pattern"]:
            row = {"tier": "exact", "regex": "", "unless": [], "when": []} | given
            problem = find_problem(row, known)
            if problem or row["id"] in rows:
                raise SystemExit(f"{path.name}: {row['id']}: {problem or 'twice'}")
            rows[row["id"]] = row
    return sorted(rows.values(), key=lambda row: TIERS.index(row["tier"]))


def find_problem(row: dict[str, Any], known: set[str]) -> str:
    """What is wrong with a pattern, or ""."""
    if len(row["positive"]) < 2 or not row["negative"]:
        return "two positive examples and a negative one are wanted"
    if row["tier"] not in TIERS or not row["literals"] or any(one != one.lower() for one in row["literals"]):
        return "bad tier, or literals that are none or not lower case"
    weights = [row["causes"], *(rule["causes"] for rule in row["when"])]
    strangers = {cause for one in weights for cause in one} - known
    if strangers:
        return f"no such causes: {sorted(strangers)}"
    facts = {key for rule in row["when"] for key in rule} - FACTS - {"causes"}
    if facts:
        return f"no such facts: {sorted(facts)}"
    try:
        re.compile(row["regex"], re.IGNORECASE | re.MULTILINE)
    except re.error as problem:
        return f"regex: {problem}"
    return ""


def render() -> dict[Path, str]:
    """What each generated file holds."""
    causes, patterns = read_causes(), read_patterns()
    kept = ("id", "program", "literals", "unless", "regex", "causes", "when")
    compiled = [{key: row[key] for key in kept} | {"tier": TIERS.index(row["tier"])} for row in patterns]
    pages = {PAGES / f"{row['id']}.md": page(row, causes, patterns) for row in causes}
    return {
        KNOWLEDGE / "catalogue.json": _json(causes),
        KNOWLEDGE / "patterns.json": _json(compiled),
        PAGES / "README.md": index(causes),
        **pages,
    }


def page(row: dict[str, Any], causes: list[dict[str, Any]], patterns: list[dict[str, Any]]) -> str:
    """The page of one cause."""
    parts = [
        f"# {row['title']}",
        f"`{row['id']}` · {STAGES[row['stage']].lower()}",
        f"## What is wrong\n\n{_plain(row['cause'])}",
        f"## What to do\n\n{_plain(row['fix'])}",
        f"## What proves it\n\n{_plain(row['decide_by'])}",
    ]
    texts = [text for one in patterns if row["id"] in list(one["causes"])[:2] for text in one["positive"][:3]]
    if texts:
        parts.append("## Texts that point here\n\n" + "\n".join(f"- {_code(text)}" for text in texts[:12]))
    near = [one["id"] for one in causes if one["narrows"] == row["id"]] + ([row["narrows"]] if row["narrows"] else [])
    if near:
        parts.append("## Easily taken for it\n\n" + "\n".join(f"- [{one}]({one}.md)" for one in near))
    if row["references"]:
        parts.append("## More\n\n" + "\n".join(f"- <{one}>" for one in row["references"]))
    return "\n\n".join(parts) + "\n"


def index(causes: list[dict[str, Any]]) -> str:
    """The list of all pages."""
    by_stage: dict[str, list[str]] = defaultdict(list)
    for row in causes:
        by_stage[row["stage"]].append(f"- [{row['title']}]({row['id']}.md) `{row['id']}`")
    head = "# Why mail does not flow\n\nEvery cause that `postreeve explain` and `postreeve probe` may name, by stage."
    body = (f"## {STAGES[stage]}\n\n" + "\n".join(lines) for stage, lines in by_stage.items())
    return "\n\n".join([head, *body]) + "\n"


def _plain(text: str) -> str:
    return BLANK.sub(lambda blank: blank[1].upper(), text)


def _code(text: str) -> str:
    line = " ⏎ ".join(text.splitlines())
    return f"`` {line} ``" if "`" in line else f"`{line}`"


def _json(rows: Iterable[dict[str, Any]]) -> str:
    return "[\n" + ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n]\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    wanted = render()
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text() != text]
    gone = [path for path in PAGES.glob("*.md") if path not in wanted]
    if not check:
        for path in stale:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(wanted[path])
        for path in gone:
            path.unlink()
        return 0
    for path in stale + gone:
        print(f"{path.relative_to(ROOT)} is not what tools/knowledge.py writes: run make docs")
    return 1 if stale or gone else 0


if __name__ == "__main__":
    sys.exit(main())

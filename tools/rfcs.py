"""Draws docs/rfcs.md from docs/rfcs.toml and from the citations in the code and the tests.

    python tools/rfcs.py            write docs/rfcs.md
    python tools/rfcs.py --check    exit 1 when it is not what would be written, or when the list and the code disagree

A citation reads `RFC 5321, section 4.5.2`; several may follow one another: `RFC 5321, sections 4.5.4 and 5; 7505`.
"""

import argparse
import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIST = ROOT / "docs" / "rfcs.toml"
PAGE = ROOT / "docs" / "rfcs.md"
OWN_TEST = ROOT / "tests" / "tools" / "test_rfcs.py"  # its citations are examples, no evidence
STATUSES = ("yes", "part", "no")

SECTION = r"(?:\d{1,2}(?:\.\d+)*|[A-Z](?:\.\d+)*)\b"
BETWEEN = r"\s*(?:,|;|/|–|,?\s+and|,?\s+or|\s+to)\s*"
SECTIONS = re.compile(rf",?\s+(?:sections?|appendix|appendices)\s+(?P<list>{SECTION}(?:{BETWEEN}{SECTION})*)")
START = re.compile(r"\bRFCs?\s+(?P<number>\d{3,5})\b")
NEXT = re.compile(rf"{BETWEEN}(?P<number>\d{{4}})\b(?!\.\d)")


@dataclass(frozen=True, slots=True)
class Rfc:
    """One row of docs/rfcs.toml."""

    number: int
    title: str
    status: str
    note: str = ""
    tests: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Citation:
    """One place that cites a section, or with an empty section the whole document."""

    number: int
    section: str
    path: str
    where: str


def read_list(path: Path = LIST) -> dict[int, Rfc]:
    """The list, by number; a row that is wrong ends the program with its reason."""
    rows: dict[int, Rfc] = {}
    for row in tomllib.loads(path.read_text())["rfc"]:
        rfc = Rfc(**{**row, "tests": tuple(row.get("tests", ()))})
        if rfc.status not in STATUSES or rfc.number in rows:
            raise SystemExit(f"{path.name}: RFC {rfc.number}: listed twice, or its status is not one of {STATUSES}")
        rows[rfc.number] = rfc
    return rows


def find_citations(text: str) -> Iterator[tuple[int, int, str]]:
    """Every (offset, RFC number, section) that a text cites."""
    # A citation may go on in the next line of a comment; blanks of equal length keep the offsets.
    flat = re.sub(r"\n[ \t]*#(?!:)", lambda match: " " * len(match[0]), text)
    for start in START.finditer(flat):
        match: re.Match[str] | None = start
        while match is not None:
            number, end = int(match["number"]), match.end()
            sections = SECTIONS.match(flat, end)
            if sections:
                end = sections.end()
                for section in re.findall(SECTION, sections["list"]):
                    yield start.start(), number, section
            else:
                yield start.start(), number, ""
            match = NEXT.match(flat, end)


def _scopes(tree: ast.AST, prefix: str = "") -> Iterator[tuple[int, int, str]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            name = f"{prefix}{node.name}"
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            yield first, node.end_lineno or node.lineno, name
            yield from _scopes(node, f"{name}.")
        else:
            yield from _scopes(node, prefix)


def read_citations(directory: Path, root: Path = ROOT) -> list[Citation]:
    """The citations of every Python file below a directory, each with the innermost definition it stands in."""
    found = []
    for path in sorted(directory.rglob("*.py")):
        if path == OWN_TEST:
            continue
        text = path.read_text()
        scopes = list(_scopes(ast.parse(text)))
        for offset, number, section in find_citations(text):
            line = text.count("\n", 0, offset) + 1
            inside = [(last - first, name) for first, last, name in scopes if first <= line <= last]
            where = min(inside)[1] if inside else ""
            found.append(Citation(number, section, path.relative_to(root).as_posix(), where))
    return found


def find_problems(rfcs: dict[int, Rfc], code: list[Citation], tests: list[Citation], root: Path = ROOT) -> list[str]:
    """What the list, the code and the tests do not agree on."""
    problems = [
        f"{citation.path}: RFC {citation.number} is cited and not listed in docs/rfcs.toml"
        for citation in code
        if citation.number not in rfcs
    ]
    tested = {citation.number for citation in tests}
    cited = {citation.number for citation in code}
    for rfc in rfcs.values():
        missing = [path for path in rfc.tests if not (root / path).is_file()]
        problems += [f"RFC {rfc.number}: its test {path} does not exist" for path in missing]
        if rfc.status == "yes" and rfc.number not in tested and not rfc.tests:
            problems.append(f'RFC {rfc.number} is listed "yes" and no test cites it or is listed for it')
        if rfc.status == "yes" and rfc.number not in cited:
            problems.append(f'RFC {rfc.number} is listed "yes" and no code cites it')
        if rfc.status != "yes" and not rfc.note:
            problems.append(f'RFC {rfc.number} is listed "{rfc.status}" without a note that says what is missing')
    return list(dict.fromkeys(problems))


def _section_key(section: str) -> tuple[tuple[int, int, str], ...]:
    parts = section.split(".") if section else []
    return tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts)


def _name_code(citation: Citation) -> str:
    module = (
        citation.path.removeprefix("src/postreeve/").removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    )
    return f"`{module}`" if not citation.where else f"`{module}.{citation.where}`"


def _draw_rfc(rfc: Rfc, code: list[Citation], tests: list[Citation]) -> list[str]:
    lines = [f"## RFC {rfc.number}: {rfc.title}", "", f"Status: **{rfc.status}**. {rfc.note}".rstrip(), ""]
    lines += [f"Tested by {', '.join(f'`{path}`' for path in rfc.tests)}.", ""] if rfc.tests else []
    sections = sorted({citation.section for citation in [*code, *tests]}, key=_section_key)
    if not sections:
        return lines
    lines += ["| section | code | tests |", "|---|---|---|"]
    for section in sections:
        names = sorted({_name_code(citation) for citation in code if citation.section == section})
        paths = sorted({f"`{citation.path}`" for citation in tests if citation.section == section})
        lines.append(f"| {section or '–'} | {'<br>'.join(names)} | {'<br>'.join(paths)} |")
    return [*lines, ""]


def draw(rfcs: dict[int, Rfc], code: list[Citation], tests: list[Citation]) -> str:
    """The whole page."""
    lines = [
        "# The standards, and where they are implemented",
        "",
        "Drawn by `make docs` from `docs/rfcs.toml` and from the citations in code and tests; not edited by hand.",
        "`part` and `no` say in the note what is missing.",
        "",
        "| RFC | title | status | note |",
        "|---|---|---|---|",
    ]
    ordered = sorted(rfcs.values(), key=lambda rfc: rfc.number)
    lines += [f"| {rfc.number} | {rfc.title} | {rfc.status} | {rfc.note} |" for rfc in ordered]
    lines.append("")
    for rfc in ordered:
        own_code = [citation for citation in code if citation.number == rfc.number]
        own_tests = [citation for citation in tests if citation.number == rfc.number]
        if own_code or own_tests or rfc.tests:
            lines += _draw_rfc(rfc, own_code, own_tests)
    return "\n".join(lines).rstrip() + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description="Draw docs/rfcs.md.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when something does not agree")
    check = parser.parse_args().check
    rfcs, code, tests = read_list(), read_citations(ROOT / "src"), read_citations(ROOT / "tests")
    problems = find_problems(rfcs, code, tests)
    page = draw(rfcs, code, tests)
    if check and (not PAGE.exists() or PAGE.read_text() != page):
        problems.append("docs/rfcs.md is not up to date: make docs")
    elif not check:
        PAGE.write_text(page)
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())

"""The laws of the house: layers, purity, sizes, names, and standards that are cited, listed and tested."""

import ast
import re
import statistics
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools import rfcs

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "postreeve"
MODULES = sorted(PACKAGE.rglob("*.py"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
CONTRACTS = {contract["id"]: contract for contract in PROJECT["tool"]["importlinter"]["contracts"]}

FILE_LINES = 400
FUNCTION_LINES = 60
FUNCTION_MEDIAN = 12
FORBIDDEN_NAMES = {"util", "utils", "helper", "helpers", "common", "manager", "base", "misc", "core", "lib"}
IMPURE_CALLS = {
    "open", "input", "print", "breakpoint",
    "datetime.now", "datetime.utcnow", "datetime.today", "date.today",
    "datetime.datetime.now", "datetime.datetime.utcnow", "datetime.date.today",
}  # fmt: skip
IMPURE_BELOW_CONFIG = {"Path.home", "Path.cwd"}


def layers() -> list[set[str]]:
    """The packages of each layer, the highest first, as pyproject.toml has them."""
    return [set(re.findall(r"\w+", line)) for line in CONTRACTS["layers"]["layers"]]


def pure_packages() -> set[str]:
    """The packages from config down that exist."""
    start = next(index for index, names in enumerate(layers()) if "config" in names)
    planned = set().union(*layers()[start:])
    return {name for name in planned if (PACKAGE / name / "__init__.py").is_file()}


def modules_of(package: str) -> list[Path]:
    return sorted((PACKAGE / package).rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def test_import_contracts_hold() -> None:
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([program, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("contract", ["purity", "files"])
def test_contract_names_every_package_it_is_about(contract: str) -> None:
    expected = pure_packages() - ({"config"} if contract == "files" else set())
    named = {name.removeprefix("postreeve.") for name in CONTRACTS[contract]["source_modules"]}
    assert named == expected


def test_packages_are_all_placed_in_a_layer() -> None:
    present = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert present <= set().union(*layers())
    assert [path.name for path in PACKAGE.glob("*.py")] in (["__init__.py"], ["__init__.py", "__main__.py"])


@pytest.mark.parametrize("package", sorted(pure_packages()))
def test_pure_package_asks_neither_clock_nor_machine(package: str) -> None:
    forbidden = IMPURE_CALLS if package == "config" else IMPURE_CALLS | IMPURE_BELOW_CONFIG
    if package == "config":
        forbidden = forbidden - {"open"}
    found = [
        f"{name_of(path)}:{node.lineno}: {ast.unparse(node.func)}"
        for path in modules_of(package)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in forbidden
    ]
    assert found == []


def test_files_stay_below_the_wall() -> None:
    lengths = {name_of(path): len(path.read_text().splitlines()) for path in MODULES}
    assert {name: lines for name, lines in lengths.items() if lines > FILE_LINES} == {}


def test_functions_stay_below_the_wall() -> None:
    found = [
        f"{name_of(path)}:{function.lineno}: {function.name} has {length(function)} lines"
        for path in MODULES
        for function in functions(path)
        if length(function) > FUNCTION_LINES
    ]
    assert found == []


def test_functions_are_short_as_a_rule() -> None:
    lengths = [length(function) for path in MODULES for function in functions(path)]
    assert lengths
    assert statistics.median(lengths) < FUNCTION_MEDIAN, f"median {statistics.median(lengths)} of {len(lengths)}"


def test_module_names_say_what_is_inside() -> None:
    names = {name_of(path): {part.lstrip("_") for part in path.with_suffix("").parts} for path in MODULES}
    below = {name: parts - set(ROOT.parts) for name, parts in names.items()}
    assert {name: parts & FORBIDDEN_NAMES for name, parts in below.items() if parts & FORBIDDEN_NAMES} == {}


def test_modules_say_what_they_are() -> None:
    silent = [name_of(path) for path in MODULES if not ast.get_docstring(ast.parse(path.read_text()))]
    assert silent == []


def test_packages_say_whether_they_are_pure() -> None:
    pure = pure_packages()
    wrong = []
    for init in sorted(PACKAGE.glob("*/__init__.py")):
        said = set(re.findall(r"\b(PURE|ASYNC)\b", ast.get_docstring(ast.parse(init.read_text())) or ""))
        package = init.parent.name
        expected = {"PURE"} if package in pure else {"ASYNC"}
        if said != expected and not (package == "cli" and not said):
            wrong.append(f"{name_of(init)} says {said or 'nothing'}, expected {expected}")
    assert wrong == []


def test_notes_to_do_carry_an_issue_number() -> None:
    loose = re.compile(r"\b(?:TODO|FIXME|XXX)\b(?! \(#\d+\))")
    assert [name_of(path) for path in MODULES if loose.search(path.read_text())] == []


def test_nothing_is_left_unimplemented() -> None:
    assert [name_of(path) for path in MODULES if "NotImplementedError" in path.read_text()] == []


def test_rfcs_are_cited_listed_and_tested() -> None:
    code, tests = rfcs.read_citations(ROOT / "src"), rfcs.read_citations(ROOT / "tests")
    assert code
    assert rfcs.find_problems(rfcs.read_list(), code, tests) == []

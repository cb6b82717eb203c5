"""Settings files as they are in the wild: nothing missed, nothing found that is not there, corrections that hold."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from postreeve.checks.finding import Level
from postreeve.checks.settings.lint import lint_text
from postreeve.checks.settings.rule import BY_ID
from postreeve.clientconfig.kind import KINDS

_CORPUS = Path(__file__).parents[2] / "clientconfig" / "corpus"
_CASES = sorted(path.parent for path in _CORPUS.glob("*/*/expected"))
_IDS = [f"{case.parent.name}/{case.name}" for case in _CASES]


def _file_of(case: Path) -> Path:
    (file,) = (path for path in case.rglob("*") if path.is_file() and path.name != "expected")
    return file


def _expected(case: Path) -> tuple[Counter[str], bool]:
    words = (case / "expected").read_text().split()
    return Counter(word for word in words if word != "fixable"), "fixable" in words


@pytest.mark.parametrize("case", _CASES, ids=_IDS)
def test_lint_finds_what_is_wrong_and_nothing_else(case: Path) -> None:
    file = _file_of(case)
    expected, _ = _expected(case)
    assert set(expected) <= set(BY_ID)
    found = lint_text(str(file), file.read_bytes().decode()).problems
    assert Counter(one.finding.check for one in found) == expected, [one.finding for one in found]


@pytest.mark.parametrize("case", _CASES, ids=_IDS)
def test_corrections_hold(case: Path) -> None:
    file = _file_of(case)
    text = file.read_bytes().decode()
    _, is_fixable = _expected(case)
    before = lint_text(str(file), text)
    after = lint_text(str(file), before.corrected)
    assert after.corrected == before.corrected
    left = [one.finding for one in after.problems if one.finding.level is not Level.NOTE]
    found = Counter(one.finding.check for one in before.problems)
    assert not Counter(one.check for one in left) - found, left
    assert len(after.settings) == len(before.settings) or not left
    if is_fixable:
        assert left == []
        assert before.corrected != text
    if not before.problems:
        assert before.corrected == text


@pytest.mark.parametrize("case", _CASES, ids=_IDS)
def test_corrections_leave_all_other_lines_alone(case: Path) -> None:
    file = _file_of(case)
    text = file.read_bytes().decode()
    corrected = lint_text(str(file), text).corrected
    with_windows_ends = lint_text(str(file), text.replace("\n", "\r\n")).corrected
    assert with_windows_ends == corrected.replace("\n", "\r\n")
    kept = [line for line in text.splitlines() if line in set(corrected.splitlines())]
    assert len(kept) >= len(text.splitlines()) - 5
    comments = [line.strip() for line in text.splitlines() if line.strip().startswith(("#", "//", ";"))]
    assert all(comment in corrected for comment in comments)


def _run(*words: str) -> Callable[[str, Path], None]:
    def check(text: str, folder: Path) -> None:
        file = folder / ("file" + (".mjs" if "import " in text else ".js"))
        file.write_text(text)
        subprocess.run([*words, str(file)], check=True, capture_output=True, timeout=60)

    return check


_PARSERS: dict[str, Callable[[str, Path], object]] = {
    ".py": lambda text, _: ast.parse(text),
    ".yaml": lambda text, _: list(yaml.safe_load_all(text)),
    ".yml": lambda text, _: list(yaml.safe_load_all(text)),
    ".json": lambda text, _: json.loads("\n".join(line.partition(" //")[0] for line in text.splitlines())),
}
for _suffix, _program, _words in (
    (".js", "node", ("node", "--check")),
    (".mjs", "node", ("node", "--check")),
    (".php", "php", ("php", "-l")),
    (".rb", "ruby", ("ruby", "-c")),
):
    if shutil.which(_program):
        _PARSERS[_suffix] = _run(*_words)


@pytest.mark.parametrize(
    "case",
    [case for case in _CASES if _file_of(case).suffix in _PARSERS],
    ids=lambda case: f"{case.parent.name}/{case.name}",
)
def test_corrected_files_still_parse(case: Path, tmp_path: Path) -> None:
    file = _file_of(case)
    text = file.read_bytes().decode()
    parse = _PARSERS[file.suffix]
    parse(text, tmp_path)
    parse(lint_text(str(file), text).corrected, tmp_path)


def test_corpus_is_large_and_half_of_it_wrong() -> None:
    wrong = sum(bool(_expected(case)[0]) for case in _CASES)
    assert len(_CASES) >= 120
    assert 0.4 < wrong / len(_CASES) < 0.7


def test_corpus_has_every_kind_right_and_wrong() -> None:
    for kind in KINDS:
        cases = [case for case in _CASES if case.parent.name == kind.name]
        assert any(not _expected(case)[0] for case in cases), kind.name
        assert any(_expected(case)[0] for case in cases), kind.name


def test_corpus_breaks_every_rule() -> None:
    assert set(BY_ID) == {check for case in _CASES for check in _expected(case)[0]}

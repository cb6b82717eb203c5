"""The page of lint, and the hook for commits."""

from __future__ import annotations

from pathlib import Path

import yaml

from postreeve.cli import COMMANDS
from tools import lint_page

_ROOT = Path(__file__).resolve().parents[2]


def test_lint_page_is_fresh() -> None:
    assert lint_page.PAGE.read_text("utf-8") == lint_page.render(), "run `make docs`"


def test_commit_hook_has_what_the_runner_demands() -> None:
    (hook,) = yaml.safe_load((_ROOT / ".pre-commit-hooks.yaml").read_text())
    assert {"id", "name", "entry", "language"} <= set(hook)
    assert hook["id"] == "postreeve-lint"
    program, command = hook["entry"].split()
    assert program == "postreeve"
    assert command in COMMANDS
    assert hook["types"] == ["text"]
    assert hook["language"] == "python"

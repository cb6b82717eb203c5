"""Every command, setting, event and metric is described in docs/, and docs/ describes none that does not exist.

Nothing here skips: a part of the program that cannot be imported is a failure.
"""

import dataclasses
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tools import reference

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])


def page(name: str) -> str:
    return (DOCS / name).read_text()


@cache
def sections(name: str) -> dict[str, str]:
    """The text below each heading of a page, the subsections apart."""
    parts = re.split(r"(?m)^#+ +(.*?) *$", page(name))
    return {heading.strip("`"): body for heading, body in zip(parts[1::2], parts[2::2], strict=True)}


def undescribed(words: list[str], text: str) -> list[str]:
    return [word for word in words if not re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", text)]


# --- commands -------------------------------------------------------------------------------------------------------


def test_commands_are_all_described_with_their_options() -> None:
    wrong = []
    for command in reference.list_commands():
        body = sections("commands.md").get(command.name)
        if body is None:
            wrong.append(f"{command.name} has no section in docs/commands.md")
        else:
            wrong += [f"{command.name}: {word}" for word in undescribed(command.list_words(), body)]
    assert wrong == []


def test_commands_page_describes_only_what_exists() -> None:
    names = {command.name for command in reference.list_commands()}
    described = {heading for heading in sections("commands.md") if heading.startswith("postreeve ")}
    assert described <= names


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_pages_show_only_commands_that_exist(path: Path) -> None:
    names = {command.name for command in reference.list_commands()}
    groups = {name.rsplit(" ", 1)[0] for name in names}
    shown = re.findall(r"(?m)^(?:    |`|\$ |\s*sudo )(postreeve(?: [a-z][a-z-]*)+)", path.read_text())
    wrong = []
    for line in shown:
        words = line.split()
        known = [" ".join(words[:end]) for end in range(2, len(words) + 1)]
        if not names.intersection(known) and line not in groups:
            wrong.append(line)
    assert wrong == []


# --- settings -------------------------------------------------------------------------------------------------------


def models() -> Iterator[Any]:
    """The pydantic models of the configuration file."""
    import pydantic

    package = importlib.import_module("postreeve.config")
    for info in pkgutil.iter_modules(package.__path__, "postreeve.config."):
        module = importlib.import_module(info.name)
        for _, kind in inspect.getmembers(module, inspect.isclass):
            if issubclass(kind, pydantic.BaseModel) and kind.__module__ == info.name:
                yield kind


def test_settings_are_all_described() -> None:
    fields = [(kind.__name__, field.alias or name) for kind in models() for name, field in kind.model_fields.items()]
    assert fields
    text = page("config.md")
    assert [f"{kind}: {name}" for kind, name in fields if undescribed([name], text)] == []


def test_settings_all_say_what_they_are_for() -> None:
    silent = [
        f"{kind.__name__}.{name}"
        for kind in models()
        for name, field in kind.model_fields.items()
        if not (field.description or "").strip()
    ]
    assert silent == []


# --- events ---------------------------------------------------------------------------------------------------------


def test_events_are_all_described_with_their_fields() -> None:
    wrong = []
    for event in reference.list_events():
        body = sections("events.md").get(event.__name__)
        if body is None:
            wrong.append(f"{event.__name__} has no section in docs/events.md")
        else:
            missing = undescribed([field.name for field in dataclasses.fields(event)], body)
            wrong += [f"{event.__name__}.{name}" for name in missing]
    assert wrong == []


def test_events_page_describes_only_what_exists() -> None:
    names = {event.__name__ for event in reference.list_events()}
    assert {heading for heading in sections("events.md") if re.fullmatch(r"([A-Z][a-z]+){2,}", heading)} <= names


def test_events_are_all_part_of_the_union() -> None:
    from postreeve.telemetry import event

    assert set(reference.list_events()) == set(event.TelemetryEvent.__args__)


# --- metrics --------------------------------------------------------------------------------------------------------

METRIC = re.compile(r"\bpostreeve_[a-z0-9_]+[a-z0-9]\b")


def test_metrics_are_all_described_and_all_exist() -> None:
    exported, described = reference.list_metrics(), set(METRIC.findall(page("metrics.md")))
    assert exported
    assert {"undescribed": exported - described, "unknown": described - exported} == {
        "undescribed": set(),
        "unknown": set(),
    }


# --- links ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_between_pages_lead_somewhere(path: Path) -> None:
    text = re.sub(r"(?s)```.*?```", "", path.read_text())
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text)
    local = [target for target in targets if "://" not in target and not target.startswith("mailto:")]
    assert [target for target in local if not (path.parent / target).exists()] == []

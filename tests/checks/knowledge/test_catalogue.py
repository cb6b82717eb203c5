"""The catalogue is whole, fresh, and keeps the ids that were published."""

import json

import pytest

from postreeve.checks.knowledge import causes, fill
from tests.checks.explain.scenario import FACTS
from tools import knowledge


def test_generated_files_are_fresh() -> None:
    stale = [path.name for path, text in knowledge.render().items() if not path.exists() or path.read_text() != text]
    assert stale == [], "run make docs"


def test_no_page_describes_a_cause_that_is_gone() -> None:
    assert set(knowledge.PAGES.glob("*.md")) <= set(knowledge.render())


def test_causes_keep_the_ids_of_the_seeds() -> None:
    path = FACTS / "failure-causes.json"
    if not path.exists():
        pytest.skip(f"no {path}")
    assert {row["id"] for row in json.loads(path.read_text())} <= set(causes())


def test_causes_narrow_others_without_a_circle() -> None:
    for cause in causes().values():
        seen = {cause.id}
        while cause.narrows:
            assert cause.narrows not in seen
            seen.add(cause.narrows)
            cause = causes()[cause.narrows]


def test_fill_puts_in_what_is_known_and_says_what_is_not() -> None:
    assert fill("probe {host}:{port} {curly}", {"host": "mail.example.com"}) == "probe mail.example.com:PORT {curly}"


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"positive": ["a"], "negative": ["b"]}, "two positive"),
        ({"literals": ["Upper"]}, "not lower case"),
        ({"causes": {"no-such-cause": 1}}, "no such causes"),
        ({"when": [{"moon": 1, "causes": {}}]}, "no such facts"),
        ({"regex": "("}, "regex"),
    ],
    ids=["examples", "literals", "cause", "fact", "regex"],
)
def test_find_problem_names_what_is_wrong(row: dict[str, object], problem: str) -> None:
    good = {
        "tier": "exact",
        "regex": "",
        "when": [],
        "literals": ["x"],
        "causes": {},
        "positive": ["x", "x"],
        "negative": ["y"],
    }
    assert knowledge.find_problem(good, set()) == ""
    assert problem in knowledge.find_problem(good | row, set())

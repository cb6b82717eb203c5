"""Every pattern fits its positive examples and none of its negative ones, and `explain` makes use of it."""

from typing import Any

import pytest

from postreeve.checks.explain.reason import explain
from postreeve.checks.knowledge.pattern import patterns
from tools import knowledge

ROWS = knowledge.read_patterns()
POSITIVE = [pytest.param(row, text, id=f"{row['id']}-{at}") for row in ROWS for at, text in enumerate(row["positive"])]
NEGATIVE = [pytest.param(row, text, id=f"{row['id']}-{at}") for row in ROWS for at, text in enumerate(row["negative"])]
BY_ID = {one.id: one for one in patterns()}


@pytest.mark.parametrize(("row", "text"), POSITIVE)
def test_pattern_fits_its_positive_examples(row: dict[str, Any], text: str) -> None:
    assert BY_ID[row["id"]].find(text, text.lower()) is not None


@pytest.mark.parametrize(("row", "text"), NEGATIVE)
def test_pattern_does_not_fit_its_negative_examples(row: dict[str, Any], text: str) -> None:
    assert BY_ID[row["id"]].find(text, text.lower()) is None


@pytest.mark.parametrize(("row", "text"), POSITIVE)
def test_explain_names_a_cause_of_the_pattern(row: dict[str, Any], text: str) -> None:
    weights = [row["causes"], *(rule["causes"] for rule in row["when"])]
    own = {cause for one in weights for cause in one}
    found = [one.cause.id for one in explain(text).candidates]
    assert own.intersection(found[:3]), found


def test_patterns_are_as_compiled_from_their_sources() -> None:
    assert [one.id for one in patterns()] == [row["id"] for row in ROWS]

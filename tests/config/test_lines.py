"""Where a setting stands in the text."""

import tomllib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from postreeve.config.lines import Place, find_lines, line_of
from tests.lab.server import to_toml

TEXT = '''\
# a comment with [brackets] and "quotes"
a = 1
b.c = "x # no comment"   # a comment

[table]
list = [
  "one",  # first
  [ "two" ],
  """three
still three""",
  { k = 'four' },
]
"quoted.key" = \'\'\'
[not.a.table]
\'\'\'
[table.inner]
d = 2020-01-01T00:00:00Z

[[array]]
n = 1
[[array.below]]
m = 1
[[array.below]]
m = 2
[[array]]
n = 2
[array.sub]
o = true
[[array.below]]
m = 3
'''


def test_lines_are_found_through_all_of_toml() -> None:
    lines = find_lines(TEXT)
    assert {place: lines[place] for place in lines if place and place[0] != "array"} == {
        ("a",): 2,
        ("b",): 3,
        ("b", "c"): 3,
        ("table",): 5,
        ("table", "list"): 6,
        ("table", "list", 0): 7,
        ("table", "list", 1): 8,
        ("table", "list", 1, 0): 8,
        ("table", "list", 2): 9,
        ("table", "list", 3): 11,
        ("table", "list", 3, "k"): 11,
        ("table", "quoted.key"): 13,
        ("table", "inner"): 16,
        ("table", "inner", "d"): 17,
    }
    assert lines["array", 0, "n"] == 20
    assert [lines["array", 0, "below", index, "m"] for index in (0, 1)] == [22, 24]
    assert lines["array", 1, "sub", "o"] == 28
    assert lines["array", 1, "below", 0, "m"] == 30


def test_line_of_what_is_missing_is_that_of_what_is_around_it() -> None:
    lines = find_lines(TEXT)
    assert line_of(lines, ("array", 1, "missing")) == 25
    assert line_of(lines, ("table", "inner", "x", "y")) == 16
    assert line_of(lines, ("nowhere",)) == 0


_KEYS = st.text("abcdef-_.\"' é", min_size=1, max_size=4)
_VALUES = st.recursive(
    st.integers(0, 9) | st.booleans() | st.text("ab\"'[]{}#=,\\\n", max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=3),
    max_leaves=12,
)


def places(value: Any, at: Place) -> set[Place]:
    found = {at} if at else set()
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        found |= places(item, (*at, key))
    return found


@given(st.dictionaries(_KEYS, _VALUES, max_size=5))
def test_every_place_that_tomllib_sees_has_a_line(data: dict[str, Any]) -> None:
    text = "".join(f"\n{to_toml(key)} = {to_toml(value)}\n" for key, value in data.items())
    parsed = tomllib.loads(text)
    lines = find_lines(text)
    assert set(lines) == places(parsed, ())
    assert [lines[(key,)] for key in parsed] == [2 * number for number in range(1, len(parsed) + 1)]

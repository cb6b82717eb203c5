"""Message identifiers: never twice, and sortable."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postreeve.mail.ident import TEXT_LENGTH, IdentSource, from_text, node_of, to_text

NOW = 1_800_000_000.0


@given(st.lists(st.tuples(st.floats(0, 3e9), st.integers(0, 1 << 40)), max_size=60), st.integers(0, 255))
def test_ident_never_repeats_whatever_the_clock_does(ticks: list[tuple[float, int]], node: int) -> None:
    source = IdentSource(node)
    idents = [source.next(now, salt) for now, salt in ticks]
    assert sorted(set(idents)) == idents
    assert all(node_of(ident) == node for ident in idents)


def test_ident_survives_a_full_millisecond() -> None:
    source = IdentSource(7)
    idents = [source.next(NOW, 0xFFF) for _ in range(40_000)]
    assert len(set(idents)) == 40_000
    assert {node_of(ident) for ident in idents} == {7}


def test_ident_continues_after_a_restart_with_an_earlier_clock() -> None:
    last = IdentSource(3).next(NOW, 5)
    assert IdentSource(3, start=last).next(NOW - 3600) > last


@given(st.integers(0, (1 << 63) - 1))
def test_ident_text_and_back(ident: int) -> None:
    text = to_text(ident)
    assert len(text) == TEXT_LENGTH
    assert from_text(text) == from_text(text.upper()) == ident


@given(st.integers(0, (1 << 63) - 1), st.integers(0, (1 << 63) - 1))
def test_ident_text_sorts_like_the_number(one: int, other: int) -> None:
    assert (to_text(one) < to_text(other)) == (one < other)


@given(st.text(max_size=14))
def test_from_text_takes_anything(text: str) -> None:
    ident = from_text(text)
    assert ident is None or to_text(ident) == text.lower().translate(str.maketrans("oil", "011"))


@pytest.mark.parametrize("text", ["", "0" * 12, "0" * 14, "u" * 13, "z" * 13, "0" * 12 + "é", "-" + "0" * 12])
def test_from_text_refuses(text: str) -> None:
    assert from_text(text) is None


@pytest.mark.parametrize("node", [-1, 256])
def test_ident_source_refuses_a_node_out_of_range(node: int) -> None:
    with pytest.raises(ValueError):
        IdentSource(node)

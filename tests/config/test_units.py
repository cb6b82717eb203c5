"""Sizes, durations, shares."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postreeve.config.units import FreeSpace, format_duration, parse_duration, parse_free_space, parse_size


@pytest.mark.parametrize(
    ("text", "octets"),
    [
        (0, 0),
        (4096, 4096),
        ("4096", 4096),
        ("1B", 1),
        ("256KiB", 262_144),
        ("50MiB", 52_428_800),
        ("50 MiB", 52_428_800),
        ("10MB", 10_000_000),
        ("1kB", 1000),
        ("2GiB", 2_147_483_648),
        ("1TiB", 1_099_511_627_776),
    ],
)
def test_size_reads_numbers_and_units(text: object, octets: int) -> None:
    assert parse_size(text) == octets


@pytest.mark.parametrize("text", ["", "MiB", "1.5MiB", "50 apples", "-1", -1, True, None, 1.5, "50mib", "1" * 30, []])
def test_size_refuses_what_is_none(text: object) -> None:
    with pytest.raises(ValueError, match="must"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (0, 0),
        (2.5, 2.5),
        ("30s", 30),
        ("5m", 300),
        ("1h20m", 4800),
        ("5d", 432_000),
        ("1w", 604_800),
        ("1d1h1m1s", 90_061),
    ],
)
def test_duration_reads_numbers_and_units(text: object, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "5", "5 minutes", "5x", "m5", "20m1h", "-5m", -1, True, float("inf"), float("nan"), None]
)
def test_duration_refuses_what_is_none(text: object) -> None:
    with pytest.raises(ValueError, match="must"):
        parse_duration(text)


@given(st.integers(min_value=0, max_value=10**9))
def test_duration_reads_what_it_prints(seconds: int) -> None:
    assert parse_duration(format_duration(seconds)) == seconds


@pytest.mark.parametrize(
    ("text", "space"),
    [
        ("5%", FreeSpace(share=0.05)),
        ("0.5 %", FreeSpace(share=0.005)),
        ("5%, at most 1GiB", FreeSpace(share=0.05, limit=2**30)),
        ("2GiB", FreeSpace(octets=2**31)),
        (0, FreeSpace()),
    ],
)
def test_free_space_reads_shares_and_sizes(text: object, space: FreeSpace) -> None:
    assert parse_free_space(text) == space


@pytest.mark.parametrize("text", ["100%", "500%", "-5%", "%", "much", True])
def test_free_space_refuses_what_is_none(text: object) -> None:
    with pytest.raises(ValueError, match="below 100 %"):
        parse_free_space(text)


@pytest.mark.parametrize(
    ("space", "total", "octets"),
    [
        ("5%", 100 << 30, 5 << 30),
        ("5%, at most 1GiB", 100 << 30, 1 << 30),
        ("5%, at most 1GiB", 10 << 30, 512 << 20),
        ("2GiB", 1 << 30, 2 << 30),
    ],
)
def test_free_space_of_a_file_system(space: str, total: int, octets: int) -> None:
    assert parse_free_space(space).of(total) == octets

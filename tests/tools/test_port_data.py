"""The tables of providers and networks as the program reads them."""

import json
from typing import Any

import pytest

from tools import port_data

GOOD: dict[str, Any] = {
    "id": "example",
    "name": "Example",
    "hosts": ["smtp.example.com"],
    "ports": ["465 implicit", "587 starttls ?"],
    "user": "address",
    "password": "any",
    "sources": ["n"],
    "checked_on": port_data.datetime.date(2026, 1, 1),
}


@pytest.mark.parametrize("name", ["provider", "network"])
def test_json_is_fresh(name: str) -> None:
    assert (port_data.DATA / f"{name}s.json").read_text() == port_data.draw(name), "run `make docs`"


@pytest.mark.parametrize("name", ["provider", "network"])
def test_json_has_a_row_a_line(name: str) -> None:
    lines = port_data.draw(name).splitlines()
    assert lines[0] == "["
    assert all(json.loads(line.removesuffix(","))["id"] for line in lines[1:-1])


def test_make_provider_reads_doubt() -> None:
    made = port_data.make_provider(GOOD, {"n": "Source"})
    assert made["ports"] == [[465, "implicit", True], [587, "starttls", False]]
    assert made["sources"] == ["Source"]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        pytest.param({"colour": "red"}, "unknown keys", id="unknown-key"),
        pytest.param({"ports": ["465 tls"]}, "not a port and a mode", id="mode"),
        pytest.param({"ports": []}, "no ports", id="no-ports"),
        pytest.param({"user": "name"}, "user is one of", id="user"),
        pytest.param({"user": "fixed"}, "user_name goes with", id="fixed-without-name"),
        pytest.param({"checked_on": "2026-01-01"}, "is no date", id="date-as-text"),
        pytest.param({"regions": ["eu"]}, "regions without", id="regions"),
    ],
)
def test_make_provider_refuses(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(port_data.BadRow, match=problem):
        port_data.make_provider(GOOD | change, {})

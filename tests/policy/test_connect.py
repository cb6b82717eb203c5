"""Connecting."""

import pytest

from postreeve.policy import connect
from postreeve.policy.settings import LimitSettings

LIMITS = LimitSettings(connections=100, connections_per_client=5, connections_per_minute_per_client=10)


@pytest.mark.parametrize(
    ("in_all", "of_client", "this_minute", "reply"),
    [
        pytest.param(0, 0, 0, None, id="first"),
        pytest.param(99, 4, 9, None, id="last"),
        pytest.param(100, 0, 0, connect.TOO_MANY_CONNECTIONS, id="all"),
        pytest.param(50, 5, 0, connect.TOO_MANY_FROM_CLIENT, id="client"),
        pytest.param(50, 4, 10, connect.TOO_OFTEN_FROM_CLIENT, id="minute"),
    ],
)
def test_admit(in_all: int, of_client: int, this_minute: int, reply: object) -> None:
    assert connect.admit(in_all, of_client, this_minute, LIMITS) is reply


def test_admit_with_limits_off() -> None:
    off = LimitSettings(connections=0, connections_per_client=0, connections_per_minute_per_client=0)
    assert connect.admit(10**6, 10**6, 10**6, off) is None


@pytest.mark.parametrize(("in_all", "stressed"), [(0, False), (89, False), (90, True), (100, True)])
def test_is_stressed_near_the_limit(in_all: int, stressed: bool) -> None:
    assert connect.is_stressed(in_all, LIMITS) is stressed

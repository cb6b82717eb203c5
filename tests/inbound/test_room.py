"""Is there room for more mail?"""

from postreeve.inbound.room import RoomGuard
from postreeve.policy.sender import Room
from postreeve.telemetry.event import StoreTrouble, TelemetryEvent


def test_room_is_looked_up_once_a_second_and_changes_are_told() -> None:
    now, asked = [100.0], [0]
    answers = {"shortage": ""}
    told: list[TelemetryEvent] = []

    def find_shortage() -> str:
        asked[0] += 1
        return answers["shortage"]

    guard = RoomGuard(find_shortage, lambda: now[0], told.append)
    assert [guard() for _ in range(5)] == [Room.ENOUGH] * 5
    assert asked == [1]
    answers["shortage"] = "/var has 1 MiB free"
    assert guard() is Room.ENOUGH
    now[0] += 1
    assert [guard() for _ in range(5)] == [Room.FULL] * 5
    answers["shortage"] = ""
    now[0] += 1
    assert guard() is Room.ENOUGH
    assert asked == [3]
    full, recovered = (event for event in told if isinstance(event, StoreTrouble))
    assert (full.state, recovered.state) == ("full", "recovered")
    assert full.problem.startswith("/var has 1 MiB free: ")


def test_room_that_cannot_be_known_is_none() -> None:
    told: list[TelemetryEvent] = []

    def find_shortage() -> str:
        raise OSError("the file system is gone")

    assert RoomGuard(find_shortage, lambda: 0.0, told.append)() is Room.FULL
    (event,) = told
    assert isinstance(event, StoreTrouble)
    assert "the file system is gone" in event.problem

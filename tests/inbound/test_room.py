"""Is there room for more mail?"""

from postreeve.inbound.room import RoomGuard
from postreeve.policy.sender import Room
from postreeve.telemetry.event import StoreTrouble, TelemetryEvent


def test_room_is_looked_up_once_a_second_and_changes_are_told() -> None:
    now, asked = [100.0], [0]
    answers = {"room": True}
    told: list[TelemetryEvent] = []

    def has_room() -> bool:
        asked[0] += 1
        return answers["room"]

    guard = RoomGuard(has_room, lambda: now[0], told.append)
    assert [guard() for _ in range(5)] == [Room.ENOUGH] * 5
    assert asked == [1]
    answers["room"] = False
    assert guard() is Room.ENOUGH
    now[0] += 1
    assert [guard() for _ in range(5)] == [Room.FULL] * 5
    answers["room"] = True
    now[0] += 1
    assert guard() is Room.ENOUGH
    assert asked == [3]
    assert [event.state for event in told if isinstance(event, StoreTrouble)] == ["full", "recovered"]


def test_room_that_cannot_be_known_is_none() -> None:
    def has_room() -> bool:
        raise OSError("the file system is gone")

    assert RoomGuard(has_room, lambda: 0.0, lambda event: None)() is Room.FULL

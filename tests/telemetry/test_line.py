"""One event, one line, whatever a peer put into it."""

import dataclasses
import json
import re
from typing import Any, get_args, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postreeve.telemetry import event as events
from postreeve.telemetry.event import (
    CommandRefused,
    ConfigReloaded,
    InternalError,
    Level,
    MessageAccepted,
    RecipientDelivered,
    ServerStopped,
    ServerStopping,
    StoreTrouble,
    StressChanged,
    TelemetryEvent,
)
from postreeve.telemetry.line import MAX_FIELD, format_json, format_logfmt, level_of, name_of

ACCEPTED = MessageAccepted(
    "s1", "m1", "relay", "192.0.2.1", "", "a@example.com", 1, "b@example.org", 4096, 0.00123
)  # fmt: skip


def sample(kind: type, text: str = "x") -> Any:
    values: dict[type, Any] = {str: text, int: 3, float: 0.5, bool: True}
    types = get_type_hints(kind)
    return kind(**{field.name: values[types[field.name]] for field in dataclasses.fields(kind)})


def test_logfmt_line() -> None:
    assert format_logfmt(ACCEPTED, 1.5) == (
        "time=1970-01-01T00:00:01.500Z level=info event=message_accepted session=s1 message=m1 listener=relay "
        "client=192.0.2.1 account= sender=a@example.com recipients=1 first_recipient=b@example.org octets=4096 "
        "seconds=0.001"
    )


def test_json_line() -> None:
    assert json.loads(format_json(ACCEPTED, 1.5)) == {
        "time": "1970-01-01T00:00:01.500Z",
        "level": "info",
        "event": "message_accepted",
        **dataclasses.asdict(ACCEPTED),
        "seconds": 0.001,
    }


@pytest.mark.parametrize(
    ("text", "written"),
    [
        pytest.param("250 2.0.0 OK", '"250 2.0.0 OK"', id="spaces"),
        pytest.param('say "a=b\\c"', r'"say \"a=b\\c\""', id="quotes and backslashes"),
        pytest.param("a=b", '"a=b"', id="equals sign"),
        pytest.param("a\r\nevent=forged", r'"a\r\nevent=forged"', id="second line"),
        pytest.param("\x1b[2J\x07\x7f\x9b", r'"\u001b[2J\u0007\u007f\u009b"', id="terminal escapes"),
        pytest.param("a\u202eb\u2028c\ufeff", r'"a\u202eb\u2028c\ufeff"', id="direction and separators"),
        pytest.param("\udcff\U000e0001", r'"\udcff\U000e0001"', id="surrogate and tag"),
        pytest.param("dürst", '"dürst"', id="letters stay"),
        pytest.param("", "", id="empty"),
    ],
)
def test_logfmt_values(text: str, written: str) -> None:
    assert format_logfmt(ServerStopping(text), 0).endswith(f" event=server_stopping reason={written}")
    line = format_logfmt(CommandRefused("s", "192.0.2.1", "RCPT", text, "policy"), 0)
    assert line.endswith(f" command=RCPT reply={written} reason=policy")


def test_logfmt_numbers_and_flags() -> None:
    assert format_logfmt(StressChanged("relay", True, 7), 0).endswith("listener=relay on=true sessions=7")
    assert format_logfmt(StressChanged("relay", False, 7), 0).endswith("listener=relay on=false sessions=7")


@given(st.text(max_size=3_000), st.text(max_size=50))
def test_logfmt_is_one_line_and_reads_back(reply: str, host: str) -> None:
    event = RecipientDelivered("m", "r", "d", host, "", reply, 1, 0.5)
    line = format_logfmt(event, 0)
    assert line.isprintable()
    assert line.encode()
    fields = re.findall(r'([a-z_]+)=("(?:[^"\\]|\\.)*"|[^ "]*)(?: |$)', line)
    keys = ["time", "level", "event", *(field.name for field in dataclasses.fields(event))]
    assert [key for key, _ in fields] == keys
    assert all(len(value) <= MAX_FIELD + 2 for _, value in fields)


@given(st.text(max_size=3_000), st.floats())
def test_json_is_one_line_and_reads_back(reply: str, seconds: float) -> None:
    line = format_json(RecipientDelivered("m", "r", "d", "h", "", reply, 1, seconds), 0)
    assert line.isascii()
    assert line.isprintable()

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    record = json.loads(line, parse_constant=refuse)
    assert reply.startswith(record["reply"].removesuffix("…"))
    assert len(json.dumps(record["reply"])) <= MAX_FIELD + 8


@pytest.mark.parametrize(
    "text", ["a" * 100_000, "\x00" * 100_000, "é" * 100_000, "\U0001f600" * 9_000, '"' * 5_000, "\x7f" * 5_000]
)
def test_fields_are_bounded(text: str) -> None:
    event = ServerStopping(text)
    assert len(format_logfmt(event, 0)) < MAX_FIELD + 100
    assert len(format_json(event, 0)) < MAX_FIELD + 100


def test_traceback_has_more_room() -> None:
    line = format_logfmt(InternalError("session", "s", "line\n" * 1_000), 0)
    assert line.count("\\n") == 1_000


@pytest.mark.parametrize("kind", get_args(TelemetryEvent), ids=lambda kind: kind.__name__)
def test_every_event_has_a_line(kind: type) -> None:
    for text in ("x", "two words"):
        event = sample(kind, text)
        line = format_logfmt(event, 0)
        assert f" event={name_of(kind)} " in line
        record = json.loads(format_json(event, 0))
        for field in dataclasses.fields(kind):
            assert f" {field.name}=" in line
            assert record[field.name] == getattr(event, field.name)


def test_event_names_are_snake_case() -> None:
    names = [name_of(kind) for kind in get_args(TelemetryEvent)]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", name) for name in names)


@pytest.mark.parametrize(
    ("event", "level"),
    [
        (ACCEPTED, Level.INFO),
        (sample(events.SessionOpened), Level.DEBUG),
        (sample(events.InternalError), Level.ERROR),
        (ConfigReloaded("SIGHUP", ""), Level.INFO),
        (ConfigReloaded("SIGHUP", "line 3"), Level.ERROR),
        (ConfigReloaded("SIGHUP", "", "workers takes effect at the next start"), Level.INFO),
        (StoreTrouble("unavailable", "EIO"), Level.ERROR),
        (StoreTrouble("damaged", "x"), Level.ERROR),
        (StoreTrouble("recovered", ""), Level.INFO),
        (ServerStopped(1.0, 0), Level.INFO),
        (ServerStopped(28.0, 2), Level.WARNING),
        (StressChanged("relay", True, 9), Level.WARNING),
        (StressChanged("relay", False, 9), Level.INFO),
        (sample(events.AuthenticationFailed), Level.WARNING),
    ],
    ids=lambda value: value.value if isinstance(value, Level) else type(value).__name__,
)
def test_level_of(event: TelemetryEvent, level: Level) -> None:
    assert level_of(event) is level

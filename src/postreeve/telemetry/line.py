"""One event, one log line: logfmt or JSON. Keys equal field names; nothing in a value can begin a second line or field.

time=2026-11-23T10:00:00.123Z level=info event=message_accepted session=… message=… key=value key="two words"
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from functools import lru_cache
from json.encoder import encode_basestring_ascii
from math import isfinite
from operator import attrgetter
from typing import Any, Final, NamedTuple

from postreeve.mail.date import format_timestamp
from postreeve.telemetry.event import (
    AccountsTrouble,
    AddressBanned,
    AuthenticationFailed,
    CertificateLoaded,
    ConfigReloaded,
    CredentialsMisplaced,
    DestinationChanged,
    FindingAppeared,
    InternalError,
    Level,
    MessageAccepted,
    RecipientDeferred,
    RecipientDelivered,
    RecordQuarantined,
    ServerStopped,
    SessionClosed,
    SessionOpened,
    StoreTrouble,
    StressChanged,
    TelemetryEvent,
    TlsEstablished,
    WorkerExited,
)

MAX_FIELD: Final = 2_048
"""Characters of one value as written."""
_MAX_TRACEBACK: Final = 16_384
_CUT: Final = "…"

# Printable US-ASCII without space, quotation mark, equals sign and backslash.
_PLAIN: Final = re.compile(r"[!#-<>-\[\]-~]{1,2048}")
_FORMATS: Final = {"str": "%s", "int": "%d", "float": "%.3f"}
_NAME_BREAK: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


class _Plan(NamedTuple):
    """What is known of an event's class once and for all."""

    name: str
    keys: tuple[str, ...]
    values: Callable[[Any], tuple[Any, ...]]
    strings: Callable[[Any], tuple[str, ...]] | None
    """The values that need a look before `template` may be used; None: always look at each."""
    template: str


def format_logfmt(event: TelemetryEvent, at: float) -> str:
    """The line for `event`, which happened `at` (POSIX seconds), without a line end."""
    plan = _plan(event.__class__)
    head = f"time={format_timestamp(at)} level={level_of(event).value} event={plan.name} "
    if plan.strings is not None and _PLAIN.fullmatch("".join(plan.strings(event))):
        return head + plan.template % plan.values(event)
    words = []
    for key, value in zip(plan.keys, plan.values(event), strict=True):
        if value.__class__ is str:
            is_plain = not value or _PLAIN.fullmatch(value)
            words.append(f"{key}={value}" if is_plain else f'{key}="{_escape(value, _limit(key))}"')
        else:
            words.append(f"{key}={_number(value)}")
    return head + " ".join(words)


def format_json(event: TelemetryEvent, at: float) -> str:
    """The same as one JSON object in US-ASCII, without a line end."""
    plan = _plan(event.__class__)
    words = [f'{{"time":"{format_timestamp(at)}","level":"{level_of(event).value}","event":"{plan.name}"']
    for key, value in zip(plan.keys, plan.values(event), strict=True):
        if value.__class__ is str:
            words.append(f'"{key}":{_quote_json(value, _limit(key))}')
        elif value.__class__ is float:
            words.append(f'"{key}":{round(value, 3) if isfinite(value) else "null"}')
        else:
            words.append(f'"{key}":{_number(value)}')
    return ",".join(words) + "}"


def level_of(event: TelemetryEvent) -> Level:
    """How loudly `event` speaks: errors want a person soon, warnings some day."""
    match event:
        case MessageAccepted() | RecipientDelivered() | RecipientDeferred():
            return Level.INFO
        case SessionOpened() | SessionClosed() | TlsEstablished():
            return Level.DEBUG
        case InternalError() | RecordQuarantined():
            return Level.ERROR
        case StoreTrouble(state=state) | AccountsTrouble(state=state):
            return Level.INFO if state == "recovered" else Level.ERROR
        case AuthenticationFailed() | CredentialsMisplaced():
            return Level.WARNING
        case AddressBanned(problem=problem):
            return Level.ERROR if problem else Level.WARNING
        case FindingAppeared(level=level):
            return {"error": Level.ERROR, "warning": Level.WARNING}.get(level, Level.INFO)
        case ConfigReloaded(problem=problem) | CertificateLoaded(problem=problem):
            return Level.ERROR if problem else Level.INFO
        case ServerStopped(killed=killed) if killed:
            return Level.WARNING
        case StressChanged(on=True) | DestinationChanged(state="dead") | WorkerExited():
            return Level.WARNING
        case _:
            return Level.INFO


def name_of(kind: type) -> str:
    """The event's name in a line: the class's in snake case."""
    return _NAME_BREAK.sub("_", kind.__name__).lower()


def _make_plan(kind: type) -> _Plan:
    types = {field.name: str(field.type) for field in dataclasses.fields(kind)}
    strings = [key for key, type_ in types.items() if type_ == "str"]
    is_simple = bool(strings) and all(type_ in _FORMATS for type_ in types.values())
    template = " ".join(f"{key}={_FORMATS.get(type_, '')}" for key, type_ in types.items())
    return _Plan(
        name_of(kind), tuple(types), _getter(tuple(types)), _getter(tuple(strings)) if is_simple else None, template
    )


_plan: Callable[[type], _Plan] = lru_cache(maxsize=256)(_make_plan)


def _getter(keys: tuple[str, ...]) -> Callable[[Any], tuple[Any, ...]]:
    if len(keys) > 1:
        return attrgetter(*keys)
    only: Callable[[Any], Any] = attrgetter(*keys)

    def get_one(event: Any) -> tuple[Any, ...]:
        return (only(event),)

    return get_one


def _limit(key: str) -> int:
    return _MAX_TRACEBACK if key == "traceback" else MAX_FIELD


def _number(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _escape(text: str, limit: int) -> str:
    """`text` for between quotation marks; controls and direction marks become \\u escapes."""
    if len(text) <= limit // 2 and text.isprintable():
        return text.replace("\\", "\\\\").replace('"', '\\"')
    pieces: list[str] = []
    room = limit - 1
    for character in text:
        piece = _escape_character(character)
        room -= len(piece)
        if room < 0:
            pieces.append(_CUT)
            break
        pieces.append(piece)
    return "".join(pieces)


def _escape_character(character: str) -> str:
    match character:
        case "\\" | '"':
            return "\\" + character
        case "\n":
            return "\\n"
        case "\r":
            return "\\r"
        case "\t":
            return "\\t"
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _quote_json(text: str, limit: int) -> str:
    """`text` as a JSON string; only a hostile value is ever cut short of the limit."""
    quoted = _encode_json(text[: limit + 1])
    while len(quoted) > limit:
        # An escape takes up to twelve characters for one.
        text = text[: min(limit - 8, len(text) // 2)]
        quoted = _encode_json(text + _CUT)
    return quoted


def _encode_json(text: str) -> str:
    return encode_basestring_ascii(text).replace("\x7f", "\\u007f")

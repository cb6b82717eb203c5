"""Which messages a queue command is about: its options, and the filter they make.

Patterns are shell-style (`*`, `?`, `[a-z]`), compared without case. A word without any of them is taken as people mean
it: a domain, a destination without its kind, a part of the reason.
"""

from __future__ import annotations

import functools
import inspect
import re
import time
from collections.abc import Callable
from dataclasses import fields
from typing import Annotated, Any, Final

import typer

from postreeve.config.units import parse_duration
from postreeve.mail.ident import from_text, to_text
from postreeve.queue.model import QueueFilter, RecipientState
from postreeve.store.match import NULL_PATH

_PATTERN_SIGNS: Final = re.compile(r"[*?]")
_GROUP: Final = "Which messages"


def parse_span(text: str) -> float:
    """Seconds; wrong usage where it is no length of time."""
    try:
        return parse_duration(text)
    except ValueError as problem:
        raise typer.BadParameter(str(problem)) from None


def parse_id(text: str) -> int:
    """The identifier that `text` spells; wrong usage otherwise."""
    ident = from_text(text.strip())
    if ident is None:
        raise typer.BadParameter(
            f"{text!r} is no message ID: IDs have 13 letters and digits, see `postreeve queue list`"
        )
    return ident


def _parse_state(text: str) -> RecipientState:
    for state in (RecipientState.QUEUED, RecipientState.HELD):
        if text.lower() == state.value:
            return state
    raise typer.BadParameter(f'{text!r} is no state of queued mail: "queued" or "held"')


Idents = Annotated[list[int] | None, typer.Argument(metavar="[ID]...", parser=parse_id, help="These messages.")]
Older = Annotated[
    float | None,
    typer.Option(
        parser=parse_span,
        metavar="TIME",
        help="Accepted longer ago than this, such as 2h or 3d.",
        rich_help_panel=_GROUP,
    ),
]
Younger = Annotated[
    float | None,
    typer.Option(parser=parse_span, metavar="TIME", help="Accepted less long ago.", rich_help_panel=_GROUP),
]
Destination = Annotated[
    str | None,
    typer.Option(
        metavar="PATTERN", help="Next hop, as `queue stats` names it; without its kind, of any.", rich_help_panel=_GROUP
    ),
]
Sender = Annotated[
    str | None,
    typer.Option(
        metavar="PATTERN",
        help='Reverse-path: an address, a domain or a pattern; "<>" for DSNs.',
        rich_help_panel=_GROUP,
    ),
]
Recipient = Annotated[
    str | None,
    typer.Option(metavar="PATTERN", help="Recipient: an address, a domain or a pattern.", rich_help_panel=_GROUP),
]
State = Annotated[
    RecipientState | None,
    typer.Option(parser=_parse_state, metavar="STATE", help="queued or held.", rich_help_panel=_GROUP),
]
Reason = Annotated[
    str | None,
    typer.Option(
        metavar="PATTERN", help="What the last attempt said; without `*`, a part of it.", rich_help_panel=_GROUP
    ),
]
Account = Annotated[
    str | None, typer.Option(metavar="PATTERN", help="The account that submitted it.", rich_help_panel=_GROUP)
]

Utc = Annotated[bool, typer.Option("--utc", help="Absolute times in UTC instead of relative ones.")]


_OPTIONS: Final[dict[str, Any]] = {
    "idents": Idents,
    "older": Older,
    "younger": Younger,
    "destination": Destination,
    "sender": Sender,
    "recipient": Recipient,
    "state": State,
    "reason": Reason,
    "account": Account,
}


def filtered(command: Callable[..., None]) -> Callable[..., None]:
    """`command(where, now, …)` as typer sees it: before its own options come those that make the filter `where`."""
    given = inspect.signature(command, eval_str=True).parameters.values()
    own = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in given if one.name not in ("where", "now")]
    filters = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
        for name, kind in _OPTIONS.items()
    ]

    @functools.wraps(command)
    def wrapped(**values: Any) -> None:
        now = time.time()
        chosen = {name: values.pop(name) for name in _OPTIONS}
        command(_make_filter(now, **chosen), now, **values)

    wrapped.__annotations__ = {one.name: one.annotation for one in (*filters, *own)}
    wrapped.__signature__ = inspect.Signature([*filters, *own])  # type: ignore[attr-defined]
    del wrapped.__wrapped__
    return wrapped


def _make_filter(
    now: float,
    *,
    idents: list[int] | None,
    older: float | None,
    younger: float | None,
    destination: str | None,
    sender: str | None,
    recipient: str | None,
    state: RecipientState | None,
    reason: str | None,
    account: str | None,
) -> QueueFilter:
    """The filter behind the options."""
    return QueueFilter(
        idents=tuple(idents or ()),
        sender=_path_pattern(sender),
        recipient=_path_pattern(recipient),
        destination=_destination_pattern(destination),
        state=state,
        older_than=None if older is None else now - older,
        younger_than=None if younger is None else now - younger,
        reason=None if reason is None else reason if _PATTERN_SIGNS.search(reason) else f"*{_literal(reason)}*",
        account=None if account is None else _literal(account),
    )


def is_everything(where: QueueFilter) -> bool:
    """True when nothing narrows the filter."""
    return where == QueueFilter()


def describe(where: QueueFilter) -> str:
    """The filter in one line, for the log."""
    words = [f"id={to_text(ident)}" for ident in where.idents]
    for one in fields(where):
        value = getattr(where, one.name)
        if one.name != "idents" and value is not None:
            words.append(f"{one.name}={getattr(value, 'value', value)}")
    return " ".join(words)[:500] or "all"


def _literal(pattern: str) -> str:
    """An address literal such as `mx:[192.0.2.1]` is no set of characters."""
    return pattern if _PATTERN_SIGNS.search(pattern) else pattern.replace("[", "[[]")


def _path_pattern(pattern: str | None) -> str | None:
    if pattern is None or _PATTERN_SIGNS.search(pattern) or pattern == NULL_PATH:
        return pattern
    bare = _literal(pattern.removeprefix("<").removesuffix(">"))
    if bare == "":
        return NULL_PATH
    return f"*{bare}" if bare.startswith("@") else bare if "@" in bare else f"*@{bare}"


def _destination_pattern(pattern: str | None) -> str | None:
    if pattern is None:
        return None
    return _literal(pattern) if ":" in pattern or pattern.startswith("*") else f"*:{_literal(pattern)}"

"""Reading: from octets to the next thing that happened, one thing at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from postreeve.mail.reply import Reply
from postreeve.smtp import sasl
from postreeve.smtp.bdat import Chunk
from postreeve.smtp.content import TOO_LARGE
from postreeve.smtp.conversation import Conversation
from postreeve.smtp.event import Closed, ContentChunk, ContentEnd, Event, Idled, Need
from postreeve.smtp.line import Fault, find_line
from postreeve.smtp.obey import advance_exchange, obey, settle_content
from postreeve.smtp.order import COMMANDS, State, Verb
from postreeve.smtp.sniff import may_become_proxy, sniff

LINE_TOO_LONG: Final = Reply(500, "5.5.2", "line too long")
BARE_LF: Final = Reply(500, "5.5.2", "lines end with CRLF, never with LF alone")
_EXCESS_OCTETS: Final = 1 << 20


_Read = Callable[[Conversation], Event | Need | None]


def read(talk: Conversation) -> Event | Need | None:
    """Read one thing; None when there is nothing to tell and reading goes on."""
    if talk.chunk is not None:
        return _read_chunk(talk, talk.chunk)
    return _READERS[talk.state](talk)


def _read_line(talk: Conversation) -> Event | Need | None:
    """A command."""
    start = talk.at
    if start >= len(talk.buffer):
        return talk.wait()
    if talk.fresh and (stranger := _sniff_first(talk)) is not None:
        return stranger
    found = find_line(talk.buffer, start, talk.settings.max_command_octets)
    if found is None:
        return talk.wait()
    talk.fresh = False
    talk.at, fault = found
    if fault is Fault.BARE_LF or fault is Fault.FAR_TOO_LONG:
        return talk.refuse_and_close("", BARE_LF if fault is Fault.BARE_LF else LINE_TOO_LONG)
    line = talk.buffer[start : talk.at - 2]
    if fault is None or _is_long_auth(talk, line):
        return obey(talk, line)
    return talk.refuse("", LINE_TOO_LONG)


def _is_long_auth(talk: Conversation, line: bytes) -> bool:
    """RFC 4954, section 4.5: AUTH with its initial response may be as long as a line of the exchange."""
    return line[:5].upper() == b"AUTH " and len(line) + 2 <= talk.settings.max_auth_octets


def _read_response(talk: Conversation) -> Event | Need | None:
    """A line of the SASL exchange. Whoever sends a longer one than allowed is no mail client: no second chance."""
    start = talk.at
    found = find_line(talk.buffer, start, talk.settings.max_auth_octets, patience=1)
    if found is None:
        return talk.wait()
    talk.at, fault = found
    if fault is None:
        return advance_exchange(talk, sasl.decode_response(talk.buffer[start : talk.at - 2]))
    return talk.refuse_and_close(Verb.AUTH, BARE_LF if fault is Fault.BARE_LF else sasl.TOO_LONG)


def _sniff_first(talk: Conversation) -> Event | Need | None:
    first = talk.buffer[talk.at : talk.at + 64]
    if (protocol := sniff(first)) is not None:
        return talk.meet_stranger(protocol)
    return talk.wait() if may_become_proxy(first) else None


def _read_content(talk: Conversation) -> Event | Need:
    """Octets of DATA. Content that is refused already is read on up to twice the limit, and no further."""
    assert talk.dots is not None
    assert talk.inspection is not None
    inspection = talk.inspection
    piece, talk.at, ended = talk.dots.read(talk.buffer, talk.at)
    data = inspection.take(piece) if piece else b""
    if ended:
        return _end_content(talk, data)
    if data:
        return ContentChunk(data)
    if inspection.size > 2 * talk.settings.max_message_octets + _EXCESS_OCTETS:
        return talk.refuse_and_close(Verb.DATA, TOO_LARGE)
    return talk.wait()


def _read_chunk(talk: Conversation, chunk: Chunk) -> Event | Need | None:
    """Octets of BDAT; those of a refused one are read too, so that none of them is ever taken for a command."""
    piece = talk.buffer[talk.at : talk.at + chunk.remaining]
    talk.at += len(piece)
    chunk.remaining -= len(piece)
    if chunk.refusal is not None:
        if chunk.remaining:
            return talk.wait()
        talk.chunk = None
        return talk.refuse_chunk(chunk.refusal)
    assert talk.inspection is not None
    data = talk.inspection.take(piece) if piece else b""
    if chunk.remaining:
        return ContentChunk(data) if data else talk.wait()
    talk.chunk = None
    if chunk.is_last:
        return _end_content(talk, data)
    if talk.inspection.problem is not None:
        return talk.refuse_chunk(talk.inspection.problem)
    talk.say(Reply(250, "2.0.0", f"{chunk.octets} octets received"))
    if not chunk.octets:
        return Idled(Verb.BDAT)
    return ContentChunk(data) if data else None


def _end_content(talk: Conversation, data: bytes) -> Event:
    assert talk.inspection is not None
    if tail := talk.inspection.finish():
        data += tail
    talk.owed = settle_content
    end = ContentEnd(talk.inspection.size, talk.inspection.problem)
    if not data:
        return end
    talk.news.append(end)
    return ContentChunk(data)


def _tell_closed(talk: Conversation) -> Event:
    return Closed(talk.closed_in_transaction)


# Where octets are command lines, and where they are something else.
_READERS: Final[Mapping[State, _Read]] = MappingProxyType(
    dict.fromkeys(COMMANDS, _read_line)
    | {
        State.CONTENT: _read_content,
        State.SASL: _read_response,
        State.HANDSHAKE: Conversation.wait,
        State.CLOSED: _tell_closed,
    }
)

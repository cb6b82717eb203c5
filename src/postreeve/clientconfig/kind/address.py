"""URLs of submission servers: `smtps://user:password@host:465?verify_peer=0`, as MAILER_DSN, EMAIL_URL and nodemailer.

The parts keep their places inside the text, so that one can be corrected without touching the others.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import quote, unquote

from postreeve.clientconfig.program.group import Group
from postreeve.clientconfig.program.notation import Changes, Notation, Wish, plain_text
from postreeve.clientconfig.settings import Span
from postreeve.clientconfig.text import Entry, Scalar, Source

_URL: Final = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.\-]{0,30})://"
    r"(?:(?P<user>[^:@/?#\s\"'<>]{0,300})(?::(?P<password>[^@/?#\s\"'<>]{0,300}))?@)?"
    r"(?P<host>\[[0-9a-fA-F:.]{2,45}\]|[^:/?#\s\"'<>@]{0,255})"
    r"(?::(?P<port>[^/?#\s\"'<>@]{0,20}))?"
    r"(?:/[^?#\s\"']{0,200})?(?:\?(?P<query>[^#\s\"']{0,500}))?",
    re.IGNORECASE,
)
_VARIABLE: Final = re.compile(r"\$\{?\w|%env\(|\{\{|<%|#\{")


@dataclass(frozen=True, slots=True)
class Url:
    """A URL and the span of the text that it was found in; entries have the names of the parts."""

    scheme: str
    entries: tuple[Entry, ...]


def read_url(source: Source, key: str, place: Span, key_span: Span) -> Url | None:
    """The URL that stands at the beginning of a span, quotes aside; None where there is none.

    The entries are `scheme`, `user`, `password`, `host`, `port` and, for `?name=value`, `query.name`; empty ones stand
    where more could be written: `after_host` where there is no port, `tail` at the end.
    """
    mark = source.text[place.start : place.start + 1] in "\"'`" and place.end > place.start
    start, end = place.start + mark, place.end
    if mark and end - start > 0 and source.text[end - 1] == source.text[place.start]:
        end -= 1
    found = _URL.match(source.text, start, end)
    if found is None:
        return None
    entries = [
        _entry(source, part, found.start(part), found.end(part), key_span)
        for part in ("scheme", "user", "password", "host", "port")
        if found[part] is not None
    ]
    at = found.start("query")
    for pair in (found["query"] or "").split("&"):
        name, sign, value = pair.partition("=")
        if sign:
            begin = at + len(name) + 1
            entries.append(_entry(source, f"query.{name}", begin, begin + len(value), key_span))
        at += len(pair) + 1
    if found["port"] is None:
        entries.append(_entry(source, "after_host", found.end("host"), found.end("host"), key_span))
    entries.append(_entry(source, "tail", found.end(), found.end(), key_span))
    return Url(found["scheme"].lower(), tuple(entries))


def url_of(source: Source, entry: Entry) -> Url | None:
    """The URL that a setting is; one that is written in another way (base64) keeps the setting's place."""
    place, value = entry.scalar.literal or entry.scalar.span, entry.scalar.value
    if not isinstance(value, str) or "://" not in value or "://" in source.written(place):
        return read_url(source, entry.key, place, entry.key_span)
    inner = Source(value)
    url = read_url(inner, entry.key, inner.span(0, len(value)), entry.key_span)
    if url is None:
        return None
    parts = (replace(one, scalar=replace(one.scalar, span=entry.scalar.span, literal=None)) for one in url.entries)
    return Url(url.scheme, tuple(parts))


def with_port(changes: Changes, group: Group) -> dict[str, Wish]:
    """Changes in which a port that is not there is written behind the host."""
    made = dict(changes)
    if "port" in made and "port" not in group.last:
        made["after_host"] = f":{made.pop('port')}"
    return made


def url_literal(wish: Wish, scalar: Scalar | None) -> str:
    """A part of a URL, percent-encoded where it replaces one."""
    is_new = scalar is None or scalar.value == ""
    return plain_text(wish) if is_new else quote(plain_text(wish), safe=".-_~[]:+")


URL_NOTATION: Final = Notation(line=lambda key, literal: "", literal=url_literal, joint="&", removes=False)


def _entry(source: Source, key: str, start: int, end: int, key_span: Span) -> Entry:
    raw = source.text[start:end]
    span = source.span(start, end)
    if _VARIABLE.search(raw):
        return Entry(key, Scalar(None, span, None, is_reference=True), key_span)
    return Entry(key, Scalar(unquote(raw) if key != "scheme" else raw.lower(), span, span), key_span)

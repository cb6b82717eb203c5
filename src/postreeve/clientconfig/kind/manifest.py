"""Docker Compose files and Kubernetes manifests: the environment of containers, ConfigMaps and Secrets.

What the variables mean is the matter of the programs inside: `environment` has their dialects. The values of a
Secret's `data` are base64; they are read, and corrected by nobody but their owner.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from postreeve.clientconfig.kind.environment import DIALECTS, FASTAPI, Dialect
from postreeve.clientconfig.program.form import yaml_literal
from postreeve.clientconfig.program.group import Group, group_of
from postreeve.clientconfig.program.notation import Changes, Notation, Wish, plain_text
from postreeve.clientconfig.program.outline import named
from postreeve.clientconfig.program.program import Form, Program
from postreeve.clientconfig.scan.markup import scan_yaml
from postreeve.clientconfig.scan.tree import Mapping, Node, Sequence, mappings
from postreeve.clientconfig.settings import Server, Span, SubmissionSettings, TlsMode, Wanted
from postreeve.clientconfig.text import Entry, Scalar, Source, scalar_from

_BY_NAME: Final = {dialect.name: dialect for dialect in DIALECTS}
_VARIABLE: Final = re.compile(r"SMTP_|MAIL_|EMAIL_")
_COMPOSE: Final = re.compile(r"^services\s*:", re.MULTILINE)
_KUBERNETES: Final = re.compile(r"^\s{0,8}(?:- )?kind\s*:", re.MULTILINE)
_ASSIGNMENT: Final = re.compile(r"([A-Za-z_]\w*)=")
_MODES: Final = frozenset({TlsMode.PLAIN, TlsMode.OPPORTUNISTIC, TlsMode.STARTTLS, TlsMode.IMPLICIT})


def _is_yaml(file: str, text: str) -> bool:
    return file.endswith((".yml", ".yaml")) and _VARIABLE.search(text) is not None


def _is_compose(file: str, text: str) -> bool:
    return _is_yaml(file, text) and _COMPOSE.search(text) is not None


def _is_kubernetes(file: str, text: str) -> bool:
    return _is_yaml(file, text) and _KUBERNETES.search(text) is not None and "apiVersion" in text


def _scan_compose(source: Source) -> Iterable[Group]:
    for root in scan_yaml(source):
        for path, found in mappings(root):
            pair = found.find("environment")
            if pair is not None and (path.startswith(("services.", "x-")) or path == ""):
                yield from _spoken(source, list(_environment(source, pair.value)))


def _scan_kubernetes(source: Source) -> Iterable[Group]:
    for root in scan_yaml(source):
        for path, found in mappings(root):
            for key in ("env", "data", "stringData"):
                pair = found.find(key)
                is_ours = pair is not None and (key == "env" or path == "" or path.endswith(tuple("0123456789")))
                if pair is not None and is_ours:
                    entries = list(_environment(source, pair.value))
                    if key == "data" and _kind_of(found) == "Secret":
                        entries = [_decoded(entry) for entry in entries]
                    yield from _spoken(source, entries)


def _kind_of(found: Mapping) -> str:
    pair = found.find("kind")
    return str(pair.value.value) if pair is not None and isinstance(pair.value, Scalar) else ""


def _environment(source: Source, node: Node) -> Iterator[Entry]:
    """The variables of a mapping, of a list of `KEY=value`, or of a list of `name:` and `value:`."""
    match node:
        case Mapping():
            for pair in node.pairs:
                if isinstance(pair.value, Scalar):
                    yield Entry(pair.key, pair.value, pair.key_span)
        case Sequence():
            for item in node.items:
                entry = _listed(source, item)
                if entry is not None:
                    yield entry


def _listed(source: Source, item: Node) -> Entry | None:
    if isinstance(item, Mapping):
        name, value = item.find("name"), item.find("value")
        if name is None or not isinstance(name.value, Scalar) or not isinstance(name.value.value, str):
            return None
        key_span = _with_dash(source, Span(name.key_span.start, name.value.span.end, name.key_span.line))
        if value is None or not isinstance(value.value, Scalar):
            return Entry(name.value.value, Scalar(None, name.value.span, None, is_reference=True), key_span)
        return Entry(name.value.value, value.value, key_span)
    if not isinstance(item, Scalar):
        return None
    quote = len(item.quote)
    start, end = item.span.start + quote, item.span.end - quote
    found = _ASSIGNMENT.match(source.text, start, end)
    if found is None:
        return None
    return Entry(found[1], scalar_from(source, found.end(), end), _with_dash(source, source.span(start, found.end(1))))


def _with_dash(source: Source, span: Span) -> Span:
    """The span from the dash of the list item on, from which a new item learns how it is written."""
    dash = source.text.rfind("-", source.line_start(span.start), span.start)
    return span if dash < 0 or source.text[dash + 1 : span.start].strip(" \"'") else replace(span, start=dash)


def _decoded(entry: Entry) -> Entry:
    value = entry.scalar.value
    try:
        text = base64.b64decode(str(value), validate=True).decode()
    except (binascii.Error, ValueError):
        return entry
    return replace(entry, scalar=Scalar(text.removesuffix("\n"), entry.scalar.span, None))


def _spoken(source: Source, entries: list[Entry]) -> Iterator[Group]:
    """The group of the first dialect that names a host here."""
    keys = {entry.key.upper() for entry in entries}
    for dialect in DIALECTS:
        if dialect is FASTAPI and not keys & {"MAIL_STARTTLS", "MAIL_SSL_TLS"}:
            continue
        group = group_of(source, named(entries, dialect.names, dialect.prefixes), dialect.name)
        if group.has(*dialect.marks):
            yield group
            return


def _dialect(group: Group) -> Dialect:
    return _BY_NAME[group.label]


def _settle(group: Group) -> SubmissionSettings | None:
    return _dialect(group).settle(group)


def _change(group: Group, wanted: Wanted) -> Changes | None:
    changes = _dialect(group).change(group, wanted)
    if changes is None:
        return None
    # A variable that is new is written by its own name: `beside` does not know whose dialect this is.
    spells = _dialect(group).spells
    return changes if all(name in group.last or name in spells for name in changes) else None


_SPELLS: Final = {
    (dialect.prefixes[0], name): spelt for dialect in reversed(DIALECTS) for name, spelt in dialect.spells.items()
}


def _beside(name: str, neighbour: str) -> str:
    bare = neighbour.removeprefix("-").strip(" \"'").removeprefix("name:").strip(" \"'")
    prefix = next((each for each in ("mail_", "email_", "smtp_") if bare.lower().startswith(each)), "smtp_")
    key = _SPELLS.get((prefix, name), prefix.upper() + name.upper())
    if prefix == "mail_" and name in ("tls", "ssl"):
        key = {"tls": "MAIL_USE_TLS", "ssl": "MAIL_USE_SSL"}[name]
    if not neighbour.startswith("-"):
        return key
    return f"- name: {key}" if "name:" in neighbour else f"- {key}"


def _line(key: str, literal: str) -> str:
    if key.startswith("- name:"):
        return f"- {{{key.removeprefix('- ')}, value: {literal}}}"
    if key.startswith("- "):
        return f"{key}={literal.strip(chr(34))}"
    return f"{key}: {literal}"


def _literal(wish: Wish, scalar: Scalar | None) -> str:
    """Every value of an environment is text: what is new is quoted."""
    return f'"{plain_text(wish)}"' if scalar is None else yaml_literal(wish, scalar)


_NOTATION: Final = Notation(line=_line, literal=_literal, beside=_beside)


def _show_compose(server: Server) -> str:
    return (
        "services:\n"
        "  app:\n"
        "    environment:\n"
        f"{_variables(server, '      ')}"
        f"      SMTP_PASSWORD: ${{{server.password_variable}}}\n"
    )


def _variables(server: Server, indent: str) -> str:
    encryption = {TlsMode.IMPLICIT: "ssl", TlsMode.STARTTLS: "starttls"}.get(server.mode, "none")
    return (
        f"{indent}SMTP_HOST: {server.host}\n"
        f'{indent}SMTP_PORT: "{server.port}"\n'
        f"{indent}SMTP_ENCRYPTION: {encryption}\n"
        f'{indent}SMTP_USER: "{server.username}"\n'
        f'{indent}SMTP_FROM: "{server.sender}"\n'
    )


def _show_kubernetes(server: Server) -> str:
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: mail\ndata:\n{_variables(server, '  ')}"


COMPOSE: Final = Program(
    name="compose",
    title="Docker Compose",
    modes=_MODES,
    forms=(Form(_is_compose, _scan_compose, _NOTATION),),
    settle=_settle,
    change=_change,
    show=_show_compose,
)
KUBERNETES: Final = Program(
    name="kubernetes",
    title="Kubernetes manifests",
    modes=_MODES,
    forms=(Form(_is_kubernetes, _scan_kubernetes, _NOTATION),),
    settle=_settle,
    change=_change,
    show=_show_kubernetes,
)

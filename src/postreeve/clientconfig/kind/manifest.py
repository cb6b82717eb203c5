"""Docker Compose files and Kubernetes manifests: the environment of containers, ConfigMaps and Secrets, Helm's values.

What the variables mean is the matter of the programs inside: those that are read from environment files are asked
first, then `environment` has everybody's dialects. The values of a Secret's `data` are base64; they are read, and
corrected by nobody but their owner.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from postreeve.clientconfig.kind.address import url_literal
from postreeve.clientconfig.kind.discourse import DISCOURSE
from postreeve.clientconfig.kind.email_url import EMAIL_URL
from postreeve.clientconfig.kind.environment import DIALECTS, FASTAPI, Dialect
from postreeve.clientconfig.kind.ghost import GHOST
from postreeve.clientconfig.kind.gitea import GITEA
from postreeve.clientconfig.kind.grafana import GRAFANA
from postreeve.clientconfig.kind.mastodon import MASTODON
from postreeve.clientconfig.kind.nextcloud import NEXTCLOUD
from postreeve.clientconfig.kind.symfony import SYMFONY
from postreeve.clientconfig.program.form import yaml_literal
from postreeve.clientconfig.program.group import Group, group_of
from postreeve.clientconfig.program.notation import Changes, Notation, Wish, plain_text
from postreeve.clientconfig.program.outline import named
from postreeve.clientconfig.program.program import Form, Program
from postreeve.clientconfig.program.slip import strays
from postreeve.clientconfig.scan.container import environments, helm_blocks
from postreeve.clientconfig.scan.markup import scan_yaml
from postreeve.clientconfig.settings import Server, SubmissionSettings, TlsMode, Wanted
from postreeve.clientconfig.text import Entry, Scalar, Source

_DIALECTS: Final = {dialect.name: dialect for dialect in DIALECTS}
_PROGRAMS: Final = {
    program.name: (program, form)
    for program in (GRAFANA, GITEA, DISCOURSE, GHOST, MASTODON, NEXTCLOUD, SYMFONY, EMAIL_URL)
    for form in program.forms
    if form.of_variables is not None
}
_VARIABLE: Final = re.compile(r"SMTP_|MAIL_|EMAIL_|MAILER_DSN|__mailer__|mail__options__")
_COMPOSE: Final = re.compile(r"^services\s*:", re.MULTILINE)
_KUBERNETES: Final = re.compile(r"^\s{0,8}(?:- )?kind\s*:", re.MULTILINE)
_VALUES: Final = re.compile(r"(?:.*[/\\])?values[\w.-]*\.ya?ml\Z")
_MODES: Final = frozenset({TlsMode.PLAIN, TlsMode.OPPORTUNISTIC, TlsMode.STARTTLS, TlsMode.IMPLICIT})
_IS_VARIABLE: Final = re.compile(r"[A-Z]_|__")
_VERBATIM: Final = "="
_URL_PART: Final = "%"


def _is_yaml(file: str, text: str) -> bool:
    return file.endswith((".yml", ".yaml")) and _VARIABLE.search(text) is not None


def _is_compose(file: str, text: str) -> bool:
    return _is_yaml(file, text) and _COMPOSE.search(text) is not None


def _is_kubernetes(file: str, text: str) -> bool:
    return _is_yaml(file, text) and _KUBERNETES.search(text) is not None and "apiVersion" in text


def _is_values(file: str, text: str) -> bool:
    return _VALUES.match(file) is not None and ("smtp" in text.lower() or "mail" in text)


def _scan_compose(source: Source) -> Iterable[Group]:
    for root in scan_yaml(source):
        for entries in environments(source, root, is_compose=True):
            yield from _spoken(source, entries)


def _scan_kubernetes(source: Source) -> Iterable[Group]:
    for root in scan_yaml(source):
        for entries in environments(source, root, is_compose=False):
            yield from _spoken(source, entries)


def _scan_values(source: Source) -> Iterable[Group]:
    for root in scan_yaml(source):
        for entries in environments(source, root, is_compose=False):
            yield from _spoken(source, entries)
        for entries in helm_blocks(root):
            generic = _DIALECTS["env"]
            group = group_of(source, named(entries, generic.names), generic.name)
            if group.has("host"):
                yield group


def _spoken(source: Source, entries: list[Entry]) -> Iterator[Group]:
    """The groups of the programs that know these variables, else that of the first dialect that names a host here."""
    is_known = False
    for name, (program, form) in _PROGRAMS.items():
        for group in form.of_variables(source, entries) if form.of_variables is not None else ():
            if program.settle(group) is not None:
                is_known = True
                yield _labelled(group, name, is_url=program in (SYMFONY, EMAIL_URL))
    if is_known:
        return
    keys = {entry.key.upper() for entry in entries}
    for dialect in DIALECTS:
        if dialect is FASTAPI and not keys & {"MAIL_STARTTLS", "MAIL_SSL_TLS"}:
            continue
        group = group_of(source, named(entries, dialect.names, dialect.prefixes), dialect.name)
        if group.has(*dialect.marks):
            yield group
            return


def _labelled(group: Group, name: str, *, is_url: bool) -> Group:
    """The group with the program's name in front of its label; parts of a URL are marked, being written otherwise."""
    marked = {entry: _as_part(entry) for entry in group.entries} if is_url else {}
    entries = tuple(marked.get(entry, entry) for entry in group.entries)
    last = {key: marked.get(entry, entry) for key, entry in group.last.items()}
    return Group(group.source, entries, last, f"{name}\n{group.label}")


def _as_part(entry: Entry) -> Entry:
    return replace(entry, scalar=replace(entry.scalar, quote=_URL_PART))


def _owner(group: Group) -> tuple[Program, Form, Group] | Dialect:
    name, mark, label = group.label.partition("\n")
    if not mark:
        return _DIALECTS[name]
    return *_PROGRAMS[name], replace(group, label=label)


def _settle(group: Group) -> SubmissionSettings | None:
    match _owner(group):
        case Dialect() as dialect:
            return dialect.settle(group)
        case (program, form, inner):
            settings = program.settle(inner)
            if settings is None or not program.known:
                return settings
            return replace(settings, unknown=settings.unknown + strays(inner, program.known, form.notation.spell))


def _change(group: Group, wanted: Wanted) -> Changes | None:
    """The owner's changes; a variable that is new goes by the whole name that it has in an environment."""
    match _owner(group):
        case Dialect() as dialect:
            changes = dialect.change(group, wanted)
            if changes is None or not all(name in group.last or name in dialect.spells for name in changes):
                return None
            return {
                name if name in group.last else _VERBATIM + dialect.spells[name]: wish for name, wish in changes.items()
            }
        case (program, form, inner):
            changes = program.change(inner, wanted)
            if changes is None:
                return None
            spell = form.notation.spell
            return {name if name in group.last else _VERBATIM + spell(name): wish for name, wish in changes.items()}


def _beside(name: str, neighbour: str) -> str:
    key = name.removeprefix(_VERBATIM)
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
    if scalar is not None and scalar.quote == _URL_PART:
        return url_literal(wish, scalar)
    return f'"{plain_text(wish)}"' if scalar is None else yaml_literal(wish, scalar)


_NOTATION: Final = Notation(line=_line, literal=_literal, beside=_beside)
_VALUES_NOTATION: Final = replace(
    _NOTATION, beside=lambda name, neighbour: _beside(name, neighbour) if _IS_VARIABLE.search(neighbour) else ""
)
"""A chart's own keys are nobody's: only variables are added."""


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
    title="Kubernetes manifests and Helm values",
    modes=_MODES,
    forms=(Form(_is_kubernetes, _scan_kubernetes, _NOTATION), Form(_is_values, _scan_values, _VALUES_NOTATION)),
    settle=_settle,
    change=_change,
    show=_show_kubernetes,
)

"""Django with django-environ: EMAIL_URL in an environment file.

django-environ 0.11, `environ/environ.py`: `smtp+tls` and `smtps` switch EMAIL_USE_TLS on, which is STARTTLS, `smtp+ssl`
switches EMAIL_USE_SSL on, `smtp` neither. Django's port is 25 unless set.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

from postreeve.clientconfig.kind.address import URL_NOTATION, url_of, with_port
from postreeve.clientconfig.kind.env import is_env_file
from postreeve.clientconfig.program.group import Group, group_of
from postreeve.clientconfig.program.notation import Changes
from postreeve.clientconfig.program.outline import ModeChanges, amend, outline
from postreeve.clientconfig.program.program import Form, Program
from postreeve.clientconfig.scan.env import scan_env
from postreeve.clientconfig.settings import Server, SubmissionSettings, TlsMode, Wanted
from postreeve.clientconfig.text import Entry, Source

_SCHEMES: Final = {
    "smtp": TlsMode.PLAIN, "smtp+tls": TlsMode.STARTTLS, "smtps": TlsMode.STARTTLS, "smtp+ssl": TlsMode.IMPLICIT,
}  # fmt: skip
_MODES: Final[ModeChanges] = {
    TlsMode.PLAIN: {"scheme": "smtp"},
    TlsMode.STARTTLS: {"scheme": "smtp+tls"},
    TlsMode.IMPLICIT: {"scheme": "smtp+ssl"},
}


def _is_mine(file: str, text: str) -> bool:
    return is_env_file(file) and "EMAIL_URL=" in text


def _scan(source: Source) -> Iterable[Group]:
    return _of_variables(source, scan_env(source))


def _of_variables(source: Source, entries: Iterable[Entry]) -> Iterable[Group]:
    for entry in entries:
        if entry.key == "EMAIL_URL":
            url = url_of(source, entry)
            if url is not None and url.scheme in _SCHEMES:
                yield group_of(source, url.entries, entry.key)


def _settle(group: Group) -> SubmissionSettings | None:
    if not group.has("host"):
        return None
    return outline(group, group.mode(_SCHEMES[group.written("scheme")], "scheme"), default_port=25)


def _change(group: Group, wanted: Wanted) -> Changes | None:
    if wanted.sender is not None or wanted.timeout_seconds is not None:
        return None
    changes = amend(group, wanted, _MODES)
    if changes is None or ("user" in changes and "user" not in group.last):
        return None
    # `+` separates the parts of a scheme and stays as it is.
    return with_port(changes, group)


def _show(server: Server) -> str:
    scheme = {TlsMode.IMPLICIT: "smtp+ssl", TlsMode.STARTTLS: "smtp+tls"}.get(server.mode, "smtp")
    user = quote(server.username, safe="")
    return f'EMAIL_URL="{scheme}://{user}:${{{server.password_variable}}}@{server.host}:{server.port}"\n'


EMAIL_URL: Final = Program(
    name="django-url",
    title="Django with django-environ (EMAIL_URL)",
    modes=frozenset({TlsMode.PLAIN, TlsMode.STARTTLS, TlsMode.IMPLICIT}),
    forms=(Form(_is_mine, _scan, URL_NOTATION, _of_variables),),
    settle=_settle,
    change=_change,
    show=_show,
)

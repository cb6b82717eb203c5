"""Symfony Mailer: MAILER_DSN in an environment file or `dsn:` of `config/packages/mailer.yaml`.

Symfony 5.4 to 7.3, `EsmtpTransportFactory.php`: `smtps` and port 465 are implicit TLS, `smtp` takes STARTTLS where it
is offered, since 7.3 `require_tls=true` insists on it; `verify_peer=0` accepts any certificate. The port is 25 for
smtp and 465 for smtps unless set.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote as percent

from postreeve.clientconfig.kind.address import URL_NOTATION, url_of, with_port
from postreeve.clientconfig.kind.env import is_env_file
from postreeve.clientconfig.program.group import Group, group_of
from postreeve.clientconfig.program.notation import Changes, Wish
from postreeve.clientconfig.program.outline import amend, outline
from postreeve.clientconfig.program.program import Form, Program
from postreeve.clientconfig.scan.env import scan_env
from postreeve.clientconfig.scan.markup import scan_yaml
from postreeve.clientconfig.scan.tree import flatten
from postreeve.clientconfig.settings import Server, SubmissionSettings, TlsMode, Value, Wanted
from postreeve.clientconfig.text import Entry, Source

_OURS: Final = frozenset({"smtp", "smtps"})
_KEYS: Final = frozenset({"MAILER_DSN", "MAILER_URL"})
_FLAGS: Final = {"1": True, "true": True, "on": True, "0": False, "false": False, "": False, "off": False}
_DSN_PATH: Final = re.compile(r"(?:^|\.)mailer\.(?:dsn|transports\.[\w-]+)\Z")


def _is_env(file: str, text: str) -> bool:
    return is_env_file(file) and any(f"{key}=" in text for key in _KEYS)


def _is_yaml(file: str, text: str) -> bool:
    return file.endswith((".yaml", ".yml")) and "mailer:" in text and "smtp" in text and "://" in text


def _of_variables(source: Source, entries: Iterable[Entry]) -> Iterable[Group]:
    return _groups(source, (entry for entry in entries if entry.key in _KEYS))


def _scan_env(source: Source) -> Iterable[Group]:
    return _of_variables(source, scan_env(source))


def _scan_yaml(source: Source) -> Iterable[Group]:
    entries = (entry for root in scan_yaml(source) for entry in flatten(root))
    return _groups(source, (entry for entry in entries if _DSN_PATH.search(entry.key)))


def _groups(source: Source, entries: Iterable[Entry]) -> list[Group]:
    groups = []
    for entry in entries:
        url = url_of(source, entry)
        if url is not None and url.scheme in _OURS and url.entries:
            groups.append(group_of(source, url.entries, entry.key))
    return groups


def _settle(group: Group) -> SubmissionSettings | None:
    if not group.has("host") or group.written("host") == "default":
        return None
    verify = _FLAGS.get(group.says("query.verify_peer"))
    is_smtps = group.written("scheme") == "smtps"
    return outline(
        group,
        _mode(group),
        default_port=465 if is_smtps else 25,
        verifies_certificate=None
        if "query.verify_peer" not in group.last
        else group.decides(verify, "query.verify_peer"),
        hello_name=group.text("query.local_domain"),
    )


def _mode(group: Group) -> Value[TlsMode]:
    if group.written("scheme") == "smtps" or group.written("port") == "465":
        return group.mode(TlsMode.IMPLICIT, "scheme")
    if _FLAGS.get(group.says("query.require_tls")) and "query.require_tls" in group.last:
        return group.mode(TlsMode.STARTTLS, "query.require_tls")
    if "query.auto_tls" in group.last and not _FLAGS.get(group.says("query.auto_tls"), True):
        return group.mode(TlsMode.PLAIN, "query.auto_tls")
    return group.mode(TlsMode.OPPORTUNISTIC, "scheme")


def _change(group: Group, wanted: Wanted) -> Changes | None:
    rest = Wanted(wanted.host, wanted.port, None, wanted.username)
    if wanted.sender is not None or wanted.timeout_seconds is not None:
        return None
    changes = amend(group, rest, {})
    if changes is None:
        return None
    more: dict[str, Wish] = {}
    match wanted.mode:
        case TlsMode.IMPLICIT:
            more["scheme"] = "smtps"
            if "query.require_tls" in group.last:
                more["query.require_tls"] = "false"
        case TlsMode.STARTTLS:
            more["scheme"] = "smtp"
            if "query.require_tls" in group.last:
                more["query.require_tls"] = "true"
            else:
                has_query = any(name.startswith("query.") for name in group.last)
                more["tail"] = ("&" if has_query else "?") + "require_tls=true"
            if "query.auto_tls" in group.last:
                more["query.auto_tls"] = "true"
        case TlsMode.OPPORTUNISTIC | TlsMode.PLAIN | TlsMode.BOTH:
            return None
    if wanted.verifies_certificate is not None:
        if "query.verify_peer" not in group.last:
            return None
        more["query.verify_peer"] = "1" if wanted.verifies_certificate else "0"
    return with_port({**changes, **more}, group)


def _show_dsn(server: Server) -> str:
    user = percent(server.username, safe="")
    scheme = "smtps" if server.mode is TlsMode.IMPLICIT else "smtp"
    option = {TlsMode.STARTTLS: "?require_tls=true", TlsMode.PLAIN: "?auto_tls=false"}.get(server.mode, "")
    return f'MAILER_DSN="{scheme}://{user}:${{{server.password_variable}}}@{server.host}:{server.port}{option}"\n'


SYMFONY: Final = Program(
    name="symfony",
    title="Symfony Mailer (MAILER_DSN)",
    modes=frozenset({TlsMode.PLAIN, TlsMode.OPPORTUNISTIC, TlsMode.STARTTLS, TlsMode.IMPLICIT}),
    forms=(Form(_is_env, _scan_env, URL_NOTATION, _of_variables), Form(_is_yaml, _scan_yaml, URL_NOTATION)),
    settle=_settle,
    change=_change,
    show=_show_dsn,
)

"""Exim on Debian: `dc_smarthost` of update-exim4.conf.conf.

exim4-config 4.96 (update-exim4.conf(8) and its transport remote_smtp_smarthost): hosts are separated by `;`, the port
stands behind two colons. STARTTLS is taken when offered; that it is insisted on, or that TLS begins at once, is said by
macros in another file (`REMOTE_SMTP_SMARTHOST_HOSTS_REQUIRE_TLS`, `REMOTE_SMTP_SMARTHOST_PROTOCOL`), so that the mode
is not known here. User and password are in passwd.client.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from postreeve.clientconfig.program.form import env_literal
from postreeve.clientconfig.program.group import Group, as_number, group_of
from postreeve.clientconfig.program.notation import Changes, Notation, Wish, plain_text, quoted
from postreeve.clientconfig.program.program import Form, Program, basename, settings_of
from postreeve.clientconfig.scan.env import scan_env
from postreeve.clientconfig.settings import Server, SubmissionSettings, TlsMode, Value, Wanted
from postreeve.clientconfig.text import Scalar, Source

_TYPES: Final = frozenset({"smarthost", "satellite"})


def _is_conf(file: str, text: str) -> bool:
    return "dc_smarthost" in text and (basename(file).startswith("update-exim4") or "dc_eximconfig_configtype" in text)


def _scan(source: Source) -> Iterable[Group]:
    found = group_of(source, (one for one in scan_env(source) if one.key.startswith("dc_")))
    return (found,) if found.entries else ()


def _settle(group: Group) -> SubmissionSettings | None:
    smarthost = group.text("dc_smarthost")
    if smarthost is None or group.says("dc_eximconfig_configtype") not in _TYPES:
        return None
    host, port, is_single = _first(smarthost.value or "")
    contradictions = []
    if is_single:
        contradictions.append("dc_smarthost has one colon before the port, where Exim takes two (host::587)")
    if port == 465:
        contradictions.append(
            "dc_smarthost has port 465, but Debian's transport speaks STARTTLS there unless exim4.conf.localmacros sets"
            " REMOTE_SMTP_SMARTHOST_PROTOCOL = smtps"
        )
    place = (smarthost.key, smarthost.span, smarthost.is_reference)
    return settings_of(
        group,
        host=Value(host or None, *place),
        port=Value(port or 25, *place),
        contradictions=tuple(contradictions),
    )


def _first(text: str) -> tuple[str, int | None, bool]:
    """Host and port of the first smarthost, and whether the port stands behind a single colon."""
    first = text.split(";")[0].strip()
    host, colons, port = first.partition("::")
    if colons:
        return host.strip("[]"), as_number(port), False
    host, colon, port = first.rpartition(":")
    if colon and ":" not in host and as_number(port) is not None:
        return host, as_number(port), True
    return first.strip("[]"), None, False


def _change(group: Group, wanted: Wanted) -> Changes | None:
    if wanted.username is not None or wanted.sender is not None or wanted.timeout_seconds is not None:
        return None
    if wanted.verifies_certificate is not None or wanted.mode in (TlsMode.PLAIN, TlsMode.IMPLICIT, TlsMode.BOTH):
        return None
    host, port, _is_single = _first(group.written("dc_smarthost"))
    number = wanted.port or port
    if number == 465:
        number = 587
    others = group.written("dc_smarthost").split(";")[1:]
    first = f"{wanted.host or host}::{number}" if number else wanted.host or host
    return {"dc_smarthost": ";".join((first, *others))}


def _literal(wish: Wish, scalar: Scalar | None) -> str:
    return quoted(plain_text(wish), "'") if scalar is None else env_literal(wish, scalar)


def _show(server: Server) -> str:
    return (
        "dc_eximconfig_configtype='smarthost'\n"
        f"dc_smarthost='{server.host}::{server.port}'\n"
        "# /etc/exim4/exim4.conf.localmacros:\n"
        f"#   {_macro(server.mode)}\n"
        "#   REMOTE_SMTP_SMARTHOST_TLS_VERIFY_HOSTS = *\n"
        f"# /etc/exim4/passwd.client:\n"
        f"#   {server.host}:{server.username}:${server.password_variable}\n"
    )


def _macro(mode: TlsMode) -> str:
    if mode is TlsMode.IMPLICIT:
        return "REMOTE_SMTP_SMARTHOST_PROTOCOL = smtps"
    return "REMOTE_SMTP_SMARTHOST_HOSTS_REQUIRE_TLS = *"


EXIM_SMARTHOST: Final = Program(
    name="exim-debian",
    title="Exim on Debian (dc_smarthost)",
    modes=frozenset({TlsMode.OPPORTUNISTIC, TlsMode.STARTTLS}),
    forms=(
        Form(
            _is_conf,
            _scan,
            Notation(line=lambda key, literal: f"{key}={literal}", literal=_literal, removes=False),
        ),
    ),
    settle=_settle,
    change=_change,
    show=_show,
)

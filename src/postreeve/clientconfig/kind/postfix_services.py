"""Postfix as a server: the services of master.cf that speak SMTP with clients.

Postfix 3.7 to 3.10 (master(5), postconf(5)): `-o name=value` behind a service wins over main.cf and has no white space
around `=`, unless in braces. What a service does not override is main.cf's to say; we know then only that port 465
without `smtpd_tls_wrappermode` is not implicit TLS. `host` stays empty: these are ports of our own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from postreeve.clientconfig.kind.postfix import SERVICES
from postreeve.clientconfig.program.group import Group, as_number, group_of
from postreeve.clientconfig.program.logical import LogicalLine, logical_lines
from postreeve.clientconfig.program.notation import Changes, Notation, bare
from postreeve.clientconfig.program.program import Form, Program, basename, settings_of
from postreeve.clientconfig.settings import Server, SubmissionSettings, TlsMode, Value, Wanted
from postreeve.clientconfig.text import Entry, Scalar, Source

_SERVICE: Final = re.compile(r"(?P<name>\S+)[ \t]+inet(?:[ \t]+\S+){5}[ \t]+smtpd(?=\s|$)")
_OPTION: Final = re.compile(r"-o[ \t]*\s*(?:\{\s*(\w+)\s*=\s*([^{}]*?)\s*\}|(\w+)=(\S+)|(\w+)([ \t]+=[ \t]*|=[ \t]+))")
_COMMENT: Final = re.compile(r"[ \t]*#")
_LEVELS: Final = {"none": TlsMode.PLAIN, "may": TlsMode.OPPORTUNISTIC, "encrypt": TlsMode.STARTTLS}
_PORTS: Final = frozenset({25, 465, 587, 2525, 2587, 2465})


def _is_master_cf(file: str, text: str) -> bool:
    return "smtpd" in text and (basename(file).startswith("master.cf") or "smtpd_tls_wrappermode" in text)


def _scan(source: Source) -> Iterable[Group]:
    return [
        group_of(source, _entries(source, line, match), match["name"])
        for line in logical_lines(source)
        if (match := _SERVICE.match(line.text)) is not None
    ]


def _entries(source: Source, line: LogicalLine, service: re.Match[str]) -> Iterable[Entry]:
    key = source.span(line.start, line.start + service.end("name"))
    yield Entry("service", Scalar(service["name"], key, key), key)
    for match in _OPTION.finditer(source.text, line.start + service.end(), line.end):
        if _is_commented(source, match.start()):
            continue
        if match[5] is not None:
            span = source.span(match.start(5), match.end(6))
            yield Entry(f"broken.{match[5]}", Scalar(match[0], span, span), span)
            continue
        group = 1 if match[1] is not None else 3
        span = source.span(match.start(group + 1), match.end(group + 1))
        name = source.span(match.start(group), match.end(group))
        yield Entry(match[group], Scalar(match[group + 1], span, span), name)


def _is_commented(source: Source, offset: int) -> bool:
    return _COMMENT.match(source.text, source.line_start(offset)) is not None


def _settle(group: Group) -> SubmissionSettings | None:
    name = group.written("service")
    port = _port(name)
    if port is None or port not in _PORTS:
        return None
    contradictions = [
        f"white space around = behind -o {entry.key.removeprefix('broken.')}, which Postfix does not take"
        for entry in group.entries
        if entry.key.startswith("broken.")
    ]
    is_authenticating = group.is_yes("smtpd_sasl_auth_enable")
    if port == 25 and is_authenticating:
        contradictions.append("port 25 is for relay between servers, but smtpd_sasl_auth_enable is yes there")
    if port == 25 and group.is_yes("smtpd_tls_wrappermode"):
        contradictions.append("smtpd_tls_wrappermode on port 25 keeps every other server's mail out")
    if port != 25 and is_authenticating is False:
        contradictions.append(f"nobody can log in on port {port}: smtpd_sasl_auth_enable is no")
    if is_authenticating and group.says("smtpd_tls_security_level") == "none":
        contradictions.append("smtpd_sasl_auth_enable is yes, but there is no TLS to log in under")
    if port == 25 and not contradictions:
        return None
    place = group.last["service"]
    return settings_of(
        group,
        # Without a place: nothing but a service of our own follows from its name, no host is missing.
        port=None if port == 25 else Value(port, group.value(place, port).key),
        mode=_mode(group, port),
        extra=tuple(group.value(entry, str(entry.scalar.value)) for entry in group.entries if "." not in entry.key),
        contradictions=tuple(contradictions),
    )


def _port(name: str) -> int | None:
    last = name.rpartition(":")[2]
    return SERVICES.get(last) or as_number(last)


def _mode(group: Group, port: int) -> Value[TlsMode] | None:
    if port == 25:
        return None
    if group.is_yes("smtpd_tls_wrappermode"):
        return group.decides(TlsMode.IMPLICIT, "smtpd_tls_wrappermode")
    mode = _LEVELS.get(group.says("smtpd_tls_security_level"))
    if mode is TlsMode.OPPORTUNISTIC and group.is_yes("smtpd_tls_auth_only"):
        mode = TlsMode.STARTTLS
    if mode is None and SERVICES["submissions"] == port:
        mode = TlsMode.OPPORTUNISTIC
    if mode is None:
        return None
    return group.decides(mode, "smtpd_tls_wrappermode", "smtpd_tls_security_level", "service")


def _change(group: Group, wanted: Wanted) -> Changes | None:
    if wanted.host is not None or wanted.username is not None or wanted.sender is not None:
        return None
    if wanted.verifies_certificate is not None or wanted.timeout_seconds is not None:
        return None
    changes: dict[str, str | int | bool] = {}
    port = _port(group.written("service"))
    if wanted.port is not None:
        address, colon, _service = group.written("service").rpartition(":")
        changes["service"] = f"{address}{colon}{wanted.port}"
        port = wanted.port
    match wanted.mode:
        case None:
            pass
        case TlsMode.IMPLICIT:
            changes["smtpd_tls_wrappermode"] = "yes"
        case TlsMode.STARTTLS:
            changes["smtpd_tls_security_level"] = "encrypt"
            if "smtpd_tls_wrappermode" in group.last:
                changes["smtpd_tls_wrappermode"] = "no"
        case _:
            return None
    if port == 25 and group.is_yes("smtpd_sasl_auth_enable"):
        changes["smtpd_sasl_auth_enable"] = "no"
    if port not in (None, 25) and group.is_yes("smtpd_sasl_auth_enable") is False:
        changes["smtpd_sasl_auth_enable"] = "yes"
    if port == 25 and group.is_yes("smtpd_tls_wrappermode"):
        changes["smtpd_tls_wrappermode"] = "no"
    broken = [entry.key for entry in group.entries if entry.key.startswith("broken.")]
    return changes | {key: f"{key.removeprefix('broken.')}=" for key in broken}


def _show(server: Server) -> str:
    name = {465: "submissions", 587: "submission"}.get(server.port, str(server.port))
    tls = "smtpd_tls_wrappermode=yes" if server.mode is TlsMode.IMPLICIT else "smtpd_tls_security_level=encrypt"
    return (
        f"{name} inet n - y - - smtpd\n"
        f"  -o syslog_name=postfix/{name}\n"
        f"  -o {tls}\n"
        "  -o smtpd_tls_auth_only=yes\n"
        "  -o smtpd_sasl_auth_enable=yes\n"
        "  -o smtpd_relay_restrictions=permit_sasl_authenticated,reject\n"
    )


_NOTATION: Final = Notation(line=lambda key, literal: f"-o {key}={literal}", literal=bare, removes=False, indent="  ")
POSTFIX_SERVICES: Final = Program(
    name="postfix-services",
    title="Postfix (services of master.cf)",
    modes=frozenset({TlsMode.STARTTLS, TlsMode.IMPLICIT}),
    forms=(Form(_is_master_cf, _scan, _NOTATION),),
    settle=_settle,
    change=_change,
    show=_show,
)

"""Exim: manualroute routers and their smtp transports in its run-time configuration.

Exim 4.96 (specification, chapters 20, 30 and 43): the port of a host in `route_list` stands behind two colons; a
transport's `protocol = smtps` is implicit TLS, port 465; `hosts_require_tls` insists on STARTTLS, `hosts_avoid_tls`
avoids it, neither takes what is offered. Certificates are only tried unless `tls_verify_hosts` names the hosts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from postreeve.clientconfig.program.group import Group, as_number, group_of
from postreeve.clientconfig.program.notation import Changes, Notation, bare
from postreeve.clientconfig.program.program import Form, Program, settings_of
from postreeve.clientconfig.settings import Server, SubmissionSettings, TlsMode, Value, Wanted
from postreeve.clientconfig.text import Entry, Scalar, Source, lines, renamed

_BEGIN: Final = re.compile(r"[ \t]*begin[ \t]+(\w+)")
_LABEL: Final = re.compile(r"([A-Za-z0-9_]+):[ \t]*\Z")
_OPTION: Final = re.compile(r"[ \t]*(?:hide[ \t]+)?([a-z_]+)[ \t]*=[ \t]*")
_HOST: Final = re.compile(r"(?P<host>[A-Za-z0-9.\-]+)(?:(?P<colons>::?)(?P<port>\d{1,5}))?")
_LOGIN: Final = re.compile(r"(?:<;\s*)?[\^:;]\s*(?P<user>[^\s:;^$]+)\s*[\^:;]")


@dataclass(slots=True)
class _Block:
    """One router, transport or authenticator."""

    part: str
    name: str
    entries: list[Entry]

    def says(self, key: str) -> str:
        return next((str(one.scalar.value) for one in reversed(self.entries) if one.key == key), "")


def _is_exim(file: str, text: str) -> bool:
    if "driver" not in text or not ("begin transports" in text or "driver = smtp" in text):
        return False
    return "exim" in file.lower() or "begin routers" in text or "hosts_require_tls" in text


def _blocks(source: Source) -> list[_Block]:
    part, blocks = "", [_Block("", "", [])]
    ends_at = 0
    for line in lines(source.text):
        stripped = line.text.strip()
        if line.start < ends_at or not stripped or stripped[0] in "#.":
            continue
        begin, label = _BEGIN.match(line.text), _LABEL.match(line.text)
        if begin is not None:
            part = begin[1]
        elif label is not None:
            blocks.append(_Block(part, label[1], []))
        elif (option := _OPTION.match(line.text)) is not None:
            end = _value_end(source.text, line.end)
            ends_at = end
            blocks[-1].entries.append(_entry(source, line.start, option, end))
    return blocks


def _value_end(text: str, end: int) -> int:
    """The end of a value that a backslash at the end of its lines carries on."""
    while end > 0 and text[end - 1] == "\\":
        following = text.find("\n", end)
        if following < 0:
            break
        after = text.find("\n", following + 1)
        end = len(text) if after < 0 else after
        if text[end - 1] == "\r":
            end -= 1
    return end


def _entry(source: Source, start: int, option: re.Match[str], end: int) -> Entry:
    at = start + option.end()
    written = source.text[at:end].rstrip()
    quote = '"' if len(written) > 1 and written[0] == written[-1] == '"' else ""
    text = re.sub(r"\\\r?\n[ \t]*", "", written[1:-1] if quote else written)
    key = source.span(start + option.start(1), start + option.end(1))
    span = source.span(at, at + len(written))
    return Entry(option[1], Scalar(text, span, span, quote), key)


def _scan(source: Source) -> Iterable[Group]:
    blocks = _blocks(source)
    transports = {one.name: one for one in blocks if one.says("driver") == "smtp"}
    login = [
        renamed(entry, "login.client_send")
        for one in blocks
        for entry in one.entries
        if entry.key == "client_send" and _LOGIN.match(str(entry.scalar.value))
    ]
    routed: set[str] = set()
    for router in blocks:
        if router.says("driver") != "manualroute":
            continue
        transport = transports.get(router.says("transport"))
        routed.add(router.says("transport"))
        entries = [renamed(one, f"route.{one.key}") for one in router.entries]
        entries += [renamed(one, f"transport.{one.key}") for one in (transport.entries if transport else ())]
        yield group_of(source, [*entries, *login], router.name)
    for name, transport in transports.items():
        if name not in routed:
            entries = [renamed(one, f"transport.{one.key}") for one in transport.entries]
            yield group_of(source, [*entries, *login], name)


def _settle(group: Group) -> SubmissionSettings | None:
    route = group.text("route.route_list", "route.route_data", "transport.hosts")
    if route is None or not _route_of(group):
        return None
    found = _HOST.match(_route_of(group))
    place = (route.key, route.span)
    has_transport = "transport.driver" in group.last
    mode = _mode(group) if has_transport else None
    contradictions = []
    if found is not None and found["colons"] == ":":
        contradictions.append(f"{route.key} has one colon before the port, where Exim takes two (host::587)")
    port: Value[int] | None = None
    if found is not None and found["port"]:
        port = Value(int(found["port"]), *place)
    elif has_transport:
        port = _transport_port(group, mode)
    return settings_of(
        group,
        host=Value(None if found is None else found["host"], *place, is_reference=found is None),
        port=port,
        mode=mode,
        username=_login(group),
        verifies_certificate=_verifies(group),
        hello_name=group.text("transport.helo_data"),
        contradictions=tuple(contradictions),
    )


def _route_of(group: Group) -> str:
    """The first host of the route, as written; "" where it is none (`route_list` begins with a domain pattern)."""
    listed = group.written("route.route_list")
    if listed:
        first = listed.split(";")[0].split(None, 1)
        return first[1].lstrip("\"' ") if len(first) > 1 else ""
    return (group.written("route.route_data") or group.written("transport.hosts")).lstrip("\"' ")


def _transport_port(group: Group, mode: Value[TlsMode] | None) -> Value[int] | None:
    written = group.text("transport.port")
    if written is None:
        return Value(465 if mode is not None and mode.value is TlsMode.IMPLICIT else 25)
    number = {"smtp": 25, "submission": 587, "smtps": 465}.get(written.value or "", as_number(written.value or ""))
    return Value(number, written.key, written.span)


def _mode(group: Group) -> Value[TlsMode]:
    if group.says("transport.protocol") == "smtps":
        return group.decides(TlsMode.IMPLICIT, "transport.protocol")
    if group.has("transport.hosts_avoid_tls"):
        return group.decides(TlsMode.PLAIN, "transport.hosts_avoid_tls")
    mode = TlsMode.STARTTLS if group.has("transport.hosts_require_tls") else TlsMode.OPPORTUNISTIC
    return group.decides(mode, "transport.hosts_require_tls")


def _login(group: Group) -> Value[str] | None:
    if not group.has("transport.hosts_require_auth", "transport.hosts_try_auth"):
        return None
    sent = group.text("login.client_send")
    found = None if sent is None else _LOGIN.match(sent.value or "")
    return None if sent is None or found is None else Value(found["user"], sent.key, sent.span)


def _verifies(group: Group) -> Value[bool] | None:
    if group.has("transport.tls_verify_hosts"):
        return group.decides(True, "transport.tls_verify_hosts")
    for name in ("transport.tls_try_verify_hosts", "transport.tls_verify_certificates"):
        if name in group.last and not group.written(name):
            return group.decides(False, name)
    return None


def _change(group: Group, wanted: Wanted) -> Changes | None:
    if wanted.username is not None or wanted.sender is not None or wanted.timeout_seconds is not None:
        return None
    if wanted.verifies_certificate is False:
        return None
    changes: dict[str, str | int | bool] = {}
    name = next((one for one in ("route.route_list", "route.route_data", "transport.hosts") if group.has(one)), "")
    written, route = group.written(name), _route_of(group)
    found = _HOST.match(route)
    if found is None:
        return None
    port = wanted.port or (int(found["port"]) if found["port"] else None)
    if wanted.host is not None or wanted.port is not None or found["colons"] == ":":
        at = written.find(route)
        place = f"{wanted.host or found['host']}::{port}" if port else wanted.host or found["host"]
        changes[name] = written[:at] + place + route[found.end() :]
    if wanted.mode is not None and "transport.driver" not in group.last:
        return None
    match wanted.mode:
        case None:
            pass
        case TlsMode.IMPLICIT:
            changes["transport.protocol"] = "smtps"
        case TlsMode.STARTTLS:
            if "transport.protocol" in group.last:
                changes["transport.protocol"] = "smtp"
            if "transport.hosts_avoid_tls" in group.last:
                changes["transport.hosts_avoid_tls"] = ""
            changes["transport.hosts_require_tls"] = "*"
        case _:
            return None
    if wanted.verifies_certificate is not None:
        changes |= {"transport.tls_verify_certificates": "system", "transport.tls_verify_hosts": "*"}
    return changes


def _show(server: Server) -> str:
    lines_by_mode = {TlsMode.IMPLICIT: "  protocol = smtps\n", TlsMode.STARTTLS: "  hosts_require_tls = *\n"}
    tls = lines_by_mode.get(server.mode, "")
    return (
        "begin routers\n\n"
        "smarthost:\n"
        "  driver = manualroute\n"
        "  domains = ! +local_domains\n"
        "  transport = smarthost_smtp\n"
        f"  route_list = * {server.host}::{server.port}\n"
        "  no_more\n\n"
        "begin transports\n\n"
        "smarthost_smtp:\n"
        "  driver = smtp\n"
        f"{tls}"
        "  tls_verify_certificates = system\n"
        "  tls_verify_hosts = *\n"
        "  hosts_require_auth = *\n\n"
        "begin authenticators\n\n"
        "smarthost_plain:\n"
        "  driver = plaintext\n"
        "  public_name = PLAIN\n"
        f"  client_send = ^{server.username}^${{env{{{server.password_variable}}}}}\n"
    )


EXIM: Final = Program(
    name="exim",
    title="Exim",
    modes=frozenset({TlsMode.OPPORTUNISTIC, TlsMode.STARTTLS, TlsMode.IMPLICIT}),
    forms=(
        Form(
            _is_exim,
            _scan,
            Notation(
                line=lambda key, literal: f"{key} = {literal}",
                literal=bare,
                spell=lambda name: name.rpartition(".")[2],
                removes=False,
            ),
        ),
    ),
    settle=_settle,
    change=_change,
    show=_show,
)

"""`postreeve firewall verify`: what becomes of connections, told three ways and measured beside what is intended."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from postreeve.app.configuration import Installation
from postreeve.app.reach import Way, dial_all, ways_out
from postreeve.app.verify import (
    Row,
    Told,
    case_of,
    choose_cases,
    dialled,
    make_rows,
    seen_from_outside,
)
from postreeve.checks.firewall.notation import Piece, read_scene
from postreeve.checks.firewall.scene import Scene
from postreeve.cli.firewall_machine import RootOption, is_root, place_of
from postreeve.cli.firewall_source import wrong
from postreeve.cli.firewall_state import look_around
from postreeve.cli.output import clean, console, plural, print_json, say, table
from postreeve.cli.outside_view import ask_view
from postreeve.cli.place import ConfigOption, JsonOption
from postreeve.cli.place import installation as read_installation
from postreeve.config.firewall import make_exposure
from postreeve.enforce.command import CommandFailed
from postreeve.enforce.force import read_loads
from postreeve.enforce.matrix import Answer, Case
from postreeve.enforce.place import Place
from postreeve.enforce.rehearse import try_out
from postreeve.firewall.exposure import Exposure
from postreeve.firewall.flow import Address, Direction, Family, NotUnderstood, Policy
from postreeve.firewall.intent import MAIL_PORTS, make_policy
from postreeve.probes.machine import firewall as machine
from postreeve.smtp.settings import TlsOffer

_MOST_ASKED: Final = 10
"""Ports that a probe-server looks at for one question."""
_MOST_OCTETS: Final = 256 * 1024 * 1024
_ELSEWHERE: Final = {4: "203.0.113.201", 6: "2001:db8:fff1::201"}

FilesArgument = Annotated[
    list[Path] | None,
    typer.Argument(metavar="[FILE]...", help="Rules of the layers around this machine: a cloud's, a cluster's."),
]
OutsideOption = Annotated[
    str, typer.Option("--outside", metavar="URL", help="Have a `postreeve probe-server` dial the ports from outside.")
]
TokenOption = Annotated[
    Path | None, typer.Option("--outside-token-file", metavar="FILE", help="File whose first line is its token.")
]
AuthorityOption = Annotated[
    Path | None,
    typer.Option("--ca-file", metavar="FILE", help="Trust these authorities (PEM) instead of the system's."),
]
OfflineOption = Annotated[bool, typer.Option("--offline", help="Dial nobody: rules and kernel only.")]


@dataclass(frozen=True, slots=True)
class _Found:
    rows: list[Row]
    scene: Scene
    unseen: list[str]


def verify(
    files: FilesArgument = None,
    outside: OutsideOption = "",
    token_file: TokenOption = None,
    ca_file: AuthorityOption = None,
    offline: OfflineOption = False,
    root: RootOption = Path("/"),
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell what becomes of connections, three ways, beside what is intended: open, reset or silent.

    Rules: what those in force say, layer by layer, and then the listener. Kernel: the same rules loaded in a scratch
    network namespace and dialled. Live: ways out dialled as the server's account, and with --outside our ports dialled
    by a second postreeve. Nothing is changed. JSON: `rows`, each with `direction`, `class`, `peer`, `family`,
    `protocol`, `port`, `user`, `intended`, `rules`, `kernel`, `live` (`open`, `reset`, `silent`, `unknown`) and
    `differs` (`way`, `cause`, `fix`); `read` and `unseen`.

    Exit status: 0 all that could be told is as intended, 1 something differs, 2 wrong usage or input that cannot be
    read.
    """
    if not is_root():
        raise wrong("only root can read the rules in force: run it with sudo")
    installation = read_installation(config)
    chosen = installation.config
    exposure = make_exposure(chosen, look_around(chosen))
    policy = make_policy(exposure)
    try:
        scene = _look(files or [])
    except (NotUnderstood, machine.Unseeable) as problem:
        raise wrong(str(problem)) from None
    unseen = [*scene.unseen, *scene.host.unread]
    url = "" if offline else outside or chosen.doctor.outside
    seen = _ask(installation, exposure, url, token_file, ca_file, unseen)
    ways: tuple[Way, ...] = ()
    if not offline:
        ways = asyncio.run(ways_out(policy, [(one.host.ascii, one.port) for one in chosen.doctor.known_good]))
    cases = choose_cases(policy, scene, chosen.user, ways)
    kernel = _try_kernel(place_of(root), scene, cases, unseen)
    live = {case_of(way, chosen.user): dialled(said, way) for way, said in dial_all(ways, chosen.user).items()}
    _finish(_Found(make_rows(policy, scene, cases, kernel, live, seen), scene, unseen), policy, as_json)


def _look(files: Sequence[Path]) -> Scene:
    """Raises NotUnderstood and Unseeable."""
    given = read_scene([Piece(str(one), _text(one)) for one in files], machine.means()) if files else None
    if given is not None and given.host.layers:
        raise NotUnderstood("rules of a host: those in force here are read from the kernel; give files of clouds")
    here = machine.gather(frozenset(MAIL_PORTS))
    if given is None:
        return here
    unseen = [*here.unseen, *given.unseen]
    if given.cluster is not None:
        unseen.append("what policies of Kubernetes do to each class of peer: `postreeve firewall audit` judges them")
    return replace(
        here,
        clouds=given.clouds,
        cluster=given.cluster,
        sources={**here.sources, **given.sources},
        unseen=tuple(unseen),
    )


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > _MOST_OCTETS:
            raise NotUnderstood(f"{path}: larger than any ruleset")
        return path.read_text("utf-8")
    except OSError as problem:
        raise NotUnderstood(f"{path}: {problem.strerror}") from None
    except UnicodeDecodeError:
        raise NotUnderstood(f"{path}: not text") from None


def _ask(
    installation: Installation,
    exposure: Exposure,
    url: str,
    token_file: Path | None,
    ca_file: Path | None,
    unseen: list[str],
) -> dict[tuple[Family, int], Told]:
    if not url:
        unseen.append("our ports as they look from outside: --outside URL has a `postreeve probe-server` dial them")
        return {}
    listed = installation.config.listener
    ports = sorted({one.port for one in exposure.entrances} | {one.port for one in listed if one.port})
    asked = ports[:_MOST_ASKED]
    implicit = [one.port for one in listed if one.offer is TlsOffer.IMPLICIT and one.port in asked]
    view = asyncio.run(ask_view(installation, url, token_file, ca_file, asked, implicit))
    if view.problem:
        unseen.append(f"the view from outside: {view.problem}")
    elif len(asked) < len(ports):
        unseen.append(f"from outside, ports {', '.join(map(str, ports[_MOST_ASKED:]))}: {_MOST_ASKED} at a time")
    return seen_from_outside(view.seen)


def _try_kernel(place: Place, scene: Scene, cases: Sequence[Case], unseen: list[str]) -> Sequence[Answer] | str:
    """Its answers, or why there are none."""
    device = scene.interfaces[0] if scene.interfaces else "eth0"
    try:
        return try_out(place, read_loads(place), cases, device, _own_addresses())
    except CommandFailed as problem:
        unseen.append(f"the kernel with these rules in a scratch namespace: {problem}")
        return str(problem)


def _own_addresses() -> tuple[Address, ...]:
    """Those that strangers would be answered from; nothing is sent."""
    found = []
    for version, elsewhere in _ELSEWHERE.items():
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_INET6 if version == 6 else socket.AF_INET, socket.SOCK_DGRAM) as sock,
        ):
            sock.connect((elsewhere, 9))
            found.append(ipaddress.ip_address(sock.getsockname()[0]))
    return tuple(found)


def _finish(found: _Found, policy: Policy, as_json: bool) -> None:
    wrong_rows = [row for row in found.rows if row.differing]
    if as_json:
        documents = [_document(row) for row in found.rows]
        print_json({"rows": documents, "read": dict(found.scene.sources), "unseen": found.unseen})
    else:
        _print(found, policy, wrong_rows)
    raise typer.Exit(1 if wrong_rows else 0)


def _document(row: Row) -> dict[str, Any]:
    case = row.case
    return {
        "direction": case.direction.value,
        "class": case.peer_class,
        "peer": str(case.peer),
        "family": f"ipv{case.family.value}",
        "protocol": case.protocol.value,
        "port": case.port,
        "user": case.user if case.direction is Direction.OUT else None,
        "intended": row.intended.value,
        "rules": row.rules.answer.value,
        "kernel": row.kernel.answer.value,
        "live": row.live.answer.value,
        "differs": [{"way": way, "cause": told.cause, "fix": told.fix} for way, told in row.differing],
    }


def _print(found: _Found, policy: Policy, wrong_rows: Sequence[Row]) -> None:
    say(clean(f"{policy.name}: {plural(len(found.rows), 'connection')}"))
    say()
    columns = ("WAY", "PEERS", "FAMILY", "PORTS", "INTENDED", "RULES", "KERNEL", "LIVE", "")
    console().print(table(columns, list(_lines(found.rows))))
    for (cause, fix), (ways, rows) in _causes(wrong_rows).items():
        first = rows[0]
        say()
        about = f"{first.case}: should be {first.intended.value}, not so by {', '.join(ways)}"
        say(clean(about + (f" (and {len(rows) - 1} more like it)" if len(rows) > 1 else "")))
        say(f"    {clean(cause)}")
        if fix:
            say(f"    fix: {clean(fix)}")
    say()
    for line in dict.fromkeys(found.unseen):
        say(clean(f"not looked at: {line}"))
    say(
        f"{plural(len(wrong_rows), 'connection')} not as intended" if wrong_rows else "all that was told is as intended"
    )


def _lines(rows: Sequence[Row]) -> Iterator[tuple[str, ...]]:
    """Ports that fare alike are one line."""
    groups: dict[tuple[str, ...], list[int]] = {}
    for row in rows:
        case = row.case
        who = case.peer_class if case.direction is Direction.IN else f"{case.peer_class} by {case.user}"
        told = [_word(one) for one in (row.intended, row.rules.answer, row.kernel.answer, row.live.answer)]
        mark = "differs" if row.differing else ""
        protocol = case.protocol.value
        groups.setdefault((case.direction.value, who, f"ipv{case.family.value}", protocol, *told, mark), []).append(
            case.port
        )
    for (way, who, family, protocol, *rest), ports in groups.items():
        yield (way, who, family, f"{protocol} {', '.join(map(str, ports))}", *rest)


def _word(answer: Answer) -> str:
    return "-" if answer is Answer.UNKNOWN else answer.value


def _causes(rows: Sequence[Row]) -> dict[tuple[str, str], tuple[list[str], list[Row]]]:
    """Each cause once: the ways that met it, and the connections. The kernel's word needs none beside a rule's."""
    found: dict[tuple[str, str], tuple[list[str], list[Row]]] = {}
    for row in rows:
        differing = row.differing
        shared = next((told for way, told in differing if way == "rules"), None)
        for way, told in differing:
            alike = shared if shared is not None and way == "kernel" and told.answer is shared.answer else told
            cause = alike.cause or "the rules in force let it pass"
            ways, members = found.setdefault((cause, alike.fix or "postreeve firewall apply"), ([], []))
            if way not in ways:
                ways.append(way)
            if row not in members[-1:]:
                members.append(row)
    return found

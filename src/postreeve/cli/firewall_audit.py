"""`postreeve firewall audit`: what is wrong with the rules in force, or with those in files."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from postreeve.app.configuration import Installation, find, read
from postreeve.checks.finding import Finding, Level
from postreeve.checks.firewall.checklist import CHECKS, examine
from postreeve.checks.firewall.notation import read_scene
from postreeve.checks.firewall.scene import Administrator, Manager, Names, Scene
from postreeve.cli.firewall_source import read_piece, wrong
from postreeve.cli.firewall_state import look_around
from postreeve.cli.output import clean, clean_lines, plural, print_json, say
from postreeve.cli.place import ConfigOption, JsonOption
from postreeve.config.firewall import make_exposure
from postreeve.config.problem import ConfigError
from postreeve.enforce.administrator import find_administrators
from postreeve.firewall.exposure import Exposure
from postreeve.firewall.flow import NotUnderstood, PolicyError
from postreeve.firewall.intent import MAIL_PORTS, make_policy
from postreeve.net.resolver import NetResolver, ResolverSettings
from postreeve.probes.machine import firewall as machine
from postreeve.probes.machine.firewall_names import ask_names

FilesArgument = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="[FILE]...", help="Rules of one machine and of what is around it; default: those in force here."
    ),
]
LiveOption = Annotated[bool, typer.Option("--live", help="The rules in force here, besides any FILE.")]
ListOption = Annotated[bool, typer.Option("--list", help="List all checks, and look at nothing.")]


def audit_rules(
    files: FilesArgument = None,
    live: LiveOption = False,
    list_checks: ListOption = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Hold the rules in force, or those in files, against what the server needs and against who listens.

    A FILE is told by its content: a script of nft or `nft -j list ruleset`, iptables-save, `ipset save`, user.rules of
    ufw, XML of firewalld, or what the tools of AWS, GCP, Azure, DigitalOcean, Hetzner, kubectl and `terraform show`
    print as JSON. With --live such files are the layers around this machine. Nothing is changed. Without a
    configuration only what is wrong with any rules is found. JSON: `findings`, each with `check` (FW001 …), `level`
    (`error`, `warning`, `note`), `title`, `subject`, `because` (the rule quoted) and `fix` (the command); `read` and
    `unseen`.

    Exit status: 0 nothing worse than a note, 1 errors or warnings, 2 wrong usage or rules that cannot be read.
    """
    if list_checks:
        _list(as_json)
        return
    with _without_collection():
        try:
            scene = _read(files or [], live or not files)
        except (NotUnderstood, machine.Unseeable) as problem:
            raise wrong(str(problem)) from None
        scene = _with_intent(scene, config)
        findings = examine(scene)
    if as_json:
        documents = [_document(one) for one in findings]
        print_json({"findings": documents, "read": dict(scene.sources), "unseen": list(scene.unseen)})
    else:
        _print(findings, scene)
    raise typer.Exit(1 if any(one.level is not Level.NOTE for one in findings) else 0)


@contextmanager
def _without_collection() -> Iterator[None]:
    """Values by the hundred thousand and no cycles among them: looking for some takes a fifth of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _read(files: Sequence[Path], is_live: bool) -> Scene:
    """Raises NotUnderstood and Unseeable."""
    given = read_scene(map(read_piece, files), machine.means()) if files else None
    if not is_live and given is not None:
        return given
    here = machine.gather(frozenset(MAIL_PORTS))
    if given is None:
        return here
    if given.host.layers:
        raise NotUnderstood("rules of a host besides those in force here: give either, files of clouds go with --live")
    return replace(
        here,
        clouds=given.clouds,
        cluster=given.cluster,
        sources={**here.sources, **given.sources},
        unseen=(*here.unseen, *given.unseen),
    )


def _with_intent(scene: Scene, config: Path | None) -> Scene:
    """With what should be, as far as there is a configuration. Raises ConfigError for one that is wrong."""
    try:
        place = find(config)
    except ConfigError:
        if config is not None:
            raise
        return _blind(scene, "what should be open: there is no configuration (--config FILE)")
    installation = read(place)
    try:
        exposure = make_exposure(installation.config, look_around(installation.config))
        policy = make_policy(exposure)
    except PolicyError as problem:
        return _blind(scene, f"what should be open: {problem}")
    scene = replace(scene, exposure=exposure, policy=policy, smarthosts_now=exposure.smarthosts)
    return _with_machine(scene, installation, exposure) if scene.is_live else scene


def _with_machine(scene: Scene, installation: Installation, exposure: Exposure) -> Scene:
    administrators = tuple(
        Administrator(one.address, one.port)
        for one in find_administrators(os.environ)
        if not one.address.is_loopback and one.port == exposure.ssh_port
    )
    names, problem = asyncio.run(_ask(installation))
    scene = replace(scene, names=names, administrators=administrators)
    return _blind(scene, problem) if problem else scene


async def _ask(installation: Installation) -> tuple[Names | None, str]:
    config = installation.config
    servers = tuple((str(one.address), one.port) for one in config.dns.servers)
    resolver = NetResolver(ResolverSettings(servers, timeout_seconds=3.0, total_seconds=6.0))
    try:
        return await ask_names(resolver, config.hostname.ascii, [one.name.ascii for one in config.domain])
    finally:
        await resolver.close()


def _blind(scene: Scene, why: str) -> Scene:
    return replace(scene, unseen=(*scene.unseen, why))


def _list(as_json: bool) -> None:
    if as_json:
        print_json([{"id": one.id, "level": one.level.value, "title": one.title, "about": one.about} for one in CHECKS])
        return
    for one in CHECKS:
        say(f"{one.id}  ({one.level.value})  {one.title}")
        say(f"    {one.about}")


def _print(findings: tuple[Finding, ...], scene: Scene) -> None:
    for name, kind in scene.sources.items():
        say(clean(f"{name}: {kind}"))
    if scene.manager is not Manager.NOBODY:
        say(f"rules are looked after by {scene.manager.value}")
    for one in findings:
        say()
        say(clean(f"{one.check} {one.level.value}: {one.title}: {one.subject}"))
        for line in one.because:
            say(f"    {clean(line)}")
        for number, line in enumerate(clean_lines(one.fix)):
            say(f"    {'fix: ' if number == 0 else '     '}{line}")
    say()
    for line in scene.unseen:
        say(clean(f"not looked at: {line}"))
    counts = {level: sum(one.level is level for one in findings) for level in Level}
    told = ", ".join(plural(count, level.value) for level, count in counts.items() if count)
    say(told or f"nothing is wrong by {len(CHECKS)} checks")


def _document(finding: Finding) -> dict[str, Any]:
    return {
        "check": finding.check,
        "level": finding.level.value,
        "title": finding.title,
        "subject": finding.subject,
        "because": list(finding.because),
        "fix": finding.fix,
    }

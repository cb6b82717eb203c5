"""A program's settings file as a target: what that program would connect to, and with which credentials."""

from __future__ import annotations

from pathlib import Path

from postreeve.checks.facts import Intent, TargetKind
from postreeve.clientconfig.kind import read_all
from postreeve.clientconfig.settings import SubmissionSettings, TlsMode, Value
from postreeve.probes.script import Login
from postreeve.probes.target import NoTarget, Target, parse_target

_MAX_OCTETS = 4_194_304
_INTENTS = {
    TlsMode.PLAIN: Intent.PLAIN,
    TlsMode.OPPORTUNISTIC: Intent.AUTO,
    TlsMode.STARTTLS: Intent.STARTTLS,
    TlsMode.IMPLICIT: Intent.IMPLICIT,
    TlsMode.BOTH: Intent.IMPLICIT,
}


def read_settings(path: Path) -> tuple[tuple[Target, Login | None], ...]:
    """Every server that the file names, in its order, with the credentials that stand there. Raises NoTarget.

    Settings whose host comes from elsewhere (an environment variable without a default) name no server.
    """
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_OCTETS + 1).decode("utf-8", "replace")
    except OSError as problem:
        raise NoTarget(f"{path} cannot be read: {problem.strerror}") from None
    if len(text) > _MAX_OCTETS:
        raise NoTarget(f"{path} is too long to be a settings file")
    found = [(kind.name, settings) for kind, settings in read_all(str(path), text)]
    if not found:
        raise NoTarget(f"{path} has no mail settings of a kind that is known here")
    targets = [made for name, settings in found if (made := _target(name, settings, str(path))) is not None]
    if not targets:
        raise NoTarget(f"{path} names no mail host: it comes from the environment, so give the host itself")
    return tuple(targets)


def _target(kind: str, settings: SubmissionSettings, file: str) -> tuple[Target, Login | None] | None:
    host = _plain(settings.host)
    if not host:
        return None
    pasted = parse_target(host)
    port = settings.port.value if settings.port is not None else None
    mode = settings.mode.value if settings.mode is not None else None
    target = Target(
        text=f"{file}:{settings.line}",
        kind=TargetKind.SETTINGS,
        name=pasted.name,
        port=port if port is not None and 0 < port < 65_536 else pasted.port,
        intent=_INTENTS[mode] if mode is not None else pasted.intent,
        username=_plain(settings.username),
        hello_name=_plain(settings.hello_name),
        sender=_plain(settings.sender),
        library=kind,
        understood=pasted.understood,
    )
    password = _plain(settings.password)
    return target, Login(target.username, password) if target.username and password else None


def _plain(value: Value[str] | None) -> str:
    """A text that stands in the file itself."""
    return (value.value or "").strip() if value is not None else ""

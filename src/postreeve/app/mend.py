"""The repairs that `doctor --fix` makes: only those that cannot lose anything and can be seen to have worked."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from pathlib import Path

from postreeve.checks.finding import Finding
from postreeve.checks.machine import Machine


def mend(findings: Iterable[Finding], machine: Machine) -> tuple[str, ...]:
    """Do what is safe, once each; returns what was done or why it could not be, for the operator."""
    done: list[str] = []
    subjects = {(one.check, one.subject) for one in findings}
    for one in machine.permissions:
        if ("secret-readable", one.path) in subjects:
            done.append(_tighten(Path(one.path), one.mode & one.wanted_mode))
    if any(check == "certificate-stale" for check, _ in subjects) and machine.process:
        done.append(_reload(machine.process))
    return tuple(done)


def _tighten(path: Path, mode: int) -> str:
    try:
        path.chmod(mode & 0o7777)
    except OSError as problem:
        return f"{path}: its mode could not be changed: {problem.strerror}"
    return f"{path}: mode {mode & 0o7777:04o}"


def _reload(process: int) -> str:
    try:
        os.kill(process, signal.SIGHUP)
    except OSError as problem:
        return f"process {process} could not be told to reload: {problem.strerror}"
    return f"process {process} reloads its certificates"

"""`postreeve lint --probe`: connect to what a file names, as the program that reads it would."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

from postreeve.checks.judge import judge
from postreeve.checks.verdict import HEALTHY
from postreeve.probes.request import Request
from postreeve.probes.settings_file import read_settings
from postreeve.probes.target import NoTarget
from postreeve.probes.walk import walk


def probe_file(file: str, ca_file: Path | None = None) -> list[tuple[dict[str, Any], bool]]:
    """The verdict on every server that the file names, and whether all is well there; the login is tried once."""
    found: list[tuple[dict[str, Any], bool]] = []
    try:
        targets = read_settings(Path(file))
    except NoTarget as problem:
        sys.stderr.write(f"postreeve lint: {problem}\n")
        return found
    for target, login in targets:
        request = Request(login=login, is_application=True, library=target.library, ca_file=ca_file)
        verdict = judge(asyncio.run(walk(target, request, now=time.time()))).verdict
        document = {
            "target": f"{target.text}: {target.name}" + (f":{target.port}" if target.port else ""),
            "cause": verdict.cause,
            "confidence": verdict.confidence.value,
            "stage": verdict.stage.value,
            "evidence": list(verdict.evidence),
            "fix": verdict.fix,
        }
        found.append((document, verdict.cause == HEALTHY))
    return found

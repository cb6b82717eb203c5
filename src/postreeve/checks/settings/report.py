"""What lint found, as documents for programs: our own JSON, and SARIF 2.1.0 for code hosts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final
from urllib.parse import quote

from postreeve.checks.finding import Level
from postreeve.checks.settings.lint import Linted
from postreeve.checks.settings.rule import RULES
from postreeve.checks.settings.subject import Problem
from postreeve.clientconfig.settings import SubmissionSettings, Value

_SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"
_LOGIN: Final = re.compile(r"//[^/@:\s]*:([^/@\s]+)@")
_PLACES: Final = {rule.id: place for place, rule in enumerate(RULES)}


def masked(text: str, secrets: Sequence[str]) -> str:
    """The text without the secrets in it."""
    for secret in secrets:
        text = text.replace(secret, "********")
    return text


def secrets_of(linted: Linted, text: str) -> list[str]:
    """What may not be printed, the longest first: passwords as they mean and as they are written."""
    found: set[str] = set()
    for settings in linted.settings:
        password = settings.password
        if password is not None and password.value and not password.is_reference:
            found.add(password.value)
            if password.span is not None:
                found.add(text[password.span.start : password.span.end].strip("\"'`"))
        # Somebody pasted a whole URL where the host belongs.
        for value in (settings.host, settings.sender, settings.username):
            if value is not None and value.value:
                found.update(_LOGIN.findall(value.value))
    return sorted((one for one in found if len(one) >= 3), key=len, reverse=True)


def without_secrets(linted: Linted, text: str) -> Linted:
    """The same with no password in what the findings say."""
    secrets = secrets_of(linted, text)
    return replace(linted, problems=tuple(_hushed(one, secrets) for one in linted.problems)) if secrets else linted


def _hushed(one: Problem, secrets: Sequence[str]) -> Problem:
    finding = one.finding
    because = tuple(masked(line, secrets) for line in finding.because)
    return replace(one, finding=replace(finding, because=because, fix=masked(finding.fix, secrets)))


def json_document(
    files: Sequence[Linted], fixed: frozenset[str] = frozenset(), skipped: Sequence[tuple[str, str]] = ()
) -> dict[str, Any]:
    """Everything that was read and found; passwords are left out."""
    problems = [one for linted in files for one in linted.problems]
    return {
        "version": 1,
        "files": [
            {
                "file": linted.file,
                "settings": [_settings(one) for one in linted.settings],
                "findings": [_finding(one) for one in linted.problems],
                "fixed": linted.file in fixed,
            }
            for linted in files
        ],
        "skipped": [{"file": file, "because": because} for file, because in skipped],
        "summary": {level.value: sum(one.finding.level is level for one in problems) for level in Level},
    }


def _settings(settings: SubmissionSettings) -> dict[str, Any]:
    mode = settings.mode.value if settings.mode is not None else None
    return {
        "kind": settings.kind,
        "line": settings.line,
        "host": _said(settings.host),
        "port": _said(settings.port),
        "mode": mode.value if mode is not None else None,
        "username": _said(settings.username),
        "has_password": settings.password is not None,
        "sender": _said(settings.sender),
    }


def _said(value: Value[Any] | None) -> Any:
    said = None if value is None else value.value
    return _LOGIN.sub("//********@", said) if isinstance(said, str) else said


def _finding(one: Problem) -> dict[str, Any]:
    finding = one.finding
    return {
        "id": finding.check,
        "level": finding.level.value,
        "title": finding.title,
        "line": one.line,
        "because": list(finding.because),
        "fix": finding.fix,
        "fixable": one.wanted is not None or bool(one.edits),
    }


def sarif_document(files: Sequence[Linted], version: str) -> dict[str, Any]:
    """SARIF 2.1.0 (OASIS), one run."""
    return {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": {"name": "postreeve", "version": version, "rules": _rules()}},
                "columnKind": "unicodeCodePoints",
                "results": [_result(linted.file, one) for linted in files for one in linted.problems],
            }
        ],
    }


def _rules() -> list[dict[str, Any]]:
    return [
        {
            "id": rule.id,
            "shortDescription": {"text": rule.title},
            "fullDescription": {"text": rule.why},
            "defaultConfiguration": {"level": rule.level.value},
        }
        for rule in RULES
    ]


def _result(file: str, one: Problem) -> dict[str, Any]:
    finding = one.finding
    text = "; ".join((finding.title, *finding.because)) + (f". Fix: {finding.fix}" if finding.fix else "")
    return {
        "ruleId": finding.check,
        "ruleIndex": _PLACES[finding.check],
        "level": finding.level.value,
        "message": {"text": text},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": _uri(file)},
                    "region": {"startLine": one.line},
                }
            }
        ],
    }


def _uri(file: str) -> str:
    """A relative reference (RFC 3986, section 4.2) or a path that is absolute."""
    return quote(file.replace("\\", "/").removeprefix("./"), safe="/~._-@+=,!()")

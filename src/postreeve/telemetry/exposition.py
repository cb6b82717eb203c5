"""Snapshots in the Prometheus text format (version 0.0.4)."""

from __future__ import annotations

from typing import Any, Final

from postreeve.telemetry.family import FAMILIES, Family, Kind
from postreeve.telemetry.metric import Snapshot

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


def render(snapshot: Snapshot) -> str:
    """The text of one scrape: every known metric that has series, in the catalogue's order."""
    lines: list[str] = []
    for family in FAMILIES:
        series = snapshot.get(family.name)
        if not series:
            continue
        lines.append(f"# HELP {family.name} {family.text}")
        lines.append(f"# TYPE {family.name} {family.kind.value}")
        for values, value in series:
            labels = [f'{name}="{_escape(text)}"' for name, text in zip(family.labels, values, strict=True)]
            if family.kind is Kind.HISTOGRAM:
                lines += _histogram(family, labels, value)
            else:
                lines.append(f"{family.name}{_braces(labels)} {_number(value)}")
    return "\n".join(lines) + "\n"


def _histogram(family: Family, labels: list[str], value: Any) -> list[str]:
    counts, total = value
    lines, count = [], 0
    for bound, here in zip([*(_number(bound) for bound in family.buckets), "+Inf"], counts, strict=True):
        count += here
        bucket = _braces([*labels, f'le="{bound}"'])
        lines.append(f"{family.name}_bucket{bucket} {count}")
    lines.append(f"{family.name}_sum{_braces(labels)} {_number(total)}")
    lines.append(f"{family.name}_count{_braces(labels)} {count}")
    return lines


def _braces(labels: list[str]) -> str:
    return "{" + ",".join(labels) + "}" if labels else ""


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))


def _escape(text: str) -> str:
    text = text.encode("utf-8", "replace").decode()
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

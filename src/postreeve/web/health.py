"""Is the server well? Judged by what its workers count."""

from __future__ import annotations

from postreeve.telemetry import family as f
from postreeve.telemetry.metric import Snapshot


def find_problems(snapshot: Snapshot) -> list[str]:
    """Why the server should get no new mail now, in words; empty when all is well."""
    problems = []
    workers = {labels[0]: count for labels, count in snapshot.get(f.WORKERS.name, ())}
    missing = workers.get("configured", 0) - workers.get("answering", 0)
    if missing > 0:
        problems.append(f"{missing} of {workers['configured']} workers do not answer")
    if any(value < 1 for _, value in snapshot.get(f.STORE_HEALTHY.name, ())):
        problems.append("the store cannot promise durability, or has no room")
    return problems

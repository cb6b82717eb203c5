"""Counters of this machine's firewall: rules that threw away packets to or from our ports. Reads, never writes."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from typing import Any, Final

from postreeve.checks.machine import Counter

_PATIENCE_SECONDS: Final = 5.0
_MAX_OCTETS: Final = 16_777_216
_FATES: Final = ("drop", "reject")


async def read_counters(ports: frozenset[int], outgoing: frozenset[int]) -> tuple[tuple[Counter, ...], str]:
    """Rules with their counts, and why they could not be read ("" when they could)."""
    text, problem = await _run("nft", "-j", "list", "ruleset")
    if problem:
        return (), f"the firewall's counters: {problem}"
    try:
        document = json.loads(text or "{}")
    except ValueError:
        return (), "the firewall's counters: nft printed no JSON"
    return tuple(find_counters(document, ports, outgoing)), ""


def find_counters(document: Any, ports: frozenset[int], outgoing: frozenset[int]) -> Iterator[Counter]:
    """Rules of an `nft -j list ruleset` that count, drop or reject, and are about one of these ports."""
    entries = document.get("nftables", []) if isinstance(document, dict) else []
    hooks: dict[tuple[str, str, str], str] = {}
    for entry in entries:
        chain = entry.get("chain") if isinstance(entry, dict) else None
        if isinstance(chain, dict):
            hooks[(chain.get("family", ""), chain.get("table", ""), chain.get("name", ""))] = chain.get("hook", "")
    for entry in entries:
        rule = entry.get("rule") if isinstance(entry, dict) else None
        if isinstance(rule, dict):
            hook = hooks.get((rule.get("family", ""), rule.get("table", ""), rule.get("chain", "")), "")
            yield from _look(rule, hook, outgoing if hook == "output" else ports)


def _look(rule: dict[str, Any], hook: str, ports: frozenset[int]) -> Iterator[Counter]:
    expressions = [one for one in rule.get("expr", []) if isinstance(one, dict)]
    fate = next((name for one in expressions for name in _FATES if name in one), "")
    counted = next((one["counter"] for one in expressions if isinstance(one.get("counter"), dict)), None)
    if not fate or counted is None or not counted.get("packets") or _is_selective(expressions):
        return
    for port in sorted(_ports(expressions) & ports):
        place = f"{rule.get('family')} {rule.get('table')} {rule.get('chain')} handle {rule.get('handle')}"
        words = f"{place}: tcp dport {port} {fate}"
        yield Counter(words, port, int(counted["packets"]), hook == "output")


def _is_selective(expressions: list[dict[str, Any]]) -> bool:
    """True for a rule that means some peers only (a ban set, a rate limit): what it drops is dropped on purpose."""
    for one in expressions:
        if one.keys() & {"limit", "xt", "connlimit", "quota", "set"}:
            return True
        left = one["match"].get("left", {}) if isinstance(one.get("match"), dict) else {}
        payload = left.get("payload", {}) if isinstance(left, dict) else {}
        if isinstance(payload, dict) and payload.get("field") in ("saddr", "daddr", "sport"):
            return True
        if isinstance(left, dict) and "ct" in left and one["match"].get("right") not in ("new", ["new"]):
            return True
    return False


def _ports(expressions: list[dict[str, Any]]) -> set[int]:
    """Ports that a rule names as TCP destination; a rule without any is about everything and tells nothing."""
    found: set[int] = set()
    for one in expressions:
        match = one.get("match")
        if not isinstance(match, dict) or match.get("op") not in ("==", "in"):
            continue
        payload = match.get("left", {}).get("payload", {}) if isinstance(match.get("left"), dict) else {}
        if payload.get("field") != "dport" or payload.get("protocol") not in ("tcp", "th"):
            continue
        found |= _numbers(match.get("right"))
    return found


def _numbers(right: Any) -> set[int]:
    if isinstance(right, int):
        return {right}
    if isinstance(right, dict) and isinstance(right.get("set"), list):
        return {port for one in right["set"] for port in _numbers(one)}
    if isinstance(right, dict) and isinstance(right.get("range"), list) and len(right["range"]) == 2:
        low, high = right["range"]
        if isinstance(low, int) and isinstance(high, int) and 0 <= low <= high <= 65_535:
            return set(range(low, high + 1))
    return set()


async def _run(*command: str) -> tuple[str, str]:
    """Standard output, and what went wrong."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except FileNotFoundError:
        return "", f"{command[0]} is not installed"
    except OSError as problem:
        return "", problem.strerror or "cannot be run"
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            out, error = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        return "", f"{command[0]} took too long"
    if process.returncode:
        said = re.sub(r"\s+", " ", error.decode(errors="replace")).strip()[:200]
        return "", said or f"{command[0]} failed"
    if len(out) > _MAX_OCTETS:
        return "", "the ruleset is too large"
    return out.decode(errors="replace"), ""

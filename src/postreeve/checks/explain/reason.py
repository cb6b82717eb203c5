"""Reasoning from a text: match, weigh, and say no more than the words decide.

The parts of the text are tried in turn, first for texts that mean something by themselves, then for umbrella texts,
then for bare reply codes: the first part and tier that say anything are the answer. Weights of 95 and more decide; two
patterns that decide differently leave it open unless one cause narrows the other.
"""

from __future__ import annotations

from typing import Final

from postreeve.checks.explain.context import Context, is_address, read_context
from postreeve.checks.explain.explanation import Candidate, Explanation
from postreeve.checks.explain.segment import MOST_CHARACTERS, segments
from postreeve.checks.knowledge.catalogue import causes, fill
from postreeve.checks.knowledge.pattern import DECISIVE, Pattern, Rule, Tier, patterns
from postreeve.checks.verdict import Confidence

MOST_CANDIDATES: Final = 12
_MEDIUM: Final = 50

_Hit = tuple[Pattern, tuple[int, int], dict[str, str]]


def explain(text: str) -> Explanation:
    """The causes that fit `text`, an error message, traceback, dialogue or piece of a log."""
    text = text[-MOST_CHARACTERS:]
    parts = segments(text)
    lowers = [part.lower() for part in parts]
    for tier in Tier:
        fitting = [one for one in patterns() if one.tier is tier]
        for part, lower in zip(parts, lowers, strict=True):
            hits = [(one, *found) for one in fitting if (found := one.find(part, lower)) is not None]
            explanation = _weigh(hits, part, text) if hits else None
            if explanation is not None and explanation.candidates:
                return explanation
    return Explanation(library=read_context(text, {}).library)


def _weigh(hits: list[_Hit], part: str, text: str) -> Explanation:
    caught: dict[str, str] = {}
    for _, _, groups in hits:
        caught = groups | caught
    near = read_context(part, caught)
    context = near if near.port or part is text else _widen(near, read_context(text, caught))
    weights: dict[str, tuple[int, str]] = {}
    spans: dict[str, tuple[int, int]] = {}
    for pattern, span, groups in hits:
        spans[pattern.id] = span
        for cause, weight in _weights(pattern, context, groups):
            if weight > weights.get(cause, (0, ""))[0]:
                weights[cause] = (weight, pattern.id)
    if not weights:
        return Explanation()
    is_decided, ranked = _rank(weights)
    known = _known(context, caught)
    candidates = tuple(
        _candidate(cause, weights[cause], known, is_decided, place) for place, cause in enumerate(ranked)
    )
    likely, hints = (candidates[:1], candidates[1:]) if is_decided else (candidates, ())
    start, end = spans[candidates[0].pattern]
    return Explanation(likely, hints, is_decided, part[start:end].strip()[:300], known, context.library)


def _widen(near: Context, wide: Context) -> Context:
    return Context(
        near.lower if len(near.lower) > len(wide.lower) else wide.lower,
        near.port or wide.port,
        near.host or wide.host,
        near.address or wide.address,
        wide.library or near.library,
        near.mode or wide.mode,
        near.command or wide.command,
    )


def _weights(pattern: Pattern, context: Context, groups: dict[str, str]) -> tuple[tuple[str, int], ...]:
    return next((rule.weights for rule in pattern.rules if _holds(rule, context, groups)), pattern.weights)


def _holds(rule: Rule, context: Context, groups: dict[str, str]) -> bool:
    return (
        (not rule.port or context.port in rule.port)
        and (not rule.library or context.library in rule.library)
        and (not rule.mode or context.mode in rule.mode)
        and (not rule.command or context.command in rule.command)
        and (not rule.text or any(one in context.lower for one in rule.text))
        and (not rule.family or context.family == rule.family)
        and (not rule.loopback or context.is_loopback)
        and (not rule.address_as_host or is_address(groups.get("host", "")))
    )


def _rank(weights: dict[str, tuple[int, str]]) -> tuple[bool, list[str]]:
    """Whether the text decides, and the causes in order."""
    catalogue = causes()
    ranked = sorted(weights, key=lambda cause: -weights[cause][0])
    deciding = [cause for cause in ranked if weights[cause][0] >= DECISIVE]
    wider = {catalogue[cause].narrows for cause in deciding}
    deciding = [cause for cause in deciding if cause not in wider]
    top = [cause for cause in deciding if weights[cause][0] == weights[deciding[0]][0]] if deciding else []
    if len(top) == 1:
        # What the same pattern lists beside a cause it is sure of is said too, as a hint; others are overruled.
        pattern = weights[top[0]][1]
        return True, [top[0], *(one for one in ranked if one != top[0] and weights[one][1] == pattern)]
    return False, (top or ranked)[:MOST_CANDIDATES]


def _candidate(cause: str, weight: tuple[int, str], known: dict[str, str], is_decided: bool, place: int) -> Candidate:
    entry = causes()[cause]
    if is_decided and place == 0:
        confidence = Confidence.HIGH
    else:
        confidence = Confidence.MEDIUM if weight[0] >= _MEDIUM and not is_decided else Confidence.LOW
    return Candidate(entry, confidence, fill(entry.fix, known), fill(entry.decide_by, known), weight[1])


def _known(context: Context, caught: dict[str, str]) -> dict[str, str]:
    known = {key: value.strip("[]'\"") for key, value in caught.items() if key not in ("command", "what")}
    if context.address:
        known.setdefault("address", context.address)
    host = known.get("host") or context.host or known.get("address", "")
    if host:
        known["host"] = f"[{host}]" if ":" in host and host.count(":") > 1 else host
    if context.port:
        known["port"] = str(context.port)
    return {key: value for key, value in known.items() if value}

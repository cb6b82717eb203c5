"""A rule of nftables' JSON in the words of nft again, for people: quoted in findings, never loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_SILENT: Final = ("counter",)
_WORDS: Final = ("accept", "drop", "continue", "return", "notrack")
_BARE_META: Final = ("iifname", "oifname", "iif", "oif")
MAX_ITEMS: Final = 12


def quote_rule(rule: Mapping[str, Any]) -> str:
    """The rule with the place where it stands."""
    place = f"{rule.get('family', '')} {rule.get('table', '')} {rule.get('chain', '')}"
    expressions = rule.get("expr", [])
    words = [_statement(one) for one in expressions] if isinstance(expressions, list) else []
    comment = f' comment "{rule["comment"]}"' if rule.get("comment") else ""
    return f"{place}: {' '.join(word for word in words if word)}{comment}"


def _statement(statement: Any) -> str:
    if isinstance(statement, str):
        return statement
    if not isinstance(statement, dict) or not statement:
        return "?"
    kind, inner = next(iter(statement.items()))
    match kind:
        case _ if kind in _SILENT:
            return ""
        case _ if kind in _WORDS:
            return str(kind)
        case "match" if isinstance(inner, dict):
            op = inner.get("op")
            middle = "" if op in ("==", "in") else f"{op} "
            return f"{_value(inner.get('left'))} {middle}{_value(inner.get('right'))}"
        case "jump" | "goto" if isinstance(inner, dict):
            return f"{kind} {inner.get('target')}"
        case "reject":
            if not isinstance(inner, dict):
                return "reject"
            return "reject with " + " ".join(str(one) for one in (inner.get("type"), inner.get("expr")) if one)
        case "vmap" if isinstance(inner, dict):
            return f"{_value(inner.get('key'))} vmap {_value(inner.get('data'))}"
        case "limit" if isinstance(inner, dict):
            over = "over " if inner.get("inv") else ""
            return f"limit rate {over}{inner.get('rate')}/{inner.get('per')}"
        case "xt" if isinstance(inner, dict):
            return f"xt {inner.get('type')} {inner.get('name')}"
        case "log":
            return "log"
    return f"{kind} {_value(inner)}".strip()


def _value(value: Any) -> str:
    match value:
        case None:
            return ""
        case {"prefix": {"addr": address, "len": length}}:
            return f"{address}/{length}"
        case {"range": [first, last]}:
            return f"{first}-{last}"
        case {"set": list() as items}:
            shown = [_value(one) for one in items[:MAX_ITEMS]] + ["..."] * (len(items) > MAX_ITEMS)
            return "{ " + ", ".join(shown) + " }"
        case {"set": one}:
            return "{ " + _value(one) + " }"
        case {"concat": list() as parts}:
            return " . ".join(_value(one) for one in parts)
        case {"payload": dict() as payload}:
            return f"{payload.get('protocol')} {payload.get('field')}"
        case {"meta": {"key": str() as key}}:
            return key if key in _BARE_META else f"meta {key}"
        case {"ct": dict() as ct}:
            return " ".join(str(one) for one in ("ct", ct.get("dir"), ct.get("key")) if one)
        case {"fib": {"result": result, "flags": list() as flags}}:
            return f"fib {' . '.join(map(str, flags))} {result}"
        case {"&": [left, right]}:
            return f"{_value(left)} & {_value(right)}"
        case [key, dict() as verdict] if len(value) == 2:
            return f"{_value(key)} : {_statement(verdict)}"
        case list():
            return ",".join(_value(one) for one in value)
        case dict():
            return " ".join(f"{key} {_value(one)}".strip() for key, one in value.items())
    return str(value)

"""The notation of iptables-save: tables, their chains with policies, the rules of each in order.

ufw keeps its rules in the same notation, in pieces that are no whole table.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from postreeve.firewall.flow import NotUnderstood

_CHAIN: Final = re.compile(r":(\S+) (ACCEPT|DROP|QUEUE|RETURN|-)(?: \[\d+:\d+\])?")
_COUNTERS: Final = re.compile(r"\[\d+:\d+\] ")
_WORDS: Final = re.compile(r"[^\s\"'\\]+(?: [^\s\"'\\]+)*")


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule as it stood; `words` are its options without `-A CHAIN`."""

    chain: str
    words: tuple[str, ...]
    quote: str


@dataclass(slots=True)
class Chain:
    """`policy` is "" for a chain that is no hook's."""

    name: str
    policy: str = ""
    rules: list[Rule] = field(default_factory=list)


@dataclass(slots=True)
class Table:
    """By name of its chains."""

    name: str
    chains: dict[str, Chain] = field(default_factory=dict)


def read_tables(text: str, source: str) -> dict[str, Table]:
    """Every table by its name. Raises NotUnderstood for another notation and for a file that was cut off."""
    tables: dict[str, Table] = {}
    table: Table | None = None
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        if line.startswith("*"):
            if table is not None:
                raise NotUnderstood(f"{source}, line {number}: a table begins before COMMIT ended {table.name}")
            table = tables.setdefault(line[1:], Table(line[1:]))
        elif table is None:
            raise NotUnderstood(f"{source}, line {number}: not the notation of iptables-save: {line[:80]}")
        elif line == "COMMIT":
            table = None
        else:
            _read_line(table, line, f"{source}, line {number}")
    if table is not None:
        raise NotUnderstood(f"{source} is cut off: no COMMIT ends the table {table.name}")
    if not tables:
        raise NotUnderstood(f"{source} has no table: not the output of iptables-save")
    return tables


def _read_line(table: Table, line: str, where: str) -> None:
    if line.startswith(":"):
        found = _CHAIN.fullmatch(line)
        if found is None:
            raise NotUnderstood(f"{where}: not a chain: {line[:80]}")
        name, policy = found.groups()
        table.chains.setdefault(name, Chain(name)).policy = "" if policy == "-" else policy
        return
    quote = _COUNTERS.sub("", line, count=1) if line.startswith("[") else line
    words = tuple(split_words(quote, where))
    if words[0] == "-F" and len(words) == 2:
        if words[1] in table.chains:
            table.chains[words[1]].rules.clear()
        return
    if words[0] not in ("-A", "-I") or len(words) < 3:
        raise NotUnderstood(f"{where}: not a rule: {line[:80]}")
    chain = table.chains.get(words[1])
    if chain is None:
        raise NotUnderstood(f"{where}: a rule of the chain {words[1]}, which is not there")
    if words[0] == "-A":
        chain.rules.append(Rule(words[1], words[2:], quote))
    else:
        rest = words[3:] if words[2].isdigit() else words[2:]
        place = int(words[2]) - 1 if words[2].isdigit() else 0
        chain.rules.insert(place, Rule(words[1], rest, quote))


def split_words(line: str, where: str) -> Iterator[str]:
    """As a shell would, in no time where nothing is quoted."""
    if _WORDS.fullmatch(line):
        yield from line.split()
        return
    try:
        yield from shlex.split(line)
    except ValueError as problem:
        raise NotUnderstood(f"{where}: a quotation that does not end: {line[:80]}") from problem

"""Rules in chains that jump to each other → flows in one list, the first that fits decides.

A jump narrows every rule of the chain it leads to; what returns is cut out of what the rest of the chain is about. What
cannot be said in boxes, or was not understood, becomes a flow with `unknown`: never open, never closed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Final

from postreeve.firewall.box import ALL_PROTOCOLS, BOTH_STATES, Box, cut, is_empty, may_cut, to_flows
from postreeve.firewall.flow import Direction, Family, Flow, NotUnderstood, Protocol, Verdict
from postreeve.firewall.interval import ALL_ADDRESSES, ALL_PORTS

MAX_DEPTH: Final = 16
"""Linux takes no deeper jumps."""
MAX_FLOWS: Final = 500_000
MAX_PIECES: Final = 512


class Way(Enum):
    """Where a rule leads that decides nothing by itself."""

    JUMP = "jump"
    GOTO = "goto"
    RETURN = "return"


@dataclass(frozen=True, slots=True)
class Case:
    """What one rule does with a part of the packets: `doubt` says what of its match or its verdict is not known."""

    box: Box
    action: Verdict | Way | None
    """None together with a doubt: it may do anything."""
    target: str = ""
    doubt: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """`split` says what the rule does with the packets of a box; what it leaves out is none of its business."""

    ident: str
    quote: str
    split: Callable[[Box], Iterable[Case]]


@dataclass(slots=True)
class Walker:
    """Follows the chains of one hook. `flows` grows."""

    chains: Mapping[str, tuple[Rule, ...]]
    direction: Direction
    default: Verdict
    """The fate of what comes to the end of the base chain; for what returns there before the end."""
    flows: list[Flow] = field(default_factory=list)
    _idents: dict[str, int] = field(default_factory=dict)
    _settled: set[tuple[Family, str]] = field(default_factory=set)

    def walk(self, chain: str, boxes: list[Box]) -> None:
        """The base chain."""
        self._walk(chain, boxes, "", 0)

    def _walk(self, chain: str, boxes: list[Box], doubt: str, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise NotUnderstood(f"chain {chain}: jumps go round or deeper than {MAX_DEPTH}")
        if chain not in self.chains:
            for box in boxes:
                self._doubtful(Rule(chain, f"jump {chain}", _nothing), box, f"there is no chain {chain}")
            return
        for rule in self.chains[chain]:
            if not boxes:
                break
            boxes = [left for box in boxes for left in self._apply(rule, box, doubt, depth)]
            if len(boxes) > MAX_PIECES:
                raise NotUnderstood(f"chain {chain}: too many exceptions to follow")

    def _apply(self, rule: Rule, box: Box, doubt: str, depth: int) -> list[Box]:
        """The rule's flows; what is left of the box for the rules behind it."""
        left = [box]
        for case in rule.split(box):
            if is_empty(case.box):
                continue
            why = "; ".join(dict.fromkeys(one for one in (doubt, case.doubt) if one))
            match case.action:
                case Verdict() as verdict:
                    self._emit(rule, case.box, verdict, why)
                case Way.JUMP:
                    self._walk(case.target, [case.box], why, depth + 1)
                case Way.GOTO:
                    # What the other chain decides is decided before; all the rest of it leaves this chain as well.
                    self._walk(case.target, [case.box], why, depth + 1)
                    left = self._leave(rule, left, [case.box], why, depth)
                case Way.RETURN:
                    left = self._leave(rule, left, [case.box], why, depth)
                case None if case.doubt:
                    self._doubtful(rule, case.box, why)
                case None:
                    pass
        return left

    def _leave(self, rule: Rule, boxes: list[Box], gone: list[Box], doubt: str, depth: int) -> list[Box]:
        """`gone` leaves this chain; in the base chain that means the default."""
        if depth == 0:
            for box in gone:
                self._emit(rule, box, self.default, doubt)
            return boxes
        for hole in gone:
            if doubt or any(not may_cut(box, hole) for box in boxes):
                self._doubtful(rule, hole, doubt or "what returns here cannot be told apart")
                continue
            boxes = [piece for box in boxes for piece in cut(box, hole)]
        return boxes

    def _doubtful(self, rule: Rule, box: Box, doubt: str) -> None:
        self._emit(rule, box, Verdict.DROP, doubt)

    def _emit(self, rule: Rule, box: Box, verdict: Verdict, doubt: str) -> None:
        others = frozenset(name for name in box.other_than if (box.family, name) not in self._settled)
        if others:
            doubt = f"{doubt}; " * bool(doubt) + f"not from or to {', '.join(sorted(others))}"
        again = self._idents.get(rule.ident, 0)
        ident = f"{rule.ident}.{again + 1}" if again else rule.ident
        plain = replace(box, other_than=frozenset())
        flows = list(to_flows(plain, self.direction, ident, verdict, rule.quote, doubt))
        if flows:
            self._idents[rule.ident] = again + 1
        self.flows += flows
        if len(self.flows) > MAX_FLOWS:
            raise NotUnderstood(f"more than {MAX_FLOWS} ways through the chains")
        if not doubt and box.interface and _is_all_of_interface(box):
            self._settled.add((box.family, box.interface))


def _is_all_of_interface(box: Box) -> bool:
    """After such a rule `other than lo` needs no saying."""
    return (
        box.peers == ALL_ADDRESSES[box.family]
        and box.protocols == ALL_PROTOCOLS
        and box.states == BOTH_STATES
        and box.ports == ALL_PORTS
        and not (box.user or box.peer_set or box.rate or box.container)
        and Protocol.ANY in box.protocols
    )


def _nothing(_box: Box) -> Iterable[Case]:
    return ()

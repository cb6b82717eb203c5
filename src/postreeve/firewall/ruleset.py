"""All rules of a machine: layers that a packet passes one after the other, each with the last word on refusing it.

An accept is final only within its layer (an nftables base chain, a security group, a network ACL): the packet passes
when every layer lets it pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from postreeve.firewall.flow import Container, Direction, Flow, Network, Policy, Verdict
from postreeve.firewall.packet import Decision, Packet, decide


class Hook(Enum):
    """Which packets a layer sees."""

    IN = "in"
    OUT = "out"
    FORWARD = "forward"
    """What goes to containers, by a port that is published."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One base chain, or one group or list of a cloud. The policy's flows are all of one direction."""

    name: str
    hook: Hook
    priority: int
    policy: Policy


@dataclass(frozen=True, slots=True)
class Ruleset:
    """Layers in the order in which packets meet them."""

    layers: tuple[Layer, ...]
    sets: Mapping[str, tuple[Network, ...]] = field(default_factory=dict)
    """What is in the named sets now."""
    published: tuple[Container, ...] = ()
    """Ports that are sent on to other addresses (DNAT) and therefore pass FORWARD, never IN."""
    limits: tuple[Flow, ...] = ()
    """Rules that refuse what exceeds a limit; within the limit they say nothing."""
    unread: tuple[str, ...] = ()
    """What is there and may decide about packets, but was not read."""

    def of(self, hook: Hook) -> tuple[Layer, ...]:
        """The layers that such packets pass."""
        return tuple(layer for layer in self.layers if layer.hook is hook)


@dataclass(frozen=True, slots=True)
class LayerDecision:
    """As `Decision`, with the layer that decided; `layer` is None when there is none at all."""

    verdict: Verdict | None
    flow: Flow | None
    layer: Layer | None


def pass_through(ruleset: Ruleset, packet: Packet) -> LayerDecision:
    """The first layer that refuses decides; else the first that cannot tell; else all let it pass.

    Where an earlier layer cannot tell, the packet is refused for sure, but perhaps by that one and in its way.
    """
    hook = Hook.OUT if packet.direction is Direction.OUT else Hook.FORWARD if packet.is_published else Hook.IN
    passed = LayerDecision(Verdict.ACCEPT, None, None)
    unsure: LayerDecision | None = None
    for layer in ruleset.of(hook):
        decision: Decision = decide(layer.policy, packet, ruleset.sets)
        here = LayerDecision(decision.verdict, decision.flow, layer)
        if decision.verdict is None:
            unsure = unsure or here
        elif decision.verdict is not Verdict.ACCEPT:
            return here
        else:
            passed = here
    return unsure or passed


def of_policy(policy: Policy) -> Ruleset:
    """A policy alone, as the one layer of every hook."""
    return Ruleset(tuple(Layer(policy.name, hook, 0, policy) for hook in Hook))

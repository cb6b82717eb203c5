"""Rules and profiles of the Windows firewall, as far as mail is concerned with them."""

from __future__ import annotations

from dataclasses import dataclass

from postreeve.firewall.flow import WORLD, Direction, Network, Ports


@dataclass(frozen=True, slots=True)
class WindowsRule:
    """One enabled rule for TCP; () for `ports` means all, and for `profiles` every one."""

    name: str
    direction: Direction
    is_block: bool
    ports: tuple[Ports, ...] = ()
    peers: tuple[Network, ...] = tuple(WORLD.values())
    profiles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Windows:
    """`active` are the profiles in force; `allows_out` those whose default lets everything leave."""

    rules: tuple[WindowsRule, ...] = ()
    active: tuple[str, ...] = ("Public",)
    allows_out: tuple[str, ...] = ()

"""The Windows firewall: a rule that blocks wins over every rule that allows, whatever their order (MS-FASP)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from postreeve.checks.doctor.check import Seen
from postreeve.checks.finding import Level
from postreeve.checks.firewall.check import Check, some
from postreeve.checks.firewall.entrance import entrances
from postreeve.checks.firewall.reach import View
from postreeve.checks.firewall.windows_scene import Windows, WindowsRule
from postreeve.firewall.exposure import Reach
from postreeve.firewall.flow import Direction
from postreeve.firewall.interval import intersect, of_networks, of_ports


def look(view: View) -> Iterator[Seen]:
    """FW030."""
    windows = view.scene.windows
    if windows is None:
        return
    yield from _overlaps(windows)
    yield from _other_profiles(view, windows)
    exposure = view.scene.exposure
    is_strict = exposure is not None and (exposure.reach is Reach.STRICT or not exposure.is_direct)
    open_now = [one for one in windows.active if one in windows.allows_out]
    if is_strict and open_now:
        names = ",".join(open_now)
        yield Seen(
            f"profile {names}",
            ("its default lets everything leave, and the configuration restricts what may",),
            f"Set-NetFirewallProfile -Profile {names} -DefaultOutboundAction Block",
        )


def _overlaps(windows: Windows) -> Iterator[Seen]:
    for allow in windows.rules:
        blocks = [one for one in windows.rules if one.is_block and not allow.is_block and _meet(one, allow)]
        for block in blocks:
            yield Seen(
                f"rule {allow.name}",
                (f"the rule {block.name} blocks a part of it, and a block wins whatever the order",),
                f'Disable-NetFirewallRule -DisplayName "{block.name}"',
            )


def _meet(one: WindowsRule, other: WindowsRule) -> bool:
    if one.direction is not other.direction or not intersect(of_ports(one.ports), of_ports(other.ports)):
        return False
    if one.profiles and other.profiles and not set(one.profiles) & set(other.profiles):
        return False
    return any(
        intersect(
            of_networks(peer for peer in one.peers if peer.version == version),
            of_networks(peer for peer in other.peers if peer.version == version),
        )
        for version in (4, 6)
    )


def _other_profiles(view: View, windows: Windows) -> Iterator[Seen]:
    for entrance in entrances(view.scene):
        opening = [
            one
            for one in windows.rules
            if not one.is_block and one.direction is Direction.IN and any(entrance.port in ports for ports in one.ports)
        ]
        for profile in windows.active:
            if opening and not any(not one.profiles or profile in one.profiles for one in opening):
                names = [f"{one.name}: {', '.join(one.profiles)}" for one in opening]
                yield Seen(
                    f"{entrance.name} port {entrance.port}, profile {profile}",
                    ("the profile in force is none of those that the rule is for", *some(names)),
                    f'Set-NetFirewallRule -DisplayName "{opening[0].name}" -Profile Any',
                )


CHECKS: Final = (
    Check(
        "FW030",
        Level.WARNING,
        "Rules of the Windows firewall cancel each other",
        "Blocks that meet allows, profiles not in force, the default for what leaves.",
        look,
    ),
)

"""Who looks after the machine's firewall: the way that rules are brought in follows from it.

An accept in one nftables table is not final, another may still drop: where ufw or firewalld is at work, a table beside
theirs could open nothing, and what they reload would be unknown to us. So they are told, in their own words.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from postreeve.enforce.command import CommandFailed, attempt
from postreeve.enforce.place import Place


class Owner(Enum):
    """Who brings the rules into the kernel."""

    UFW = "ufw"
    FIREWALLD = "firewalld"
    NFTABLES = "nftables.service"
    IPTABLES = "iptables"
    NOBODY = "nobody"


@dataclass(frozen=True, slots=True)
class Care:
    """What was found. `others` are further programs that are at work too: the last one that writes wins."""

    owner: Owner
    has_systemd: bool
    others: tuple[Owner, ...] = ()

    @property
    def is_disputed(self) -> bool:
        """True when two look after the same firewall."""
        return Owner.UFW in (self.owner, *self.others) and Owner.FIREWALLD in (self.owner, *self.others)


def find_owner(place: Place) -> Care:
    """Look at what is at work, not at what is installed. Raises CommandFailed without the rights to look."""
    at_work = [
        owner
        for owner, is_there in (
            (Owner.FIREWALLD, _has_firewalld),
            (Owner.UFW, _has_ufw),
            (Owner.NFTABLES, _has_nftables_service),
            (Owner.IPTABLES, _has_iptables),
        )
        if is_there(place)
    ]
    if Owner.UFW in at_work or Owner.FIREWALLD in at_work:
        # Their rules are iptables' and nftables' rules: seen below them, they are nobody else's.
        at_work = [one for one in at_work if one is not Owner.IPTABLES]
    owner, *others = at_work or [Owner.NOBODY]
    return Care(owner, has_systemd(place), tuple(others))


def has_systemd(place: Place) -> bool:
    """True when systemd is what started this machine."""
    return (place.root / "run/systemd/system").is_dir()


def _has_firewalld(place: Place) -> bool:
    return _answers(place, "firewall-cmd", "--state")


def _has_ufw(place: Place) -> bool:
    """Enabled in its file, and its chains are in the kernel."""
    if "enabled=yes" not in _lines(place.root / "etc/ufw/ufw.conf"):
        return False
    return _answers(place, "iptables", "-n", "-L", "ufw-user-input")


def _has_nftables_service(place: Place) -> bool:
    return has_systemd(place) and not place.within and _answers(place, "systemctl", "is-active", "--quiet", "nftables")


def _has_iptables(place: Place) -> bool:
    """Rules, or a default that drops, in the filter table of iptables; container engines' own do not count."""
    for program in ("iptables-save", "ip6tables-save"):
        try:
            done = attempt(place, program, "-t", "filter")
        except CommandFailed:
            continue
        for line in done.out.splitlines():
            if line.startswith((":INPUT DROP", ":OUTPUT DROP", "-A INPUT", "-A OUTPUT")):
                return True
    return False


def _answers(place: Place, *words: str) -> bool:
    try:
        return attempt(place, *words).status == 0
    except CommandFailed:
        return False


def _lines(path: Path) -> list[str]:
    try:
        return [line.strip().lower() for line in path.read_text(errors="replace").splitlines()]
    except OSError:
        return []

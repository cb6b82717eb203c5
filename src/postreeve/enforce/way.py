"""How rules come into the kernel, one way for each program that may look after a firewall.

A way is stateless: what was there before is kept in a directory of the snapshot, so that another process can bring it
back after ours is gone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Protocol

from postreeve.enforce.nftables import Nftables
from postreeve.enforce.owner import Owner
from postreeve.enforce.place import Place
from postreeve.enforce.scripted import FIREWALLD, UFW
from postreeve.firewall.flow import Policy


class Way(Protocol):
    """`rules` are what the renderer for this owner wrote of `policy`."""

    def check(self, place: Place, rules: str, policy: Policy) -> None:
        """Raises CommandFailed for rules that would not be taken. Changes nothing."""

    def snapshot(self, place: Place, directory: Path) -> None:
        """Keep what is there now in `directory`; on stable storage when this returns."""

    def load(self, place: Place, rules: str, policy: Policy) -> None:
        """Bring the rules in. Raises CommandFailed."""

    def restore(self, place: Place, directory: Path) -> None:
        """Bring back what `snapshot` kept, in the kernel and in files. May be repeated. Raises CommandFailed."""

    def persist(self, place: Place, rules: str) -> None:
        """Make them the rules that are loaded at every start of the machine."""

    def live(self, place: Place) -> str | None:
        """What is in force, in a notation that is the same as long as nobody changes it; None when nothing is."""

    def drift(self, place: Place, rules: str) -> str:
        """How what is loaded at the next start differs from `rules`; "" when it does not."""


_WAYS: Final[dict[Owner, Way]] = {
    Owner.UFW: UFW,
    Owner.FIREWALLD: FIREWALLD,
    Owner.NFTABLES: Nftables(),
    # An accept of ours is not final: what iptables drops stays dropped; probing sees that, the rehearsal does not.
    Owner.IPTABLES: Nftables(),
    Owner.NOBODY: Nftables(),
}


def find_way(owner: Owner) -> Way:
    """The way for an owner."""
    return _WAYS[owner]

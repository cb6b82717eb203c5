"""Where something is enforced: this machine, or a network namespace of it. No function here acts anywhere else."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

CONFIGURATION: Final = Path("/etc/postreeve")
STATE: Final = Path("/var/lib/postreeve-firewall")
"""Root's alone: what is loaded from there must not be written by the server's account."""


@dataclass(frozen=True, slots=True)
class Place:
    """`within` are the words before every command ("ip", "netns", "exec", NAME); () is where we are ourselves.

    `root` is where the files of the machine's own firewall are looked for (/etc/ufw, /etc/firewalld, /run/systemd).
    """

    within: tuple[str, ...] = ()
    configuration: Path = CONFIGURATION
    state: Path = STATE
    root: Path = field(default_factory=lambda: Path("/"))

    def command(self, *words: str) -> list[str]:
        """The words to run."""
        return [*self.within, *words]

    @property
    def rules(self) -> Path:
        """The file that is loaded at every start of the machine."""
        return self.configuration / "firewall.nft"

    def document(self) -> dict[str, Any]:
        """For another process."""
        return {
            "within": list(self.within),
            "configuration": str(self.configuration),
            "state": str(self.state),
            "root": str(self.root),
        }


def read_place(document: dict[str, Any]) -> Place:
    """What `document` wrote."""
    within = tuple(str(word) for word in document["within"])
    return Place(within, Path(document["configuration"]), Path(document["state"]), Path(document["root"]))

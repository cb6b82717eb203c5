"""What the commands that change the machine's firewall have in common: which machine, whose firewall, which rules."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from postreeve.cli.firewall_state import look_around
from postreeve.cli.place import installation as read_installation
from postreeve.config.firewall import make_exposure
from postreeve.config.model import Config
from postreeve.enforce.owner import Care, Owner, find_owner
from postreeve.enforce.place import Place
from postreeve.firewall.flow import Policy
from postreeve.firewall.intent import make_policy
from postreeve.firewall.reduce import LeftOut
from postreeve.firewall.render import firewalld, nftables, ufw

RootOption = Annotated[
    Path,
    typer.Option("--root", metavar="DIRECTORY", help="Directory that stands for `/` in the paths of files."),
]


@dataclass(frozen=True, slots=True)
class Prepared:
    """The rules in the words of the program that looks after this machine's firewall."""

    config: Config
    care: Care
    policy: Policy
    """What these rules say; less than the plan where `left_out` is not empty."""
    rules: str
    left_out: tuple[LeftOut, ...]


def place_of(root: Path) -> Place:
    """This machine, or this namespace: where the command is run."""
    if root == Path("/"):
        return Place()
    return Place((), root / "etc/postreeve", root / "var/lib/postreeve-firewall", root)


def prepare(place: Place, config: Path | None) -> Prepared:
    """Read, resolve, plan, and write for the machine's own manager. Raises PostreeveError."""
    chosen = read_installation(config).config
    policy = make_policy(make_exposure(chosen, look_around(chosen)))
    care = find_owner(place)
    match care.owner:
        case Owner.UFW:
            fitted = ufw.fit(policy)
            return Prepared(chosen, care, fitted.policy, ufw.render(fitted.policy).commands, fitted.left_out)
        case Owner.FIREWALLD:
            fitted = firewalld.fit(policy)
            return Prepared(chosen, care, fitted.policy, firewalld.render(fitted.policy).commands, fitted.left_out)
        case _:
            return Prepared(chosen, care, policy, nftables.render(policy), ())


def is_root() -> bool:
    """Only root changes firewalls."""
    return os.geteuid() == 0

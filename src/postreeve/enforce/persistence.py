"""Whether the rules are loaded when the machine starts, and what to do where they are not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from postreeve.enforce.command import CommandFailed, attempt, run
from postreeve.enforce.owner import Owner, has_systemd
from postreeve.enforce.place import Place

UNIT: Final = "postreeve-firewall.service"


def tell_persistence(place: Place, owner: Owner) -> Iterator[str]:
    """See to it that the next start loads the rules; what is left for the operator to do, one line each."""
    if owner in (Owner.UFW, Owner.FIREWALLD):
        return  # it loads its own files
    if not has_systemd(place):
        yield f"there is no systemd here: have `nft -f {place.rules}` run at every start, before the network is up"
        return
    if place.within:
        yield f"{UNIT} loads {place.rules} on the machine itself, not in a namespace of it"
        return
    try:
        run(place, "systemctl", "enable", UNIT)
    except CommandFailed as problem:
        hint = f"install packaging/systemd/{UNIT} in /etc/systemd/system and enable it"
        yield f"the rules are not loaded at the next start: {problem}: {hint}"


def find_persistence_problem(place: Place, owner: Owner) -> str:
    """Why the next start would not load the rules; "" when it would, as far as that can be known."""
    if owner in (Owner.UFW, Owner.FIREWALLD) or place.within:
        return ""
    if not has_systemd(place):
        return ""  # whoever starts this machine: it cannot be asked
    try:
        state = attempt(place, "systemctl", "is-enabled", UNIT).out.strip()
    except CommandFailed as problem:
        return str(problem)
    return "" if state == "enabled" else f"{UNIT} is {state or 'not there'}: systemctl enable {UNIT}"

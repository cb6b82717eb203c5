"""Policies to apply, and `apply` as a process that can be killed.

python -m tests.enforce.orders PLACE OWNER-OF-STEP SECONDS
"""

from __future__ import annotations

import ipaddress
import json
import os
import signal
import sys
from typing import Any

from postreeve.enforce.administrator import Administrator
from postreeve.enforce.apply import Order, Step, apply
from postreeve.enforce.owner import Owner
from postreeve.enforce.place import read_place
from postreeve.firewall.exposure import Entrance, Exposure, Purpose
from postreeve.firewall.flow import WORLD, Family, Policy
from postreeve.firewall.intent import make_policy
from postreeve.firewall.render.nftables import render
from tests.lab.pair import ADMIN_4, ADMIN_6

ADMINISTRATORS = tuple(Administrator(ipaddress.ip_address(one), 22) for one in (ADMIN_4, ADMIN_6))
_EVERYBODY = tuple(WORLD[family] for family in Family)


def policy(*ports: int, administrators: tuple[str, ...] = (ADMIN_4, ADMIN_6), **changes: Any) -> Policy:
    """Everybody may come in by these ports; SSH is for the administrators."""
    entrances = tuple(
        Entrance(
            f"port-{port}", port, Purpose.RELAY if port == 25 else Purpose.OTHER, _EVERYBODY, "it is a test", "nothing"
        )
        for port in ports
    )
    networks = tuple(ipaddress.ip_network(one) for one in administrators)
    settings: dict[str, Any] = {
        "hostname": "mail.example.org",
        "entrances": entrances,
        "is_direct": True,
        "smarthosts": (),
        "user": "",
        "administrators": networks,
    }
    return make_policy(Exposure(**(settings | changes)))


def order(chosen: Policy, **changes: Any) -> Order:
    """With short times."""
    settings: dict[str, Any] = {
        "policy": chosen,
        "rules": render(chosen),
        "owner": Owner.NOBODY,
        "administrators": ADMINISTRATORS,
        "confirm_within_seconds": 1.5,
        "probe_seconds": 0.5,
    }
    return Order(**(settings | changes))


def main(place: str, step: str, seconds: str) -> None:
    """Apply, and be killed right after `step`."""
    fatal = Step[step]

    def die(reached: Step) -> None:
        if reached is fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    chosen = order(policy(25, 587), at=die, confirm_within_seconds=float(seconds))
    apply(read_place(json.loads(place)), chosen)


if __name__ == "__main__":
    main(*sys.argv[1:])

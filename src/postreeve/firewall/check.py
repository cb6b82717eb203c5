"""What every policy must hold to before it is rendered: a mistake is an error here, never a wider rule there."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from typing import Final

from postreeve.firewall.flow import (
    Container,
    Direction,
    Flow,
    Policy,
    PolicyError,
    Ports,
    Protocol,
    State,
    tidy_peers,
    tidy_ports,
)

_IDENT: Final = re.compile(r"[a-z0-9][a-z0-9.-]{0,62}")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}")


def check(policy: Policy) -> None:
    """Raise PolicyError with everything that is wrong with it."""
    problems = list(find_problems(policy))
    if problems:
        raise PolicyError("; ".join(problems))


def find_problems(policy: Policy) -> Iterator[str]:
    """Every mistake, one line each."""
    seen: set[str] = set()
    for flow in policy.flows:
        if flow.ident in seen:
            yield f"{flow.ident}: two flows of this name"
        seen.add(flow.ident)
        for problem in _look(flow, policy):
            yield f"{flow.ident}: {problem}"


def _look(flow: Flow, policy: Policy) -> Iterator[str]:
    if not _IDENT.fullmatch(flow.ident):
        yield "its name must be lower case letters, digits, dots and hyphens"
    if bool(flow.peers) == bool(flow.peer_set):
        yield "it needs peers or a named set, one of the two"
    if flow.peer_set and flow.peer_set not in policy.sets:
        yield f"there is no set {flow.peer_set}"
    if any(one.version != flow.family.value for one in flow.peers):
        yield f"peers of another family than IPv{flow.family.value}"
    elif flow.peers and flow.peers != tidy_peers(flow.peers):
        yield "peers must be sorted and must not overlap"
    if flow.ports and flow.protocol not in (Protocol.TCP, Protocol.UDP):
        yield "only TCP and UDP have ports"
    elif flow.ports and flow.ports != tidy_ports(flow.ports):
        yield "ports must be sorted and must not overlap"
    if flow.icmp_types and flow.protocol is not Protocol.ICMP:
        yield "only ICMP has types"
    if any(not 0 <= one <= 255 for one in flow.icmp_types):
        yield "an ICMP type is a number from 0 to 255"
    if flow.user and (flow.direction is not Direction.OUT or not _NAME.fullmatch(flow.user)):
        yield "an account makes sense for outgoing packets only, by its name"
    if flow.interface and not _NAME.fullmatch(flow.interface):
        yield "that is no name of an interface"
    if flow.rate and (flow.direction is not Direction.IN or flow.state is not State.NEW):
        yield "a rate is for new connections that come in"
    if flow.rate and (flow.rate.connections < 1 or flow.rate.seconds < 1):
        yield "a rate needs at least one connection in at least one second"
    if flow.container:
        yield from _look_at_container(flow, flow.container)
    if flow.peer_set and flow.ports and flow.direction is Direction.IN and any(one.container for one in policy.flows):
        yield "a set is about every port where there are containers, which are reached by other ports than were dialled"
    if flow.unknown:
        yield f"it cannot be rendered, since it was not understood: {flow.unknown}"
    if not flow.because and not flow.unknown:
        yield "it does not say why it is there"


def _look_at_container(flow: Flow, container: Container) -> Iterator[str]:
    if flow.protocol is not Protocol.TCP or flow.direction is not Direction.IN or flow.state is not State.NEW:
        yield "a published port is TCP, and about new connections that come in"
    if flow.ports != (Ports(container.published, container.published),):
        yield f"its port must be the published one, {container.published}"
    if flow.peer_set or flow.interface:
        yield "a published port is for peers by their addresses, on every interface"
    try:
        address = ipaddress.ip_address(container.address)
    except ValueError:
        yield f"{container.address!r} is no address of a container"
    else:
        if address.version != flow.family.value:
            yield f"the container's address {address} is not of IPv{flow.family.value}"
    if not (0 < container.port < 65_536 and 0 < container.published < 65_536):
        yield "the ports of a container are numbers from 1 to 65535"

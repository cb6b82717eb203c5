"""Sessions that go on although the rules would not let them begin: connection tracking remembers them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from postreeve.enforce.command import CommandFailed, attempt, has
from postreeve.enforce.place import Place
from postreeve.enforce.sockets import Session, sessions
from postreeve.firewall.flow import Direction, Policy, Protocol, State, Verdict
from postreeve.firewall.packet import Packet, decide


@dataclass(frozen=True, slots=True)
class Lingering:
    """A session, and the rule that would refuse it ("" = the default)."""

    session: Session
    rule: str

    def __str__(self) -> str:
        one = self.session
        if one.direction is Direction.IN:
            return f"{one.peer} to port {one.local_port}"
        return f"{one.user} to {one.peer} port {one.peer_port}"


@dataclass(frozen=True, slots=True)
class Cutting:
    """What came of ending them; `problem` is "" when all could be."""

    ended: int
    problem: str = ""


def find_lingering(place: Place, policy: Policy) -> list[Lingering]:
    """Sessions of the machine that could not begin under the policy. Raises CommandFailed."""
    found = []
    for one in sessions(place):
        packet = Packet(one.direction, Protocol.TCP, one.peer, one.port, state=State.NEW, user=one.user)
        decision = decide(policy, packet)
        if decision.verdict not in (Verdict.ACCEPT, None):
            found.append(Lingering(one, decision.flow.ident if decision.flow else ""))
    return found


def cut(place: Place, lingering: Iterable[Lingering]) -> Cutting:
    """End them: both ends hear of it with ss, the kernel forgets them with conntrack. Never raises."""
    wanted = list(lingering)
    try:
        programs = [name for name in ("ss", "conntrack") if has(place, name)]
        ended = sum(_cut(place, one.session, programs) for one in wanted)
    except CommandFailed as problem:
        return Cutting(0, str(problem))
    if ended == len(wanted):
        return Cutting(ended)
    missing = [name for name in ("ss", "conntrack") if name not in programs]
    why = f"there is no {' and no '.join(missing)}" if missing else "the kernel does not end them"
    return Cutting(ended, f"{len(wanted) - ended} go on: {why}")


def _cut(place: Place, session: Session, programs: list[str]) -> bool:
    local, peer = str(session.local), str(session.peer)
    ends = ("src", local, "sport", "=", str(session.local_port), "dst", peer, "dport", "=", str(session.peer_port))
    if "ss" in programs:
        attempt(place, "ss", "-K", "-t", *ends)
        if session not in sessions(place):
            return True
    if "conntrack" not in programs:
        return False
    if session.direction is Direction.IN:
        source, source_port, target, target_port = peer, session.peer_port, local, session.local_port
    else:
        source, source_port, target, target_port = local, session.local_port, peer, session.peer_port
    words = ("-p", "tcp", "-s", source, "-d", target, "--sport", str(source_port), "--dport", str(target_port))
    family = ("-f", "ipv6") if session.peer.version == 6 else ()
    return attempt(place, "conntrack", "-D", *family, *words).status == 0

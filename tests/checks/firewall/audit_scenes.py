"""Scenes for the checks of the firewall: what the intent itself makes, and mistakes planted in it."""

from __future__ import annotations

import ipaddress
from dataclasses import replace

from postreeve.checks.firewall.scene import BanSet, Cloud, Conntrack, Manager, Names, Persistence, Provider, Scene
from postreeve.checks.machine import Bound
from postreeve.firewall.exposure import Entrance, Exposure, Purpose, Smarthost
from postreeve.firewall.flow import (
    WORLD,
    Container,
    Direction,
    Family,
    Flow,
    Network,
    Policy,
    Ports,
    Protocol,
    State,
    Verdict,
)
from postreeve.firewall.intent import make_policy
from postreeve.firewall.row import to_policy
from postreeve.firewall.ruleset import Hook, Layer, Ruleset, of_policy


def net(*texts: str) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)


EVERYBODY = tuple(WORLD.values())
OFFICE = net("198.51.100.0/24", "2001:db8:51::/48")
ADMIN = ipaddress.ip_address("198.51.100.7")
MX = Entrance("relay", 25, Purpose.RELAY, EVERYBODY, "mail for example.org", "no mail comes in")
SUBMISSIONS = Entrance("submissions", 465, Purpose.SUBMISSION, OFFICE, "the office", "nobody can send")
SSH = Entrance("ssh", 22, Purpose.ADMINISTRATION, OFFICE, "administration", "you are locked out")
DIRECT = Exposure("mail.example.org", (MX, SUBMISSIONS, SSH), True, (), "postreeve")
HUB = Smarthost("provider", 465, net("203.0.113.25/32", "2001:db8:25::25/128"), "smtp.example.net")
SMART = replace(DIRECT, is_direct=False, smarthosts=(HUB,))
BOUND = tuple(Bound(address, port, program="postreeve") for address in ("0.0.0.0", "::") for port in (22, 25, 465))
NAMES = Names(True, (ipaddress.ip_address("192.0.2.25"),), (ipaddress.ip_address("2001:db8::25"),))
PLAN = make_policy(DIRECT)
CONTAINER = Container("172.17.0.2", 587, 2587)


def rule(port: int, verdict: Verdict = Verdict.ACCEPT, family: Family = Family.IPV4, **more: object) -> Flow:
    made = Flow(
        f"by-hand-{port}-{family.value}",
        Direction.IN,
        family,
        Protocol.TCP,
        verdict,
        (WORLD[family],),
        (Ports(port, port),),
        quote=f'inet filter input: tcp dport {port} {verdict.value} comment "by hand"',
    )
    return replace(made, **more)  # type: ignore[arg-type]


def scene(exposure: Exposure = DIRECT, ruleset: Ruleset | None = None, **more: object) -> Scene:
    """A machine as it should be."""
    policy = make_policy(exposure)
    made = Scene(ruleset or of_policy(policy), exposure, policy, bound=BOUND, names=NAMES, manager=Manager.NFTABLES)
    return replace(made, **more)  # type: ignore[arg-type]


def without(name: str, exposure: Exposure = DIRECT, **changes: object) -> Ruleset:
    """The plan without the rules whose name begins so."""
    policy = make_policy(exposure)
    flows = tuple(flow for flow in policy.flows if not flow.ident.startswith(name))
    return of_policy(replace(policy, flows=flows, **changes))  # type: ignore[arg-type]


def front(*flows: Flow, exposure: Exposure = DIRECT) -> Ruleset:
    """The plan behind other rules."""
    policy = make_policy(exposure)
    return of_policy(replace(policy, flows=(*flows, *policy.flows)))


def within(*flows: Flow) -> Ruleset:
    """The plan with other rules where doors are opened, behind the ban sets."""
    place = next(place for place, flow in enumerate(PLAN.flows) if flow.ident == "in-relay-25-ipv4")
    return of_policy(replace(PLAN, flows=(*PLAN.flows[:place], *flows, *PLAN.flows[place:])))


def change(ident: str, **changes: object) -> Ruleset:
    flows = tuple(replace(one, **changes) if one.ident == ident else one for one in PLAN.flows)  # type: ignore[arg-type]
    return of_policy(replace(PLAN, flows=flows))


def behind(*layers: Layer) -> Ruleset:
    """The plan, and further layers after it."""
    return replace(of_policy(PLAN), layers=(*of_policy(PLAN).layers, *layers))


def layer(name: str, *flows: Flow, default: Verdict = Verdict.ACCEPT, hook: Hook = Hook.IN) -> Layer:
    return Layer(name, hook, 10, Policy(name, flows, default, default))


def published(*flows: Flow, guards: tuple[Flow, ...] = ()) -> Ruleset:
    """The plan, and a port that is sent on to a container."""
    layers = [one for one in of_policy(PLAN).layers if one.hook is not Hook.FORWARD]
    forward = layer("ip filter FORWARD", *guards, *flows, hook=Hook.FORWARD)
    return replace(of_policy(PLAN), layers=(*layers, forward), published=(CONTAINER,))


BANS = next(flow for flow in PLAN.flows if flow.ident == "in-bans-ipv4")


def cloud(*flows: Flow, provider: Provider = Provider.GCP, **more: object) -> Cloud:
    """A group that lets in what it should, unless its rules are given."""
    found = flows or tuple(
        rule(port, family=family, ident=f"in-{port}-{family.value}", because="mail", peers=peers)
        for port, peers_of in ((25, EVERYBODY), (465, OFFICE), (22, OFFICE))
        for family, peers in (
            (family, tuple(one for one in peers_of if one.version == family.value)) for family in Family
        )
    )
    policy = to_policy("mail", (*found, *outward()), default_out=Verdict.DROP)
    return replace(Cloud(provider, "mail", policy), **more)  # type: ignore[arg-type]


def outward() -> tuple[Flow, ...]:
    return tuple(
        Flow(
            f"out-{protocol.value}-{family.value}",
            Direction.OUT,
            family,
            protocol,
            Verdict.ACCEPT,
            (WORLD[family],),
            tuple(Ports(port, port) for port in ports),
        )
        for family in Family
        for protocol, ports in ((Protocol.TCP, (25, 53, 443)), (Protocol.UDP, (53, 123)))
    )


def acl(first: int, last: int = 65_535) -> Cloud:
    """A network ACL that lets replies in by a range of ports."""
    flows = [
        replace(
            rule(25, family=family),
            ident=f"{direction.value}-{number}-{family.value}",
            direction=direction,
            ports=(Ports(*ports),),
            state=State.ANY,
            protocol=protocol,
        )
        for family in Family
        for direction in Direction
        for number, protocol, ports in (
            (1, Protocol.TCP, (22, 22)),
            (2, Protocol.TCP, (25, 25)),
            (3, Protocol.TCP, (53, 53)),
            (4, Protocol.TCP, (443, 465)),
            (5, Protocol.TCP, (first, last)),
            (6, Protocol.UDP, (53, 53)),
            (7, Protocol.UDP, (123, 123)),
        )
    ]
    return Cloud(Provider.AWS_ACL, "acl-1", to_policy("acl-1", flows, is_stateful=False), is_stateless=True)


__all__ = ["BanSet", "Conntrack", "Persistence"]

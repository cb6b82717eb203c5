"""firewalld's XML: policies, zones, services and sets, by their paths below /etc/firewalld.

What firewalld adds by itself: loopback and connections under way pass before all, invalid packets are dropped, the
neighbours of IPv6 are heard (policy allow-host-ipv6); a zone whose target is `default` lets ICMP pass and rejects the
rest; everything leaves the host unless a policy from HOST says otherwise. Within a policy or zone negative priorities
come first, then refusals, then accepts, then positive ones, the target at last. Zones are chosen by source, then by
interface, the default zone has the rest. A service whose file is not given, and everything direct, is undecidable; so
is what a refusal or protocol of one family without an address means for the other, since firewalld 1.3 forgets it.
"""

from __future__ import annotations

import ipaddress
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from postreeve.firewall.carve import implied
from postreeve.firewall.flow import (
    WORLD,
    Direction,
    Family,
    Flow,
    Network,
    NotUnderstood,
    Policy,
    Ports,
    Protocol,
    State,
    Verdict,
    tidy_ports,
)
from postreeve.firewall.read.sibling import join
from postreeve.firewall.render.firewalld import ICMP_NAMES, POLICIES, PREFIX
from postreeve.firewall.ruleset import Hook, Layer, Ruleset

SERVICES: Final[Mapping[str, tuple[tuple[int, str], ...]]] = {
    "dhcpv6-client": ((546, "udp"),),
    "dns": ((53, "tcp"), (53, "udp")),
    "http": ((80, "tcp"),),
    "https": ((443, "tcp"),),
    "imap": ((143, "tcp"),),
    "imaps": ((993, "tcp"),),
    "mdns": ((5353, "udp"),),
    "ntp": ((123, "udp"),),
    "pop3": ((110, "tcp"),),
    "pop3s": ((995, "tcp"),),
    "smtp": ((25, "tcp"),),
    "smtp-submission": ((587, "tcp"),),
    "smtps": ((465, "tcp"),),
    "ssh": ((22, "tcp"),),
    "cockpit": ((9090, "tcp"),),
}
"""Those that come with firewalld and matter to a mail server; `smtp` is port 25 alone."""
_TARGETS: Final = {
    "CONTINUE": Verdict.ACCEPT,
    "ACCEPT": Verdict.ACCEPT,
    "DROP": Verdict.DROP,
    "REJECT": Verdict.REJECT,
    "%%REJECT%%": Verdict.REJECT,
}
_ICMP: Final = {family: {name: kind for kind, name in names.items()} for family, names in ICMP_NAMES.items()}
_LINE: Final = re.compile(r"(-?\d+) ([a-z0-9][a-z0-9.-]*): ")
_KNOWN: Final = frozenset(
    [
        "source",
        "destination",
        "port",
        "protocol",
        "icmp-type",
        "service",
        "accept",
        "drop",
        "reject",
        "log",
        "nflog",
        "audit",
    ]
)
_VERDICTS: Final = ("accept", "drop", "reject")


@dataclass(frozen=True, slots=True)
class _Services:
    """Their ports, by name."""

    known: Mapping[str, tuple[tuple[Protocol, tuple[Ports, ...]], ...]]


def read(files: Mapping[str, str], default_zone: str = "public") -> Ruleset:
    """One layer each way: policies and zones in the order in which packets meet them. Raises NotUnderstood."""
    roots = {path: _parse(path, text) for path, text in files.items() if path.endswith(".xml")}
    services = _services(roots)
    unread = tuple(path for path in roots if path.startswith(("direct", "helpers/")))
    layers = []
    for direction, hook in ((Direction.IN, Hook.IN), (Direction.OUT, Hook.OUT)):
        flows = [flow for flow in implied() if flow.direction is direction]
        early: list[Flow] = []
        late: list[Flow] = []
        for path, root in sorted(roots.items(), key=lambda item: int(item[1].get("priority", "-1"))):
            if path.startswith("policies/") and _is_about(root, direction):
                found = list(_body(path, root, direction, services, is_policy=True))
                (early if int(root.get("priority", "-1")) < 0 else late).extend(found)
        zones = list(_zones(roots, default_zone, services)) if direction is Direction.IN else []
        flows += [*early, *zones, *late]
        default = Verdict.REJECT if direction is Direction.IN else Verdict.ACCEPT
        policy = Policy("firewalld", _renamed(flows), default, default, _sets(flows))
        layers.append(Layer(f"firewalld {direction.value}", hook, 10, policy))
    return Ruleset(tuple(layers), _elements(roots), unread=unread)


def read_own(files: Mapping[str, str]) -> Policy:
    """The two policies that `render.firewalld` wrote, siblings merged, and what firewalld gives."""
    flows = list(implied())
    defaults = {}
    for direction, name in POLICIES.items():
        path = f"policies/{name}.xml"
        if path not in files:
            raise NotUnderstood(f"firewalld: there is no {path}")
        root = _parse(path, files[path])
        names = {int(place): ident for place, ident in _LINE.findall(root.findtext("description") or "")}
        groups: dict[int, list[Flow]] = {}
        for rule in root.findall("rule"):
            groups.setdefault(_priority(rule), []).extend(_rule(path, rule, direction, _Services({})))
        for place in sorted(groups):
            flows += join(groups[place], names.get(place, f"{name}-{place}".replace("--", "-")))
        defaults[direction] = _TARGETS.get(root.get("target", "CONTINUE"), Verdict.ACCEPT)
    return Policy("firewalld", tuple(flows), defaults[Direction.IN], defaults[Direction.OUT], _sets(flows))


def _parse(path: str, text: str) -> ET.Element:
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise NotUnderstood(f"{path}: a document type, which firewalld's files have not")
    try:
        return ET.fromstring(text)
    except ET.ParseError as problem:
        raise NotUnderstood(f"{path}: not XML, or cut off: {problem}") from problem


def _is_about(root: ET.Element, direction: Direction) -> bool:
    side = "egress-zone" if direction is Direction.IN else "ingress-zone"
    return any(one.get("name") == "HOST" for one in root.findall(side))


def _priority(rule: ET.Element) -> int:
    text = rule.get("priority", "0")
    try:
        return int(text)
    except ValueError as problem:
        raise NotUnderstood(f"firewalld: {text} is no priority") from problem


def _body(path: str, root: ET.Element, direction: Direction, services: _Services, *, is_policy: bool) -> Iterator[Flow]:
    """The rules of a policy or zone in their order, its target at last."""
    rules = root.findall("rule")

    def rank(rule: ET.Element) -> tuple[int, bool]:
        return _priority(rule), rule.find("accept") is not None

    for rule in sorted((one for one in rules if _priority(one) <= 0), key=rank):
        yield from _rule(path, rule, direction, services)
    for plain in root:
        if plain.tag in ("port", "protocol", "service"):
            yield from _plain(path, plain, direction, services)
        elif plain.tag in ("icmp-block", "icmp-block-inversion"):
            for flow in _whole(path, direction, Verdict.REJECT, Protocol.ICMP):
                yield replace(flow, unknown=f"{plain.tag} {plain.get('name', '')}".strip())
    for rule in sorted((one for one in rules if _priority(one) > 0), key=_priority):
        yield from _rule(path, rule, direction, services)
    target = root.get("target", "CONTINUE" if is_policy else "default")
    if target == "default":
        yield from _whole(path, direction, Verdict.ACCEPT, Protocol.ICMP)
        yield from _whole(path, direction, Verdict.REJECT, Protocol.ANY)
    elif target != "CONTINUE":
        if target not in _TARGETS:
            raise NotUnderstood(f"{path}: the target {target}")
        yield from _whole(path, direction, _TARGETS[target], Protocol.ANY)


def _whole(path: str, direction: Direction, verdict: Verdict, protocol: Protocol) -> Iterator[Flow]:
    for family in Family:
        yield _flow(path, direction, family, protocol, verdict, f"{path}: target")


def _flow(path: str, direction: Direction, family: Family, protocol: Protocol, verdict: Verdict, quote: str) -> Flow:
    ident = re.sub(r"[^a-z0-9]+", "-", path.removesuffix(".xml").lower()).strip("-")[:50]
    peers: tuple[Network, ...] = (WORLD[family],)
    return Flow(ident, direction, family, protocol, verdict, peers, state=State.NEW, quote=quote)


def _plain(path: str, element: ET.Element, direction: Direction, services: _Services) -> Iterator[Flow]:
    for family in Family:
        base = _flow(path, direction, family, Protocol.ANY, Verdict.ACCEPT, ET.tostring(element, "unicode").strip())
        yield from _narrowed(path, base, element, services)


def _rule(path: str, rule: ET.Element, direction: Direction, services: _Services) -> Iterator[Flow]:
    """A rich rule: one flow, or one for each family and each protocol of a service."""
    quote = re.sub(r"\s+", " ", ET.tostring(rule, "unicode")).strip()
    verdict = next((one for one in _VERDICTS if rule.find(one) is not None), None)
    strange = [one.tag for one in rule if one.tag not in _KNOWN]
    if verdict is None and not strange:
        return
    matches = [one for one in rule if one.tag in ("port", "protocol", "icmp-type", "service")]
    meant = [family for family in Family if rule.get("family", "") in ("", f"ipv{family.value}")]
    has_address = rule.find("source") is not None or rule.find("destination") is not None
    is_plain = verdict == "accept" and bool(matches) and matches[0].tag in ("port", "service")
    is_forgotten = not has_address and not is_plain and not (matches and matches[0].tag == "icmp-type")
    for family in Family if is_forgotten else meant:
        base = _flow(path, direction, family, Protocol.ANY, Verdict(verdict or "drop"), quote)
        found = _with_peer(path, rule, base)
        if found is None:
            continue
        limited = verdict is not None and rule.find(f"{verdict}/limit") is not None
        doubts = [*strange, "limit" if limited else "", found.unknown, "" if family in meant else "another family"]
        found = replace(found, unknown="; ".join(one for one in doubts if one))
        if len(matches) > 1:
            raise NotUnderstood(f"{path}: a rich rule with more than one element: {quote[:120]}")
        yield from _narrowed(path, found, matches[0], services) if matches else (found,)


def _with_peer(path: str, rule: ET.Element, flow: Flow) -> Flow | None:
    """None when the rule is of the other family."""
    here, there = ("destination", "source") if flow.direction is Direction.IN else ("source", "destination")
    if rule.find(here) is not None:
        flow = replace(flow, unknown="only some addresses of this machine")
    element = rule.find(there)
    if element is None:
        return flow
    if element.get("ipset"):
        flow = replace(flow, peers=(), peer_set=element.get("ipset", "").removeprefix(PREFIX))
    elif element.get("address"):
        try:
            network: Network = ipaddress.ip_network(element.get("address", ""), strict=False)
        except ValueError as problem:
            raise NotUnderstood(f"{path}: {problem}") from problem
        if network.version != flow.family.value:
            return None
        flow = replace(flow, peers=(network,))
    else:
        return replace(flow, unknown="a source by hardware address")
    if element.get("invert", "no").lower() in ("yes", "true"):
        return replace(flow, peers=(WORLD[flow.family],), peer_set="", unknown="everybody but an address")
    return flow


def _narrowed(path: str, flow: Flow, element: ET.Element, services: _Services) -> Iterator[Flow]:
    match element.tag:
        case "port":
            yield replace(flow, protocol=_protocol(element.get("protocol", "")), ports=(_ports(path, element),))
        case "protocol":
            name = element.get("value", "")
            if name in ("icmp", "ipv6-icmp") and (name == "icmp") is (flow.family is Family.IPV4):
                yield replace(flow, protocol=Protocol.ICMP)
            elif name in ("tcp", "udp"):
                yield replace(flow, protocol=Protocol(name))
        case "icmp-type":
            kind = _ICMP[flow.family].get(element.get("name", ""))
            types = () if kind is None else (kind,)
            doubt = "" if types else f"ICMP {element.get('name', '')}"
            yield replace(flow, protocol=Protocol.ICMP, icmp_types=types, unknown=flow.unknown or doubt)
        case _:
            name = element.get("name", "")
            ports = services.known.get(name)
            if ports is None:
                yield replace(flow, unknown=flow.unknown or f"the service {name}, whose file is not there")
            for protocol, some in ports or ():
                yield replace(flow, protocol=protocol, ports=some)


def _protocol(name: str) -> Protocol:
    if name not in ("tcp", "udp"):
        raise NotUnderstood(f"firewalld: ports of {name or 'no protocol'}")
    return Protocol(name)


def _ports(path: str, element: ET.Element) -> Ports:
    first, _, last = element.get("port", "").partition("-")
    if not (first.isdigit() and (last or first).isdigit() and int(first) <= int(last or first) <= 65_535):
        raise NotUnderstood(f"{path}: {element.get('port')} is no port")
    return Ports(int(first), int(last or first))


def _services(roots: Mapping[str, ET.Element]) -> _Services:
    known: dict[str, tuple[tuple[Protocol, tuple[Ports, ...]], ...]] = {
        name: tuple((Protocol(protocol), (Ports(port, port),)) for port, protocol in pairs)
        for name, pairs in SERVICES.items()
    }
    for path, root in roots.items():
        if path.startswith("services/"):
            pairs = [(one.get("protocol", ""), _ports(path, one)) for one in root.findall("port")]
            known[path.removeprefix("services/").removesuffix(".xml")] = tuple(
                (protocol, tidy_ports(ports for name, ports in pairs if name == protocol.value))
                for protocol in (Protocol.TCP, Protocol.UDP)
                if any(name == protocol.value for name, _ in pairs)
            )
    return _Services(known)


def _zones(roots: Mapping[str, ET.Element], default_zone: str, services: _Services) -> Iterator[Flow]:
    """Zones with sources, then those with interfaces, then the default one for everything else."""
    zones = {path[6:-4]: (path, root) for path, root in roots.items() if path.startswith("zones/")}
    for path, root in zones.values():
        for source in root.findall("source"):
            for flow in _body(path, root, Direction.IN, services, is_policy=False):
                found = _with_peer(path, _rule_about(source), flow) if flow.peers == (WORLD[flow.family],) else flow
                if found is not None:
                    doubt = found.unknown or ("" if found is not flow else "two sources at once")
                    yield replace(found, unknown=doubt)
    for path, root in zones.values():
        for interface in root.findall("interface"):
            for flow in _body(path, root, Direction.IN, services, is_policy=False):
                yield replace(flow, interface=interface.get("name", ""))
    if default_zone in zones:
        path, root = zones[default_zone]
        yield from _body(path, root, Direction.IN, services, is_policy=False)
    else:
        for flow in _whole(f"zones/{default_zone}.xml", Direction.IN, Verdict.REJECT, Protocol.ANY):
            yield replace(flow, unknown=f"the default zone {default_zone}, whose file is not there")


def _rule_about(source: ET.Element) -> ET.Element:
    rule = ET.Element("rule")
    rule.append(ET.Element("source", source.attrib))
    return rule


def _renamed(flows: list[Flow]) -> tuple[Flow, ...]:
    """No name twice."""
    seen: dict[str, int] = {}
    found = []
    for flow in flows:
        count = seen[flow.ident] = seen.get(flow.ident, 0) + 1
        found.append(replace(flow, ident=f"{flow.ident}.{count}") if count > 1 else flow)
    return tuple(found)


def _sets(flows: list[Flow]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(flow.peer_set for flow in flows if flow.peer_set))


def _elements(roots: Mapping[str, ET.Element]) -> dict[str, tuple[Network, ...]]:
    found: dict[str, tuple[Network, ...]] = {}
    for path, root in roots.items():
        if path.startswith("ipsets/"):
            name = path[7:-4].removeprefix(PREFIX)
            try:
                found[name] = tuple(ipaddress.ip_network((one.text or "").strip()) for one in root.findall("entry"))
            except ValueError as problem:
                raise NotUnderstood(f"{path}: {problem}") from problem
    return found

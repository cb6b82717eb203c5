"""Amazon VPC: what `describe-security-groups` and `describe-network-acls` print.

Put back as implied: loopback, and in a group the packets of connections under way. A group has no last rule: what it
does not allow is dropped. Of a network ACL the rules that Amazon ends it with (numbers above 32766) are its default.
Rules about other protocols than TCP, UDP and ICMP say nothing that concerns mail and are not read. Who is meant by
another group or a prefix list is not in this output: such a rule is unknown. One code of an ICMP type is not a type.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from postreeve.firewall.carve import fold_rest
from postreeve.firewall.flow import (
    WORLD,
    Direction,
    Family,
    Network,
    NotUnderstood,
    Policy,
    Ports,
    Protocol,
    State,
    Verdict,
)
from postreeve.firewall.read.document import Node, load
from postreeve.firewall.render.aws import MAX_RULE_NUMBER
from postreeve.firewall.row import Row, read_description, to_flows, to_policy

PROTOCOLS: Final = {
    "-1": Protocol.ANY,
    "tcp": Protocol.TCP,
    "6": Protocol.TCP,
    "udp": Protocol.UDP,
    "17": Protocol.UDP,
    "icmp": Protocol.ICMP,
    "1": Protocol.ICMP,
    "icmpv6": Protocol.ICMP,
    "58": Protocol.ICMP,
}
_ICMP_FAMILY: Final = {"icmp": Family.IPV4, "1": Family.IPV4, "icmpv6": Family.IPV6, "58": Family.IPV6}


def read_groups(text: str) -> tuple[Policy, ...]:
    """Each group of `aws ec2 describe-security-groups`. Raises NotUnderstood."""
    return tuple(_group(node) for node in _list(text, "SecurityGroups", "describe-security-groups"))


def read_group(text: str) -> Policy:
    """The one group that was described."""
    return _only(read_groups(text), "security group")


def read_group_rows(text: str) -> tuple[Row, ...]:
    """The rules of the one group that was described, for `render.aws.render_group`."""
    nodes = _list(text, "SecurityGroups", "describe-security-groups")
    if len(nodes) != 1:
        raise NotUnderstood(f"{len(nodes)} security groups, not one")
    return tuple(_group_rows(nodes[0]))


def read_acls(text: str) -> tuple[Policy, ...]:
    """Each list of `aws ec2 describe-network-acls`. Raises NotUnderstood."""
    return tuple(_acl(node) for node in _list(text, "NetworkAcls", "describe-network-acls"))


def read_acl(text: str) -> Policy:
    """The one list that was described."""
    return _only(read_acls(text), "network ACL")


def _list(text: str, name: str, command: str) -> list[Node]:
    node = load(text, f"the output of aws ec2 {command}")
    if not node.has(name):
        raise NotUnderstood(f"this is not the output of aws ec2 {command}: it has no {name}")
    return list(node.items(name))


def _only(policies: tuple[Policy, ...], what: str) -> Policy:
    if len(policies) != 1:
        raise NotUnderstood(f"{len(policies)} {what}s, not one: name the one that is meant")
    return policies[0]


def _group(node: Node) -> Policy:
    name = node.get("GroupName").text()
    rows = sorted(_group_rows(node), key=lambda row: (row.direction is Direction.OUT, row.ident))
    return to_policy(name, to_flows(rows))


def _group_rows(node: Node) -> Iterator[Row]:
    for direction, name in ((Direction.IN, "IpPermissions"), (Direction.OUT, "IpPermissionsEgress")):
        for permission in node.items(name):
            yield from _permission(permission, direction)


def _permission(node: Node, direction: Direction) -> Iterator[Row]:
    word = node.get("IpProtocol").text().lower()
    protocol = PROTOCOLS.get(word)
    if protocol is None:
        if not word.isalnum():
            raise node.fail(f"not a protocol: {word[:40]}")
        return
    ports, kind, unknown = read_traffic(node, protocol, "FromPort", "ToPort")
    for family, ranges, field in (
        (Family.IPV4, "IpRanges", "CidrIp"),
        (Family.IPV6, "Ipv6Ranges", "CidrIpv6"),
    ):
        if _ICMP_FAMILY.get(word, family) is not family:
            continue
        for one in node.items(ranges):
            peer = one.get(field).network()
            if peer.version != family.value:
                raise one.fail(f"not of IPv{family.value}: {peer}")
            yield make_row(node, direction, family, protocol, peer, ports, kind, unknown, one.find("Description", ""))
    for kind_of, field in (("UserIdGroupPairs", "GroupId"), ("PrefixListIds", "PrefixListId")):
        for one in node.items(kind_of):
            doubt = f"who is in {one.find(field, '?').text()}"
            for family in Family:
                if _ICMP_FAMILY.get(word, family) is family:
                    world = WORLD[family]
                    said = one.find("Description", "")
                    yield make_row(node, direction, family, protocol, world, ports, kind, doubt, said)


def make_row(
    node: Node,
    direction: Direction,
    family: Family,
    protocol: Protocol,
    peer: Network,
    ports: Ports | None,
    kind: int | None,
    unknown: str,
    description: Node,
) -> Row:
    """A rule that allows; its name is in the description, or is made of where it stands."""
    ident, because = read_description(description.text())
    if not ident:
        is_rest = protocol is Protocol.ANY and peer == WORLD[family] and not unknown
        what = "rest" if is_rest else f"rule-{protocol.value}-{ports or 'all'}"
        ident = f"{direction.value}-{what}-ipv{family.value}"
    return Row(
        ident,
        direction,
        family,
        protocol,
        Verdict.ACCEPT,
        peer,
        ports,
        kind,
        because=because,
        unknown=unknown,
        quote=node.quote(),
    )


def read_traffic(
    node: Node, protocol: Protocol, first_name: str, last_name: str
) -> tuple[Ports | None, int | None, str]:
    """Ports, or the type of ICMP, and what of it was not understood."""
    if protocol is Protocol.ANY:
        return None, None, ""
    if protocol is Protocol.ICMP:
        kind = node.find(first_name, -1).number(-1, 255)
        code = node.find(last_name, -1).number(-1, 255)
        return None, None if kind == -1 else kind, "" if code == -1 or kind == -1 else f"only code {code}"
    first, last = node.find(first_name, 0).number(-1, 65_535), node.find(last_name, 65_535).number(-1, 65_535)
    if (first, last) in ((0, 65_535), (-1, -1)):
        return None, None, ""
    if not 0 <= first <= last:
        raise node.fail(f"{first}-{last} is no range of ports")
    return Ports(first, last), None, ""


def _acl(node: Node) -> Policy:
    rows: list[tuple[int, Row]] = []
    for entry in node.items("Entries"):
        number = entry.get("RuleNumber").number(1, 32_768)
        # The two that Amazon ends every list with: the default.
        if number <= MAX_RULE_NUMBER:
            rows += ((number, row) for row in _entry(entry, number))
    flows = to_flows(row for _, row in sorted(rows, key=lambda pair: pair[0]))
    inward, default_in = fold_rest(flows, Direction.IN, Verdict.DROP)
    outward, default_out = fold_rest(flows, Direction.OUT, Verdict.DROP)
    name = next(
        (one.get("Value").text() for one in node.items("Tags") if one.get("Key").text() == "Name"),
        node.get("NetworkAclId").text(),
    )
    both = (*inward, *outward)
    return to_policy(name, both, is_stateful=False, default_in=default_in, default_out=default_out)


def _entry(node: Node, number: int) -> Iterator[Row]:
    direction = Direction.OUT if node.get("Egress").flag() else Direction.IN
    word = str(node.get("Protocol").number(-1, 255))
    protocol = PROTOCOLS.get(word)
    verdict = Verdict.ACCEPT if node.get("RuleAction").choice("allow", "deny") == "allow" else Verdict.DROP
    family = Family.IPV4 if node.has("CidrBlock") else Family.IPV6
    peer = node.get("CidrBlock" if family is Family.IPV4 else "Ipv6CidrBlock").network()
    if peer.version != family.value:
        raise node.fail(f"not of IPv{family.value}: {peer}")
    if protocol is None or _ICMP_FAMILY.get(word, family) is not family:
        return
    ports, kind, unknown = None, None, ""
    if protocol is Protocol.ICMP and node.has("IcmpTypeCode"):
        ports, kind, unknown = read_traffic(node.get("IcmpTypeCode"), protocol, "Type", "Code")
    elif protocol in (Protocol.TCP, Protocol.UDP) and node.has("PortRange"):
        ports, kind, unknown = read_traffic(node.get("PortRange"), protocol, "From", "To")
    ident = f"{direction.value}-{number}"
    yield Row(
        ident, direction, family, protocol, verdict, peer, ports, kind, State.ANY, unknown=unknown, quote=node.quote()
    )

"""Amazon VPC: a security group (stateful, allows only) and a network ACL (without memory, in order), for the AWS CLI.

Implied and in no rule: loopback, which never passes here; in a group also the packets of connections under way. A new
group lets everything out: that rule is revoked, unless it is what the policy says. A network ACL has no names for its
rules: they are known by their numbers, and what is under way is every packet to ports 1024-65535, in both directions.
Neither sees DHCP, the resolver of the VPC, its clock or the metadata service (169.254.169.254).
Amazon itself blocks TCP port 25 to the world until it is asked to open it, whatever these rules say.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final

from postreeve.firewall.flow import CannotExpress, Direction, Family, Flow, Policy, Protocol, Verdict
from postreeve.firewall.reduce import Icmp, Means, Order, require
from postreeve.firewall.render.value import Bundle, dump, match, quota, within
from postreeve.firewall.row import Row, describe, to_rows

GROUP: Final = Means("aws security group", Order.ALLOWS)
ACL: Final = Means("aws network acl", Order.FIRST, (Icmp.WHOLE, Icmp.WHOLE), is_stateful=False, has_names=False)
GROUP_QUOTA: Final = 60
"""Rules of a group per direction and family, unless the account was given more."""
ACL_QUOTA: Final = 20
"""Rules of a list per direction."""
NUMBERS: Final = {Protocol.ANY: "-1", Protocol.TCP: "6", Protocol.UDP: "17"}
MAX_RULE_NUMBER: Final = 32_766

_FORBIDDEN: Final = re.compile(r"[^A-Za-z0-9. _\-:/()#,@\[\]+=&;{}!$*]")
_MAX_DESCRIPTION: Final = 255
_WORDS: Final = {Protocol.ANY: "-1", Protocol.TCP: "tcp", Protocol.UDP: "udp"}
_ID: Final = "{}-([0-9a-f]{{8}}|[0-9a-f]{{17}})"


def render_group(
    policy: Policy, group_id: str, *, live: Iterable[Row] | None = None, most: int = GROUP_QUOTA
) -> Bundle:
    """What turns a group into the policy: inputs of `aws ec2 authorize-…` and `revoke-security-group-…`.

    `live` is what the group holds now (`read.aws.read_group_rows`); by default it is new, and lets everything out by
    IPv4. Raises PolicyError and CannotExpress; what was said before is not said again.
    """
    match("id of a security group", group_id, _ID.format("sg"), "sg- and 8 or 17 hexadecimal digits")
    wanted = list(group_rows(policy, most))
    here = list(_new_group()) if live is None else list(live)
    files: dict[str, str] = {}
    commands: list[str] = []
    # What is missing comes first: at no moment is there less than before and after.
    for verb, rows, others in (("authorize", wanted, here), ("revoke", here, wanted)):
        for direction, word in ((Direction.IN, "ingress"), (Direction.OUT, "egress")):
            known = {_meaning(row) for row in others}
            chosen = [row for row in rows if row.direction is direction and _meaning(row) not in known]
            if chosen:
                name = f"{verb}-{word}.json"
                permissions = [_permission(row, has_description=verb == "authorize") for row in chosen]
                files[name] = dump({"GroupId": group_id, "IpPermissions": permissions})
                commands.append(f"aws ec2 {verb}-security-group-{word} --cli-input-json file://{name}")
    return Bundle(files, tuple(commands))


def render_new_group(policy: Policy, vpc_id: str) -> str:
    """Input of `aws ec2 create-security-group --cli-input-json`."""
    match("id of a VPC", vpc_id, _ID.format("vpc"), "vpc- and 8 or 17 hexadecimal digits")
    value = {"GroupName": group_name(policy), "Description": f"postreeve: {policy.name}"[:_MAX_DESCRIPTION]}
    return dump({**value, "VpcId": vpc_id})


def group_name(policy: Policy) -> str:
    """The name of the group, by which it is known again. Raises PolicyError."""
    name = match("name of a security group", policy.name, r"[A-Za-z0-9. _\-]{1,255}", "letters, digits, . _ -")
    if name.startswith("sg-"):
        raise CannotExpress(GROUP.target, name, "a name that begins with sg-", "another name")
    return name


def group_rows(policy: Policy, most: int = GROUP_QUOTA) -> Iterator[Row]:
    """The rules of the group, by direction and name. Raises CannotExpress when there are more than `most`."""
    within("a quota of rules", most, 1, 1_000)
    _, flows = require(policy, GROUP)
    rows = [row for flow in flows for row in to_rows(flow)]
    for direction in Direction:
        for family in Family:
            count = sum(row.direction is direction and row.family is family for row in rows)
            where = f"{direction.value}, IPv{family.value}"
            quota(GROUP.target, where, count, most, "a second group, a prefix list, or a higher quota")
    yield from rows


def _new_group() -> Iterator[Row]:
    world = Policy("new", (), Verdict.DROP, Verdict.ACCEPT)
    yield from (row for row in group_rows(world) if row.family is Family.IPV4)


def _meaning(row: Row) -> Row:
    return replace(row, ident="")


def describe_row(row: Row) -> str:
    """The description of a rule: what it is called and why it is there."""
    return describe(row, _MAX_DESCRIPTION, _FORBIDDEN)


def port_fields(row: Row) -> tuple[int, int] | None:
    """First and last port, or type and code of ICMP where -1 means all; None for every protocol."""
    match row.protocol:
        case Protocol.ANY:
            return None
        case Protocol.ICMP:
            return (-1 if row.icmp_type is None else row.icmp_type, -1)
        case Protocol.TCP | Protocol.UDP:
            return (0, 65_535) if row.ports is None else (row.ports.first, row.ports.last)


def protocol_word(row: Row) -> str:
    """As security groups write it."""
    if row.protocol is Protocol.ICMP:
        return "icmp" if row.family is Family.IPV4 else "icmpv6"
    return _WORDS[row.protocol]


def _permission(row: Row, *, has_description: bool) -> Mapping[str, object]:
    ports = port_fields(row)
    peer = {"CidrIp" if row.family is Family.IPV4 else "CidrIpv6": str(row.peer)}
    if has_description:
        peer["Description"] = describe_row(row)
    return {
        "IpProtocol": protocol_word(row),
        **({"FromPort": ports[0], "ToPort": ports[1]} if ports else {}),
        "IpRanges" if row.family is Family.IPV4 else "Ipv6Ranges": [peer],
    }


def acl_entries(policy: Policy, most: int = ACL_QUOTA) -> Iterator[dict[str, object]]:
    """The rules of the list in order, as members of the inputs of `create-network-acl-entry`."""
    within("a quota of rules", most, 1, 1_000)
    reduced, flows = require(policy, ACL)
    for direction in Direction:
        chosen = [flow for flow in flows if flow.direction is direction]
        is_open = (reduced.default_in if direction is Direction.IN else reduced.default_out) is Verdict.ACCEPT
        count = len(chosen) + (2 if is_open else 0)
        quota(ACL.target, direction.value, count, most, "fewer networks per flow, or a quota of 40")
        yield from map(acl_entry, chosen)
        if is_open:
            # The last two numbers there are: everything that no rule names.
            for number, network in ((MAX_RULE_NUMBER - 1, "0.0.0.0/0"), (MAX_RULE_NUMBER, "::/0")):
                yield {
                    "RuleNumber": number,
                    "Protocol": "-1",
                    "RuleAction": "allow",
                    "Egress": direction is Direction.OUT,
                    "CidrBlock" if ":" not in network else "Ipv6CidrBlock": network,
                }


def acl_entry(flow: Flow) -> dict[str, object]:
    """One rule, whose number is in the name of its flow."""
    row = next(to_rows(flow))
    number = within("a rule number", int(flow.ident.rpartition("-")[2]), 1, MAX_RULE_NUMBER)
    icmp = "1" if flow.family is Family.IPV4 else "58"
    entry: dict[str, object] = {
        "RuleNumber": number,
        "Protocol": icmp if flow.protocol is Protocol.ICMP else NUMBERS[flow.protocol],
        "RuleAction": "allow" if flow.verdict is Verdict.ACCEPT else "deny",
        "Egress": flow.direction is Direction.OUT,
        "CidrBlock" if flow.family is Family.IPV4 else "Ipv6CidrBlock": str(row.peer),
    }
    if flow.protocol is Protocol.ICMP:
        entry["IcmpTypeCode"] = {"Type": -1, "Code": -1}
    elif flow.protocol is not Protocol.ANY:
        first, last = (0, 65_535) if row.ports is None else (row.ports.first, row.ports.last)
        entry["PortRange"] = {"From": first, "To": last}
    return entry


def render_acl(
    policy: Policy, acl_id: str, *, live: Iterable[Mapping[str, object]] = (), most: int = ACL_QUOTA
) -> Bundle:
    """What turns a list into the policy, entry by entry. `live` is what it has as `Entries`."""
    match("id of a network ACL", acl_id, _ID.format("acl"), "acl- and 8 or 17 hexadecimal digits")
    here = {_place(entry): entry for entry in live if _place(entry)[1] <= MAX_RULE_NUMBER}
    files: dict[str, str] = {}
    commands: list[str] = []
    for entry in acl_entries(policy, most):
        old = here.pop(_place(entry), None)
        if old is not None and all(old.get(name) == value for name, value in entry.items()) and len(old) == len(entry):
            continue
        verb = "create" if old is None else "replace"
        name = f"{'egress' if entry['Egress'] else 'ingress'}-{entry['RuleNumber']}.json"
        files[name] = dump({"NetworkAclId": acl_id, **entry})
        commands.append(f"aws ec2 {verb}-network-acl-entry --cli-input-json file://{name}")
    for is_egress, number in sorted(here):
        flag = "--egress" if is_egress else "--ingress"
        commands.append(f"aws ec2 delete-network-acl-entry --network-acl-id {acl_id} --rule-number {number} {flag}")
    return Bundle(files, tuple(commands))


def _place(entry: Mapping[str, object]) -> tuple[bool, int]:
    number = entry.get("RuleNumber")
    return entry.get("Egress") is True, number if isinstance(number, int) else 0

"""The exact command that mends a thing, in the words of whoever looks after the rules at hand."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable
from typing import Final

from postreeve.checks.firewall.reach import Refusal
from postreeve.checks.firewall.scene import Cloud, Manager, Provider, Scene
from postreeve.firewall.flow import WORLD, Direction, Family, Flow, Network, Verdict

_PROGRAMS: Final = {Family.IPV4: "iptables", Family.IPV6: "ip6tables"}
_CHAINS: Final = {Direction.IN: "INPUT", Direction.OUT: "OUTPUT"}
_SAVE: Final = "netfilter-persistent save"
_MOST_PEERS: Final = 4
APPLY: Final = "postreeve firewall apply"


def let_pass(
    scene: Scene,
    refusal: Refusal | None,
    direction: Direction,
    family: Family,
    port: int,
    peers: Iterable[Network] = (),
    protocol: str = "tcp",
) -> str:
    """A rule that accepts, before the one that refuses."""
    chosen = [one for one in peers if one.version == family.value] or [WORLD[family]]
    if refusal is not None and refusal.cloud is not None:
        return _in_cloud(refusal.cloud, direction, family, port, chosen, protocol)
    lines = [
        _on_host(scene, refusal, direction, family, port, one, Verdict.ACCEPT, protocol) for one in chosen[:_MOST_PEERS]
    ]
    return _together(scene, refusal, lines)


def keep_out(scene: Scene, accepting: Iterable[Flow], direction: Direction, family: Family, port: int) -> str:
    """Takes the rule away that lets everybody pass, or puts a refusal before it."""
    rules = [flow for flow in accepting if flow.ports or flow.user]
    if rules and scene.manager not in (Manager.UFW, Manager.FIREWALLD):
        return remove(scene, rules[0])
    line = _on_host(scene, None, direction, family, port, WORLD[family], Verdict.REJECT, "tcp")
    return _together(scene, None, [line])


def remove(scene: Scene, flow: Flow) -> str:
    """Takes one rule away, by what it is quoted as."""
    quote = flow.quote
    if scene.manager is Manager.UFW:
        return "ufw status numbered   # then: ufw delete NUMBER"
    if scene.manager is Manager.FIREWALLD:
        return "firewall-cmd --list-all   # then: firewall-cmd --permanent --remove-... && firewall-cmd --reload"
    if quote.startswith("-A "):
        return f"{_PROGRAMS[flow.family]} -D {quote[3:]} && {_SAVE}"
    place, _, _ = quote.partition(": ")
    words = place.split()
    tail = flow.ident.rpartition("-")[2].partition(".")[0]
    if len(words) == 3 and tail.isdecimal():
        return f"nft delete rule {shlex.join(words)} handle {tail}   # and in the file that is loaded at the start"
    return f"nft -a list ruleset   # then: nft delete rule ... handle N, for: {quote or flow.ident}"


def _together(scene: Scene, refusal: Refusal | None, lines: list[str]) -> str:
    joined = " && ".join(lines)
    if _is_firewalld(scene, refusal):
        return f"{joined} && firewall-cmd --reload"
    if scene.manager is not Manager.UFW and _is_iptables(scene, refusal):
        return f"{joined} && {_SAVE}"
    return joined


def _is_firewalld(scene: Scene, refusal: Refusal | None) -> bool:
    return scene.manager is Manager.FIREWALLD or (refusal is not None and "firewalld" in refusal.layer)


def _is_iptables(scene: Scene, refusal: Refusal | None) -> bool:
    return scene.manager is Manager.IPTABLES or (refusal is not None and refusal.layer.startswith("iptables "))


def _on_host(
    scene: Scene,
    refusal: Refusal | None,
    direction: Direction,
    family: Family,
    port: int,
    peer: Network,
    verdict: Verdict,
    protocol: str,
) -> str:
    is_in = direction is Direction.IN
    if scene.manager is Manager.UFW:
        word = "allow" if verdict is Verdict.ACCEPT else "reject"
        way = f"from {peer} to any port {port}" if is_in else f"to {peer} port {port}"
        return f"ufw prepend {word} {'in' if is_in else 'out'} proto {protocol} {way}"
    if _is_firewalld(scene, refusal):
        return _by_firewalld(direction, family, port, peer, verdict, protocol)
    if _is_iptables(scene, refusal):
        chain, side = (_CHAINS[direction], "-s" if is_in else "-d")
        if refusal is not None and refusal.layer.split()[1:2] not in ([], ["filter"]):
            chain = f"{refusal.layer.split()[2]} -t {refusal.layer.split()[1]}"
        where = f"{_PROGRAMS[family]} -I {chain} {side} {peer} -p {protocol} --dport {port}"
        return f"{where} -j {verdict.name}"
    place = refusal.layer if refusal is not None and len(refusal.layer.split()) == 3 else _nft_place(scene, direction)
    side = f"{'ip' if family is Family.IPV4 else 'ip6'} {'saddr' if is_in else 'daddr'} {peer}"
    return f"nft insert rule {place} {side} {protocol} dport {port} {verdict.value}"


def _nft_place(scene: Scene, direction: Direction) -> str:
    hook = "in" if direction is Direction.IN else "out"
    for layer in scene.host.layers:
        if layer.hook.value == hook and len(layer.name.split()) == 3 and not layer.name.startswith("iptables"):
            return layer.name
    return f"inet filter {'input' if direction is Direction.IN else 'output'}"


def _by_firewalld(
    direction: Direction, family: Family, port: int, peer: Network, verdict: Verdict, protocol: str
) -> str:
    is_in = direction is Direction.IN
    word = "accept" if verdict is Verdict.ACCEPT else "reject"
    if not is_in:
        tool = "ipv4" if family is Family.IPV4 else "ipv6"
        match = f"-d {peer} -p {protocol} --dport {port} -j {verdict.name}"
        return f"firewall-cmd --permanent --direct --add-rule {tool} filter OUTPUT 0 {match}"
    rule = (
        f'rule priority="-100" family="ipv{family.value}" source address="{peer}" '
        f'port port="{port}" protocol="{protocol}" {word}'
    )
    return f"firewall-cmd --permanent --add-rich-rule={shlex.quote(rule)}"


def _in_cloud(
    cloud: Cloud, direction: Direction, family: Family, port: int, peers: list[Network], protocol: str
) -> str:
    is_in = direction is Direction.IN
    name = shlex.quote(cloud.name)
    ranges = ",".join(map(str, peers))
    match cloud.provider:
        case Provider.AWS_GROUP:
            field, key = ("IpRanges", "CidrIp") if family is Family.IPV4 else ("Ipv6Ranges", "CidrIpv6")
            permission = {
                "IpProtocol": protocol,
                "FromPort": port,
                "ToPort": port,
                field: [{key: str(one)} for one in peers],
            }
            verb = "ingress" if is_in else "egress"
            shown = shlex.quote(json.dumps([permission]))
            return f"aws ec2 authorize-security-group-{verb} --group-name {name} --ip-permissions {shown}"
        case Provider.AWS_ACL:
            way = "--ingress" if is_in else "--egress"
            range_ = f"{'--cidr-block' if family is Family.IPV4 else '--ipv6-cidr-block'} {peers[0]}"
            return (
                f"aws ec2 create-network-acl-entry --network-acl-id {name} {way} --rule-number 90 "
                f"--protocol {protocol} --port-range From={port},To={port} {range_} --rule-action allow"
            )
        case Provider.GCP:
            way = "INGRESS --source-ranges" if is_in else "EGRESS --destination-ranges"
            return (
                f"gcloud compute firewall-rules create mail-{port}-ipv{family.value} --network {name} --action allow "
                f"--rules {protocol}:{port} --priority 900 --direction {way} {ranges}"
            )
        case Provider.AZURE:
            way = "Inbound" if is_in else "Outbound"
            side = "source" if is_in else "destination"
            return (
                f"az network nsg rule create --nsg-name {name} --resource-group GROUP --name mail-{port} "
                f"--priority 110 --direction {way} --access Allow --protocol {protocol.capitalize()} "
                f"--destination-port-ranges {port} --{side}-address-prefixes {' '.join(map(str, peers))}"
            )
        case Provider.DIGITALOCEAN:
            side = "inbound" if is_in else "outbound"
            rule = f"protocol:{protocol},ports:{port}," + ",".join(f"address:{one}" for one in peers)
            return f"doctl compute firewall add-rules {name} --{side}-rules {shlex.quote(rule)}"
        case Provider.HETZNER:
            way, side = ("in", "--source-ips") if is_in else ("out", "--destination-ips")
            what = f"--protocol {protocol} --port {port}"
            return f"hcloud firewall add-rule {name} --direction {way} {what} {side} {ranges}"
    return f"let {protocol} {port} {'from' if is_in else 'to'} {ranges} pass in {cloud.name}"

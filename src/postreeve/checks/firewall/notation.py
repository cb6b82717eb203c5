"""Which notation a file of rules is in, told by its content; and all files together as one scene.

Several files are pieces of one machine: iptables-save and ip6tables-save, user.rules and user6.rules of ufw, the zones
of firewalld, and the layers that a cloud puts around it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, TypeVar

from postreeve.checks.firewall.cloud_document import read_clouds
from postreeve.checks.firewall.cluster_document import read_cluster
from postreeve.checks.firewall.kubernetes_scene import Cluster
from postreeve.checks.firewall.scene import BanSet, Cloud, Manager, Provider, Scene
from postreeve.firewall.flow import Family, NotUnderstood
from postreeve.firewall.read import firewalld, iptables, nftables, ufw
from postreeve.firewall.ruleset import Ruleset

_T = TypeVar("_T")
UFW_DEFAULTS: Final = """IPV6=yes
DEFAULT_INPUT_POLICY="DROP"
DEFAULT_OUTPUT_POLICY="ACCEPT"
DEFAULT_FORWARD_POLICY="DROP"
"""
"""As the program is shipped."""
_BEFORE6: Final = (
    ufw.BEFORE.replace("ufw-", "ufw6-")
    .replace("-p icmp --icmp-type", "-p icmpv6 --icmpv6-type")
    .replace(
        "COMMIT",
        "\n".join(
            f"-A ufw6-before-input -p icmpv6 --icmpv6-type {one} -j ACCEPT" for one in (1, 2, 4, *range(128, 137))
        )
        + "\nCOMMIT",
    )
)
"""What matters of it, with the neighbours of IPv6."""
_ROOTS: Final = {"zone": "zones", "policy": "policies", "service": "services", "ipset": "ipsets", "direct": ""}
_XML: Final = re.compile(r"<(zone|policy|service|ipset|direct)[\s>/]")
_NFT: Final = re.compile(
    r"^\s*(?:#![^\n]*nft|(?:add |create |flush |destroy |delete )?(?:table|ruleset)\b|include\b)", re.MULTILINE
)
_IPV6: Final = re.compile(r"ip6tables|icmpv6|icmp6-|\s::/0|-[sd] [0-9a-f]{1,4}:[0-9a-f:]+")


class Notation(Enum):
    """What a file may be."""

    NFT_JSON = "nft -j list ruleset"
    NFT = "a script of nft"
    IPTABLES = "iptables-save"
    IP6TABLES = "ip6tables-save"
    IPSET = "ipset save"
    UFW = "user.rules of ufw"
    UFW6 = "user6.rules of ufw"
    UFW_DEFAULTS = "defaults of ufw"
    UFW_BEFORE = "before.rules of ufw"
    UFW_BEFORE6 = "before6.rules of ufw"
    UFW_AFTER = "after.rules of ufw"
    UFW_AFTER6 = "after6.rules of ufw"
    FIREWALLD = "XML of firewalld"
    CLOUD = "a cloud"
    CLUSTER = "Kubernetes"


@dataclass(frozen=True, slots=True)
class Piece:
    """One file. `name` is its path, for messages and for firewalld's directories."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Means:
    """What reading needs of the machine: the names of accounts, and nft to turn a script into a listing."""

    accounts: Mapping[int, str] = field(default_factory=dict)
    list_script: Callable[[str], str] | None = None
    """Raises NotUnderstood."""


_HEAD: Final = 200
_UFW: Final = {
    ("ufw", "user"): Notation.UFW,
    ("ufw6", "user"): Notation.UFW6,
    ("ufw", "before"): Notation.UFW_BEFORE,
    ("ufw6", "before"): Notation.UFW_BEFORE6,
    ("ufw", "after"): Notation.UFW_AFTER,
    ("ufw6", "after"): Notation.UFW_AFTER6,
}


def recognise(piece: Piece) -> Notation:
    """Raises NotUnderstood when it is none of those."""
    text = piece.text
    begin = text.lstrip()[:1]
    if begin == "{" and '"nftables"' in text[:_HEAD]:
        return Notation.NFT_JSON
    if begin in ("{", "["):
        return _of_json(text)
    if begin == "<" and _XML.search(text):
        return Notation.FIREWALLD
    if "DEFAULT_INPUT_POLICY" in text:
        return Notation.UFW_DEFAULTS
    if re.search(r"^\*\w+", text, re.MULTILINE):
        found = re.search(r"^:(ufw6?)-(user|before|after)-input ", text, re.MULTILINE)
        if found and not re.search(r"^:INPUT ", text, re.MULTILINE):
            return _UFW[found[1], found[2]]
        is_six = _IPV6.search(text) or re.search(r"(v6|ip6|6\.rules|rules6)", piece.name.rpartition("/")[2])
        return Notation.IP6TABLES if is_six else Notation.IPTABLES
    if re.search(r"^create \S+ hash:", text, re.MULTILINE):
        return Notation.IPSET
    if _NFT.search(text):
        return Notation.NFT
    raise NotUnderstood(
        "none of: nft (script or `nft -j list ruleset`), iptables-save, ipset save, rules of ufw, XML of firewalld, "
        "JSON of AWS, GCP, Azure, DigitalOcean, Hetzner, kubectl or Terraform"
    )


def _of_json(text: str) -> Notation:
    try:
        data: Any = json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise NotUnderstood(f"no JSON, or cut off: {problem}") from None
    if isinstance(data, dict) and "nftables" in data:
        return Notation.NFT_JSON
    return Notation.CLUSTER if isinstance(data, dict) and "apiVersion" in data else Notation.CLOUD


def read_scene(pieces: Iterable[Piece], means: Means) -> Scene:
    """All pieces as one machine and what is around it. Raises NotUnderstood, with the name of the file."""
    by_kind: dict[Notation, list[Piece]] = {}
    sources = {}
    for piece in pieces:
        try:
            kind = recognise(piece)
        except NotUnderstood as problem:
            raise NotUnderstood(f"{piece.name}: {problem}") from None
        by_kind.setdefault(kind, []).append(piece)
        sources[piece.name] = kind.value
    rulesets, manager, unseen, sets = _of_host(by_kind, means)
    clouds: list[Cloud] = []
    cluster = Cluster()
    for piece in by_kind.get(Notation.CLOUD, ()):
        found = _named(piece, lambda one: read_clouds(one.text))
        if found is None:
            raise NotUnderstood(f"{piece.name}: JSON, but nothing that a cloud's firewall prints")
        clouds += found
    for piece in by_kind.get(Notation.CLUSTER, ()):
        more = _named(piece, lambda one: read_cluster(one.text))
        if more is None:
            raise NotUnderstood(f"{piece.name}: of Kubernetes, but no network policy, service or pod")
        cluster = Cluster(cluster.pods + more.pods, cluster.policies + more.policies, cluster.services + more.services)
    # A network ACL is met before the group.
    clouds.sort(key=lambda one: one.provider is not Provider.AWS_ACL)
    return Scene(
        host=join(rulesets),
        clouds=tuple(clouds),
        manager=manager,
        ban_sets=tuple(sets),
        blind=_blind(by_kind),
        cluster=cluster if Notation.CLUSTER in by_kind else None,
        sources=sources,
        unseen=tuple(unseen),
    )


def _blind(by_kind: Mapping[Notation, object]) -> frozenset[Family]:
    """The family without its file, where iptables has one file for each."""
    if by_kind.keys() & {Notation.NFT, Notation.NFT_JSON, Notation.UFW, Notation.UFW6, Notation.FIREWALLD}:
        return frozenset()
    pairs = ((Notation.IPTABLES, Family.IPV4), (Notation.IP6TABLES, Family.IPV6))
    missing = frozenset(family for kind, family in pairs if kind not in by_kind)
    return missing if len(missing) == 1 else frozenset()


_Host = tuple[list[Ruleset], Manager, list[str], list[BanSet]]


def _of_host(by_kind: dict[Notation, list[Piece]], means: Means) -> _Host:
    rulesets: list[Ruleset] = []
    unseen: list[str] = []
    sets: list[BanSet] = []
    manager = Manager.NOBODY
    for kind in (Notation.NFT_JSON, Notation.NFT):
        for piece in by_kind.get(kind, ()):
            listing = piece.text if kind is Notation.NFT_JSON else _named(piece, lambda one: _list(one, means))
            rulesets.append(_named(Piece(piece.name, listing), lambda one: nftables.read(one.text, means.accounts)))
            sets += find_sets(json.loads(listing)) if '"set"' in listing else ()
            manager = Manager.NFTABLES
    saved = [by_kind.get(kind, []) for kind in (Notation.IPTABLES, Notation.IP6TABLES)]
    if any(saved):
        manager = Manager.IPTABLES
        rulesets.append(_of_iptables(saved, by_kind.get(Notation.IPSET, []), means))
        for family, texts in zip((4, 6), saved, strict=True):
            if not texts:
                unseen.append(
                    f"the rules for IPv{family}: no file of {'iptables' if family == 4 else 'ip6tables'}-save"
                )
    user, user6 = by_kind.get(Notation.UFW, []), by_kind.get(Notation.UFW6, [])
    if user or user6:
        manager = Manager.UFW
        given = by_kind.get(Notation.UFW_DEFAULTS)
        if not given:
            unseen.append("/etc/default/ufw: taken as it is shipped")
        piece = (user or user6)[0]
        before, before6 = (_text(by_kind.get(one, [])) for one in (Notation.UFW_BEFORE, Notation.UFW_BEFORE6))
        after, after6 = (_text(by_kind.get(one, [])) for one in (Notation.UFW_AFTER, Notation.UFW_AFTER6))
        kept = ufw.Texts(
            _text(user),
            _text(user6),
            _text(given or []) or UFW_DEFAULTS,
            before or ufw.BEFORE,
            before6 or _BEFORE6,
            after,
            after6,
        )
        rulesets.append(_named(piece, lambda _: ufw.read(kept)))
    elif any(one in by_kind for one in (Notation.UFW_DEFAULTS, *_UFW.values())):
        alone = next(by_kind[one][0] for one in (Notation.UFW_DEFAULTS, *_UFW.values()) if one in by_kind)
        raise NotUnderstood(f"{alone.name}: of ufw, without its user.rules")
    if Notation.FIREWALLD in by_kind:
        manager = Manager.FIREWALLD
        files = {_firewalld_path(one): one.text for one in by_kind[Notation.FIREWALLD]}
        rulesets.append(_named(by_kind[Notation.FIREWALLD][0], lambda _: _of_firewalld(files)))
    return rulesets, manager, unseen, sets


def _list(piece: Piece, means: Means) -> str:
    if means.list_script is None:
        raise NotUnderstood("a script of nft, which only nft can read: give `nft -j list ruleset`")
    return means.list_script(piece.text)


def _text(pieces: list[Piece]) -> str:
    return pieces[0].text if pieces else ""


def _of_iptables(saved: list[list[Piece]], ipset: list[Piece], means: Means) -> Ruleset:
    by_number = {str(number): name for number, name in means.accounts.items()}
    four, six = (("\n".join(one.text for one in texts)) for texts in saved)
    name = next(one.name for texts in saved for one in texts)
    return _named(Piece(name, four), lambda one: iptables.read(one.text, six, _text(ipset), by_number))


def _of_firewalld(files: dict[str, str]) -> Ruleset:
    zones = [path for path in files if path.startswith("zones/")]
    default = "public" if "zones/public.xml" in files or not zones else zones[0][6:-4]
    return firewalld.read(files, default)


def _firewalld_path(piece: Piece) -> str:
    found = _XML.search(piece.text)
    directory = _ROOTS[found[1]] if found else "zones"
    base = piece.name.rpartition("/")[2]
    base = base if base.endswith(".xml") else f"{base}.xml"
    return f"{directory}/{base}" if directory else "direct.xml"


def _named(piece: Piece, act: Callable[[Piece], _T]) -> _T:
    try:
        return act(piece)
    except NotUnderstood as problem:
        raise NotUnderstood(f"{piece.name}: {problem}") from None


def join(rulesets: Iterable[Ruleset]) -> Ruleset:
    """Of several tools on one machine: packets must pass all of them."""
    found = tuple(rulesets)
    sets: dict[str, Any] = {}
    for one in found:
        sets |= dict(one.sets)
    return Ruleset(
        tuple(layer for one in found for layer in one.layers),
        sets,
        tuple(dict.fromkeys(published for one in found for published in one.published)),
        tuple(limit for one in found for limit in one.limits),
        tuple(line for one in found for line in one.unread),
    )


def find_sets(listing: Any) -> Iterable[BanSet]:
    """Sets of addresses that programs add to, of what `nft -j list ruleset` said."""
    for item in listing.get("nftables", ()) if isinstance(listing, dict) else ():
        data = item.get("set") if isinstance(item, dict) else None
        if not isinstance(data, dict):
            continue
        family = {"ipv4_addr": 4, "ipv6_addr": 6}.get(str(data.get("type")))
        flags = data.get("flags", [])
        words = {flags} if isinstance(flags, str) else {str(one) for one in flags}
        if family is not None and words & {"dynamic", "timeout"}:
            table = f"{data.get('family')} {data.get('table')}"
            yield BanSet(table, str(data.get("name")), family, "timeout" in words or "timeout" in data, "size" in data)

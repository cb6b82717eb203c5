"""All that the audit looks at: what should be, what the rules in force say, who listens, and what is around.

Gathered by `probes.machine.firewall`, or read from files; judged by the checks beside this module. What is None was
not looked at, and no check takes it for fine or for faulty.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from postreeve.checks.firewall.kubernetes_scene import Cluster
from postreeve.checks.firewall.windows_scene import Windows
from postreeve.checks.machine import Bound
from postreeve.firewall.exposure import Exposure, Smarthost
from postreeve.firewall.flow import Address, Family, Policy
from postreeve.firewall.ruleset import Ruleset


class Manager(Enum):
    """Who brings rules into this machine; the fixes are in its words."""

    UFW = "ufw"
    FIREWALLD = "firewalld"
    NFTABLES = "nftables.service"
    IPTABLES = "netfilter-persistent"
    NOBODY = "nobody"


class Provider(Enum):
    """Whose notation a layer around the host is in."""

    AWS_GROUP = "aws security group"
    AWS_ACL = "aws network acl"
    GCP = "gcp"
    AZURE = "azure"
    DIGITALOCEAN = "digitalocean"
    HETZNER = "hetzner"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Cloud:
    """A layer around the host. The tuples quote rules that the policy does not have, or has without saying so."""

    provider: Provider
    name: str
    policy: Policy
    is_stateless: bool = False
    is_default_group: bool = False
    rules_in: int = 0
    rules_out: int = 0
    disabled: tuple[str, ...] = ()
    untargeted: tuple[str, ...] = ()
    """Rules for every machine of a network."""
    undescribed: tuple[str, ...] = ()
    priorities: frozenset[int] = frozenset()
    undecided: tuple[str, ...] = ()
    """Pairs of rules that contradict each other at the same priority."""
    idle_seconds: int | None = None
    """How long it remembers a connection on which nothing is said."""


@dataclass(frozen=True, slots=True)
class Persistence:
    """What the next start of the machine would load."""

    source: str
    is_enabled: bool | None = None
    ruleset: Ruleset | None = None
    """What the file says; None where it could not be read without loading it."""
    unit: str = ""
    """The unit of systemd that loads our own file; "" for the manager's."""


@dataclass(frozen=True, slots=True)
class Names:
    """What the DNS says of this host."""

    is_mx: bool = False
    ipv4: tuple[Address, ...] = ()
    ipv6: tuple[Address, ...] = ()


@dataclass(frozen=True, slots=True)
class Conntrack:
    """The kernel's table of connections."""

    count: int
    most: int
    established_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class BanSet:
    """A set that programs add addresses to. `table` is "inet filter"."""

    table: str
    name: str
    family: int
    has_timeout: bool = True
    has_size: bool = True


@dataclass(frozen=True, slots=True)
class Administrator:
    """Who is logged in by SSH, and the port of ours that they came to."""

    address: Address
    port: int


@dataclass(frozen=True, slots=True)
class Scene:
    """All of it. `interfaces` lead outside; without any, every interface that a rule names may."""

    host: Ruleset
    exposure: Exposure | None = None
    policy: Policy | None = None
    """What would be applied now."""
    clouds: tuple[Cloud, ...] = ()
    """In the order in which packets that come in meet them."""
    bound: tuple[Bound, ...] | None = None
    manager: Manager = Manager.NOBODY
    managers: tuple[Manager, ...] = ()
    """All that are at work."""
    variants: tuple[str, ...] = ()
    """Of iptables, those that have rules ("legacy", "nft")."""
    persistence: Persistence | None = None
    names: Names | None = None
    administrators: tuple[Administrator, ...] = ()
    conntrack: Conntrack | None = None
    ban_sets: tuple[BanSet, ...] = ()
    smarthosts_now: tuple[Smarthost, ...] = ()
    """As their names resolve now; the rules may be older."""
    peers: tuple[Address, ...] = ()
    """The other ends of mail connections under way."""
    cluster: Cluster | None = None
    windows: Windows | None = None
    interfaces: tuple[str, ...] = ()
    is_live: bool = False
    blind: frozenset[Family] = frozenset()
    """Families whose rules were not read."""
    sources: Mapping[str, str] = field(default_factory=dict)
    """What was read, by the name of its file or command: in which notation."""
    unseen: tuple[str, ...] = ()

"""Facts about this machine's own server: what it should do, what really listens, what is served, and how it goes.

Gathered by `probes.machine`, judged by `checks.doctor`. Times are seconds, moments POSIX seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

from postreeve.checks.conversation import Conversation
from postreeve.checks.facts import Lookup
from postreeve.checks.path import Dial


@dataclass(frozen=True, slots=True)
class Wanted:
    """A listener as configured, one address each. `tls` is none, starttls, required or implicit."""

    name: str
    address: str
    port: int
    role: str
    tls: str


@dataclass(frozen=True, slots=True)
class Bound:
    """A listening TCP socket of this machine; `program` and `pid` are of its owner, "" and 0 where not readable."""

    address: str
    port: int
    pid: int = 0
    program: str = ""
    user: str = ""
    is_ours: bool = False
    takes_ipv4: bool = False
    """It is bound to `::` and takes connections by IPv4 too."""

    @property
    def versions(self) -> frozenset[int]:
        """Of IP, by which it can be reached."""
        is_ipv6 = ":" in self.address and not self.address.startswith("::ffff:")
        return frozenset({6, 4} if self.takes_ipv4 else {6} if is_ipv6 else {4})


@dataclass(frozen=True, slots=True)
class Served:
    """A conversation with one of our own listeners, as a client has it. `reached` is the address that was dialled."""

    listener: str
    role: str
    tls: str
    reached: str
    port: int
    conversation: Conversation


@dataclass(frozen=True, slots=True)
class CertificateFile:
    """A certificate file that the configuration names, as it is on disk now."""

    path: str
    fingerprint: str
    names: tuple[str, ...]
    not_before: float
    not_after: float
    problem: str = ""
    """Why it cannot be used, "" when it can."""


@dataclass(frozen=True, slots=True)
class Sending:
    """An address that mail leaves from. `public` differs from `address` behind NAT and is "" where unknown."""

    address: str
    public: str
    hello: str
    ptr: Lookup | None = None
    forward: tuple[Lookup, ...] = ()
    """Addresses of the PTR names, and of the EHLO name."""

    @property
    def seen_as(self) -> str:
        """The address that others see, as far as known."""
        return self.public or self.address


@dataclass(frozen=True, slots=True)
class WayOut:
    """One way for mail to leave: "port 25" or a smarthost's name. `expected` says whether the configuration uses it."""

    name: str
    host: str
    port: int
    is_used: bool
    dials: tuple[Dial, ...] = ()
    banner: str = ""
    conversation: Conversation | None = None
    lookup_failure: str = ""
    verifies: bool = True
    """The configuration asks for a certificate of the right name."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One question to a block list: `zone` about `address`; a list answers with addresses in 127.0.0.0/8 (RFC 5782)."""

    zone: str
    address: str
    lookup: Lookup
    reason: Lookup | None = None


@dataclass(frozen=True, slots=True)
class Disk:
    """Room on the file system of a directory; `floor_octets` is the configured queue.min_free."""

    path: str
    total_octets: int
    free_octets: int
    floor_octets: int
    total_inodes: int = 0
    free_inodes: int = 0


@dataclass(frozen=True, slots=True)
class QueueState:
    """What waits. `reasons` and `destinations` are the most frequent, with recipients."""

    messages: int
    due: int
    oldest_seconds: float
    quarantined: int
    held: int
    reasons: tuple[tuple[str, int], ...] = ()
    destinations: tuple[tuple[str, int], ...] = ()
    problem: str = ""
    """Why it could not be read, or ""."""


@dataclass(frozen=True, slots=True)
class FilePermission:
    """A file that must be private, with its mode bits and owner."""

    path: str
    mode: int
    owner: str
    wanted_mode: int
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Counter:
    """A firewall rule that drops or rejects packets to one of our ports, as `nft` or `iptables-save` shows it."""

    rule: str
    port: int
    packets: int
    is_outgoing: bool = False


@dataclass(frozen=True, slots=True)
class Clock:
    """`is_synchronised` is the kernel's word (adjtimex), None where it says nothing; `offset_seconds` is theirs minus
    ours, None where nobody was asked."""

    is_synchronised: bool | None = None
    offset_seconds: float | None = None
    source: str = ""


@dataclass(frozen=True, slots=True)
class Outside:
    """What a second postreeve saw of one of our ports from where it stands."""

    port: int
    address: str
    outcome: str
    protocol: str
    tls: str
    problem: str = ""
    certificate_problem: str = ""
    """Why a client that verifies would refuse; other servers do not mind (RFC 7435)."""


@dataclass(frozen=True, slots=True)
class Machine:
    """All of it. `process` is the pid of the running server, 0 when it does not run."""

    at: float
    hostname: str
    config_path: str
    data_dir: str
    process: int = 0
    version: str = ""
    problems: tuple[str, ...] = ()
    """What the running server says of itself."""
    wanted: tuple[Wanted, ...] = ()
    bound: tuple[Bound, ...] = ()
    served: tuple[Served, ...] = ()
    certificate_files: tuple[CertificateFile, ...] = ()
    hostname_lookups: tuple[Lookup, ...] = ()
    local_addresses: tuple[str, ...] = ()
    sending: tuple[Sending, ...] = ()
    ways_out: tuple[WayOut, ...] = ()
    known_good: tuple[Dial, ...] = ()
    """Dials to hosts that answer when this network lets mail out; () when none were made."""
    platform: str = ""
    """The network that this machine is in: a key of `ports.network`, "" for unknown."""
    block_lists: tuple[Listed, ...] = ()
    resolver: tuple[Lookup, ...] = ()
    """A question that every resolver can answer, per configured server."""
    clock: Clock = Clock()
    disks: tuple[Disk, ...] = ()
    queue: QueueState | None = None
    logins_failed: int = 0
    logins_succeeded: int = 0
    misplaced_credentials: int = 0
    permissions: tuple[FilePermission, ...] = ()
    counters: tuple[Counter, ...] = ()
    outside: tuple[Outside, ...] = ()
    outside_problem: str = ""
    unseen: tuple[str, ...] = ()
    """What could not be looked at, and why, one sentence each."""

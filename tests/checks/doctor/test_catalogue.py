"""Every check of the doctor: silent on a healthy machine, and saying exactly its own thing on a sick one."""

import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from postreeve.checks.conversation import Certificate, Conversation, Opening, Said, Tls, Trouble
from postreeve.checks.doctor.catalogue import CHECKS, examine
from postreeve.checks.facts import Lookup
from postreeve.checks.finding import Finding, Level
from postreeve.checks.machine import (
    Bound,
    CertificateFile,
    Clock,
    Counter,
    Disk,
    FilePermission,
    Listed,
    Machine,
    Outside,
    QueueState,
    Sending,
    Served,
    Wanted,
    WayOut,
)
from postreeve.checks.path import Dial, DialOutcome, Icmp
from postreeve.checks.stage import Stage

NOW = 1_800_000_000.0
DAY = 86_400.0
ADDRESS = "192.0.2.25"
PUBLIC = "1.1.1.1"  # the checks look at addresses that are public, which those for documentation are not
HOST = "mail.example.org"

LEAF = Certificate(
    subject=f"CN={HOST}",
    issuer="CN=Example Authority",
    names=(HOST,),
    common_name=HOST,
    not_before=NOW - 10 * DAY,
    not_after=NOW + 80 * DAY,
    key="EC secp256r1",
    signature="sha256",
    fingerprint="aa" * 32,
    usages=("serverAuth",),
)
TLS = Tls(server_name=HOST, version="TLSv1.3", chain=(LEAF,), is_name_right=True)
OPEN = Dial(ADDRESS, 25, DialOutcome.OPEN, 0.01)


def said(stage: Stage, command: str, code: int, *lines: str, in_tls: bool = False) -> Said:
    return Said(stage, command, code, lines, 0.01, in_tls)


GREETING = said(Stage.BANNER, "", 220, f"{HOST} ESMTP")
TALK_25 = Conversation(
    Opening.CLEAR,
    OPEN,
    said=(
        GREETING,
        said(Stage.EHLO, "EHLO x", 250, HOST, "STARTTLS"),
        said(Stage.EHLO, "EHLO x", 250, HOST, "SIZE", in_tls=True),
    ),
    tls=TLS,
)
TALK_465 = Conversation(
    Opening.TLS,
    replace(OPEN, port=465),
    said=(replace(GREETING, is_in_tls=True), said(Stage.EHLO, "EHLO x", 250, HOST, "AUTH PLAIN LOGIN", in_tls=True)),
    tls=TLS,
)
MX = Served("relay-25", "relay", "starttls", ADDRESS, 25, TALK_25)
SUBMISSIONS = Served("submission-465", "submission", "implicit", ADDRESS, 465, TALK_465)
FAR = Dial("198.51.100.7", 25, DialOutcome.OPEN, 0.05)
FAR_SIX = replace(FAR, address="2001:db8::7")
SENDING = Sending(PUBLIC, PUBLIC, HOST, Lookup("1.1.1.1.in-addr.arpa", "PTR", (HOST,)), (Lookup(HOST, "A", (PUBLIC,)),))

WELL = Machine(
    at=NOW,
    hostname=HOST,
    config_path="/etc/postreeve/postreeve.toml",
    data_dir="/var/lib/postreeve",
    process=4711,
    version="0.1.0",
    wanted=(
        Wanted("relay-25", "0.0.0.0", 25, "relay", "starttls"),
        Wanted("submission-465", "::", 465, "submission", "implicit"),
    ),
    bound=(
        Bound("0.0.0.0", 25, 4711, "postreeve", "root", is_ours=True),
        Bound("::", 465, 4711, "postreeve", "root", is_ours=True),
        Bound("127.0.0.1", 5432, 99, "postgres", "postgres"),
    ),
    served=(MX, SUBMISSIONS),
    certificate_files=(CertificateFile("/etc/ssl/mail.pem", "aa" * 32, (HOST,), LEAF.not_before, LEAF.not_after),),
    hostname_lookups=(Lookup(HOST, "A", (PUBLIC,)), Lookup(HOST, "AAAA", absence="NODATA")),
    local_addresses=(ADDRESS, PUBLIC),
    sending=(SENDING,),
    ways_out=(
        WayOut("port 25", "mx.example.com", 25, True, (FAR, FAR_SIX), "220 mx.example.com ESMTP"),
        WayOut("smarthost:provider", "smtp.example.com", 465, True, (replace(FAR, port=465),), conversation=TALK_465),
    ),
    known_good=(replace(FAR, port=465),),
    block_lists=(Listed("zen.example.net", PUBLIC, Lookup("1.1.1.1.zen.example.net", "A", absence="NXDOMAIN")),),
    resolver=(Lookup(".", "NS", ("a.example.net",), server="192.0.2.53"),),
    clock=Clock(True, 0.2, "an NTP server"),
    disks=(Disk("/var/lib/postreeve", 100 << 30, 50 << 30, 5 << 30, 1_000_000, 900_000),),
    queue=QueueState(12, 3, 600.0, 0, 0, (("451 4.7.1 greylisted", 2),), (("mx:example.net", 12),)),
    logins_failed=3,
    logins_succeeded=100,
    permissions=(FilePermission("/etc/ssl/mail.key", 0o640, "root", 0o640),),
    outside=(Outside(25, PUBLIC, "open", "smtp", "TLSv1.3", "", "not trusted, which other servers do not mind"),),
)


def served(**changes: object) -> Machine:
    """The healthy machine, with what its port 25 shows changed: parts of the certificate, or of TLS."""
    leaf = {key: value for key, value in changes.items() if hasattr(LEAF, key)}
    tls = {key: value for key, value in changes.items() if hasattr(TLS, key)}
    shown = replace(TLS, chain=(replace(LEAF, **leaf),), **tls)  # type: ignore[arg-type]
    return replace(WELL, served=(replace(MX, conversation=replace(TALK_25, tls=shown)), SUBMISSIONS))


def talk(**changes: object) -> Machine:
    changed = replace(TALK_25, **changes)  # type: ignore[arg-type]
    return replace(WELL, served=(replace(MX, conversation=changed), SUBMISSIONS))


def way_out(number: int = 0, **changes: object) -> Machine:
    ways = list(WELL.ways_out)
    ways[number] = replace(ways[number], **changes)  # type: ignore[arg-type]
    return replace(WELL, ways_out=tuple(ways))


def sending(**changes: object) -> Machine:
    return replace(WELL, sending=(replace(SENDING, **changes),))  # type: ignore[arg-type]


def listing(*answers: str, failure: str = "") -> Machine:
    lookup = Lookup("1.1.1.1.zen.example.net", "A", answers, failure=failure)
    return replace(WELL, block_lists=(Listed("zen.example.net", PUBLIC, lookup),))


def queue(**changes: object) -> Machine:
    assert WELL.queue is not None
    return replace(WELL, queue=replace(WELL.queue, **changes))  # type: ignore[arg-type]


LOST = replace(FAR, outcome=DialOutcome.TIMED_OUT, error="ETIMEDOUT", seconds=5.0)
LOST_SIX = replace(FAR_SIX, outcome=DialOutcome.TIMED_OUT, error="ETIMEDOUT", seconds=5.0)
REJECTED = replace(FAR, outcome=DialOutcome.PROHIBITED, icmp=Icmp(3, 13, "203.0.113.1"))
OFFER = said(Stage.EHLO, "EHLO x", 250, HOST, "STARTTLS", "AUTH PLAIN LOGIN")

SICK: dict[str, tuple[Callable[[], Machine], str, str, str]] = {
    # name: the machine, the check, a word of the evidence, a word of the fix
    "down": (lambda: replace(WELL, process=0), "server-not-running", "/var/lib/postreeve", "systemctl start postreeve"),
    "postfix": (
        lambda: replace(WELL, bound=(Bound("0.0.0.0", 25, 812, "master", "root"), WELL.bound[1])),
        "port-taken",
        "master (pid 812, user root)",
        "systemctl disable --now postfix",
    ),
    "docker": (
        lambda: replace(WELL, bound=(Bound("::", 25, 9, "docker-proxy", "root"), WELL.bound[1])),
        "port-taken",
        "docker-proxy",
        "ss -ltnp",
    ),
    "unbound": (lambda: replace(WELL, bound=WELL.bound[:1]), "listener-not-bound", "no socket", "restart"),
    "elsewhere": (
        lambda: replace(
            WELL,
            wanted=(replace(WELL.wanted[0], address="192.0.2.99"),),
            bound=(Bound("192.0.2.99", 25, 4711, is_ours=True),),
        ),
        "address-not-local",
        ADDRESS,
        "addresses =",
    ),
    "refused": (
        lambda: talk(dial=replace(OPEN, outcome=DialOutcome.REFUSED, error="ECONNREFUSED"), said=(), tls=None),
        "listener-dead",
        "refused",
        "journalctl",
    ),
    "greets-badly": (
        lambda: talk(said=(said(Stage.BANNER, "", 421, "4.3.2 shutting down"),), tls=None),
        "listener-dead",
        "421 4.3.2",
        "journalctl",
    ),
    "no-starttls": (lambda: talk(tls=None), "listener-dead", "STARTTLS is not offered", "journalctl"),
    "auth-on-25": (lambda: talk(said=(GREETING, OFFER)), "auth-misplaced", "on a relay port", "sport = :25"),
    "dropped-in": (
        lambda: replace(WELL, counters=(Counter("tcp dport 25 counter packets 12 drop", 25, 12),)),
        "firewall-drops-incoming",
        "12 packets",
        "nft list ruleset",
    ),
    "dropped-out": (
        lambda: replace(WELL, counters=(Counter("tcp dport 25 drop", 25, 12, is_outgoing=True),)),
        "firewall-drops-outgoing",
        "12 packets",
        "nft list ruleset",
    ),
    "expired": (lambda: served(not_after=NOW - DAY - 9), "certificate-expired", "ended 24 h ago", "renew"),
    "future": (lambda: served(not_before=NOW + 3600 * 5), "certificate-not-yet-valid", "begins in 5 h", "timedatectl"),
    "late": (lambda: served(not_after=NOW + 3 * DAY), "certificate-renewal-late", "ends in 3 days", "list-timers"),
    "stale": (
        lambda: served(fingerprint="bb" * 32, not_after=NOW + 40 * DAY),
        "certificate-stale",
        "/etc/ssl/mail.pem",
        "kill -HUP 4711",
    ),
    "foreign": (
        lambda: served(fingerprint="cc" * 32, names=("other.example.net",)),
        "certificate-foreign",
        "none of the configured files",
        "ss -ltnp",
    ),
    "wrong-name": (lambda: served(is_name_right=False), "certificate-name", f"names {HOST}", f"certificate for {HOST}"),
    "no-chain": (
        lambda: served(troubles=(Trouble(20, 0, "unable to get local issuer"),), missing_issuer="CN=Middle"),
        "certificate-untrusted",
        "depth 0",
        "fullchain.pem",
    ),
    "self-signed": (
        lambda: served(troubles=(Trouble(18, 0, "self-signed certificate"),), is_self_signed=True),
        "certificate-untrusted",
        "self-signed",
        "public authority",
    ),
    "bad-file": (
        lambda: replace(
            WELL, certificate_files=(*WELL.certificate_files, CertificateFile("/x.pem", "", (), 0, 0, "holds no PEM"))
        ),
        "certificate-unusable",
        "holds no PEM",
        "config check",
    ),
    "25-blocked": (
        lambda: way_out(dials=(LOST, LOST_SIX), banner=""),
        "outbound-25-blocked",
        "198.51.100.7:465 answers",
        'via = "smarthost"',
    ),
    "25-forbidden-here": (
        lambda: way_out(dials=(replace(FAR, outcome=DialOutcome.FORBIDDEN, error="EPERM"),), banner=""),
        "outbound-25-blocked",
        "own firewall",
        "nft list ruleset",
    ),
    "25-prohibited": (
        lambda: way_out(dials=(REJECTED,), banner=""),
        "outbound-25-blocked",
        "ICMP type 3 code 13 from 203.0.113.1",
        "provider",
    ),
    "offline": (
        lambda: replace(way_out(dials=(LOST,), banner=""), known_good=(LOST,)),
        "outbound-25-blocked",
        "nothing else",
        "ip route",
    ),
    "smarthost-silent": (
        lambda: way_out(1, dials=(replace(LOST, port=465),), conversation=None),
        "smarthost-unreachable",
        "timed out",
        "postreeve probe smtp.example.com:465",
    ),
    "smarthost-nameless": (
        lambda: way_out(1, dials=(), conversation=None, lookup_failure="smtp.example.com: no such name"),
        "smarthost-unreachable",
        "no such name",
        "getent",
    ),
    "smarthost-refuses": (
        lambda: way_out(1, conversation=replace(TALK_465, said=(said(Stage.BANNER, "", 554, "5.7.1 go away"),))),
        "smarthost-refuses",
        "554 5.7.1 go away",
        "postreeve probe",
    ),
    "smarthost-expired": (
        lambda: way_out(1, conversation=replace(TALK_465, tls=replace(TLS, troubles=(Trouble(10, 0, "expired"),)))),
        "smarthost-refuses",
        "expired",
        "postreeve probe",
    ),
    "ipv6": (lambda: way_out(dials=(LOST_SIX, FAR)), "ipv6-way-out-broken", "IPv4 works", 'family = "ipv4"'),
    "no-ptr": (
        lambda: sending(ptr=Lookup("1.1.1.1.in-addr.arpa", "PTR", absence="NXDOMAIN")),
        "ptr-missing",
        "NXDOMAIN",
        f"1.1.1.1.in-addr.arpa. PTR {HOST}.",
    ),
    "ptr-leads-elsewhere": (
        lambda: sending(forward=(Lookup(HOST, "A", ("1.0.0.1",)),)),
        "ptr-unconfirmed",
        "leads to 1.0.0.1",
        f"{HOST}. A {PUBLIC}",
    ),
    "ptr-differs": (lambda: sending(hello="mx.example.org"), "ptr-differs", "EHLO says mx.example.org", "PTR mx"),
    "nameless": (
        lambda: replace(
            WELL, hostname_lookups=(Lookup(HOST, "A", absence="NXDOMAIN"), Lookup(HOST, "AAAA", absence="NXDOMAIN"))
        ),
        "hostname-unresolved",
        "neither",
        f"{HOST}. A {PUBLIC}",
    ),
    "listed": (lambda: listing("127.0.0.2"), "address-listed", "127.0.0.2", "removal"),
    "policy-list": (lambda: listing("127.0.0.11"), "address-listed-by-policy", "127.0.0.11", "smarthost"),
    "list-refuses": (lambda: listing("127.255.255.254"), "block-list-unknown", "127.255.255.254", "unbound"),
    "list-silent": (lambda: listing(failure="timed out"), "block-list-unknown", "timed out", "unbound"),
    "complains": (
        lambda: replace(WELL, problems=("1 of 2 workers do not answer",)),
        "server-complains",
        "1 of 2",
        "status",
    ),
    "old-mail": (
        lambda: queue(oldest_seconds=9 * 3600.0),
        "queue-old",
        "2 × 451 4.7.1 greylisted",
        "--destination mx:example.net",
    ),
    "locked-queue": (lambda: queue(problem="permission denied"), "queue-unreadable", "permission", "root"),
    "damaged": (lambda: queue(quarantined=2), "queue-damaged", "2 damaged", "smartctl"),
    "guessing": (lambda: replace(WELL, logins_failed=500), "logins-failing", "500 logins", "journalctl"),
    "misplaced": (lambda: replace(WELL, misplaced_credentials=4), "credentials-misplaced", "4 times", "journalctl"),
    "full": (
        lambda: replace(WELL, disks=(replace(WELL.disks[0], free_octets=1 << 30),)),
        "disk-full",
        "1,024 MiB",
        "df -h",
    ),
    "nearly-full": (
        lambda: replace(WELL, disks=(replace(WELL.disks[0], free_octets=7 << 30),)),
        "disk-low",
        "7,168",
        "df -h",
    ),
    "inodes": (lambda: replace(WELL, disks=(replace(WELL.disks[0], free_inodes=99),)), "disk-low", "99 of", "df -i"),
    "clock": (lambda: replace(WELL, clock=Clock(True, -400.0, "x")), "clock-wrong", "-400 s", "timedatectl"),
    "free-clock": (lambda: replace(WELL, clock=Clock(False)), "clock-unsynchronised", "kernel", "timedatectl"),
    "resolver": (
        lambda: replace(WELL, resolver=(Lookup(".", "NS", failure="timed out", server="192.0.2.53"),)),
        "resolver-dead",
        "timed out",
        "dig @192.0.2.53",
    ),
    "readable-key": (
        lambda: replace(WELL, permissions=(FilePermission("/k.pem", 0o644, "root", 0o640),)),
        "secret-readable",
        "mode 0644",
        "chmod 0640 /k.pem",
    ),
    "distrusted-outside": (
        lambda: replace(WELL, outside=(Outside(465, PUBLIC, "open", "smtp", "TLSv1.3", "", "not trusted"),)),
        "closed-from-outside",
        "not trusted",
        "public authority",
    ),
    "closed-outside": (
        lambda: replace(WELL, outside=(Outside(25, PUBLIC, "timed out", "", ""),)),
        "closed-from-outside",
        "timed out",
        "port 25",
    ),
}


def test_healthy_machine_has_no_findings() -> None:
    assert examine(WELL) == ()


@pytest.mark.parametrize(("make", "check", "evidence", "fix"), SICK.values(), ids=SICK)
def test_check_finds_what_it_is_for_and_nothing_else(
    make: Callable[[], Machine], check: str, evidence: str, fix: str
) -> None:
    findings = examine(make())
    assert {one.check for one in findings} == {check}
    assert evidence in "\n".join(line for one in findings for line in one.because)
    assert fix in "\n".join(one.fix for one in findings)


def test_every_check_is_tested_and_named_well() -> None:
    assert {check for _, check, _, _ in SICK.values()} == {check.id for check in CHECKS}
    assert len({check.id for check in CHECKS}) == len(CHECKS)
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", check.id) for check in CHECKS)


def test_worst_findings_come_first() -> None:
    sick = replace(WELL, clock=Clock(False), logins_failed=500, process=0)
    assert [one.level for one in examine(sick)] == [Level.ERROR, Level.WARNING, Level.NOTE]


def test_private_addresses_are_not_asked_for_reverse_names() -> None:
    private = replace(SENDING, address="192.168.1.5", public="", ptr=Lookup("x", "PTR", absence="NXDOMAIN"))
    assert examine(replace(WELL, sending=(private,))) == ()


def test_nothing_seen_is_nothing_said() -> None:
    blank = Machine(NOW, HOST, "c", "d", process=1)
    found: tuple[Finding, ...] = examine(blank)
    assert found == ()

"""The mail programs, tools and machine abilities that tests work with, and what to do when one is missing.

A test names what it needs: `@pytest.mark.peer("swaks")`, or `peer("swaks")` of the fixture, which returns its path.
On a machine without it the test skips, with the reason and the command that installs it; with POSTREEVE_REQUIRE_PEERS=1
a peer that can be installed fails the test instead, so that nothing is skipped unseen where everything should be there.
`scripts/peers.sh` installs what `apt` and `npm` below name; tests/test_peers.py keeps the two lists equal.
"""

import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest

MISSING = "missing peer"
UNPACKED = Path(__file__).parents[2] / "build" / "peers"
"""What cannot be installed beside Postfix is unpacked here."""
NODE_MODULES = Path(__file__).parent / "node" / "node_modules"
SBIN = ("/usr/sbin", "/sbin", "/usr/local/sbin", "/usr/lib/dovecot", "/usr/libexec/dovecot")


@dataclass(frozen=True, slots=True)
class Peer:
    """One thing a test may need: found when every file is there and the probe, if any, exits 0."""

    programs: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    probe: tuple[str, ...] = ()
    apt: tuple[str, ...] = ()
    npm: str = ""
    unpacked: tuple[str, ...] = ()
    """Packages that scripts/peers.sh does not install but unpacks into UNPACKED."""
    why: str = ""
    is_installable: bool = field(default=True)


PEERS: dict[str, Peer] = {
    "crowdsec-bouncer": Peer(("crowdsec-firewall-bouncer",), apt=("crowdsec-firewall-bouncer",)),
    "curl": Peer(("curl",), apt=("curl",)),
    "dovecot": Peer(
        ("dovecot", "doveadm"),
        files=("/usr/lib/dovecot/lmtp", "/usr/lib/dovecot/submission-login"),
        apt=("dovecot-core", "dovecot-lmtpd", "dovecot-submissiond"),
    ),
    "exim": Peer(files=(str(UNPACKED / "usr/sbin/exim4"),), unpacked=("exim4-base", "exim4-daemon-light")),
    "fail2ban": Peer(("fail2ban-client", "fail2ban-regex"), files=("/etc/fail2ban/jail.conf",), apt=("fail2ban",)),
    "faketime": Peer(("faketime",), apt=("faketime",)),
    "firewalld": Peer(
        ("firewalld", "firewall-cmd", "firewall-offline-cmd", "dbus-daemon"), apt=("firewalld", "dbus-daemon")
    ),
    "ip": Peer(("ip",), apt=("iproute2",)),
    "ipset": Peer(("ipset",), apt=("ipset",)),
    "iptables": Peer(
        ("iptables-nft-restore", "ip6tables-nft-restore", "iptables-legacy-restore", "ip6tables-legacy-restore"),
        apt=("iptables",),
    ),
    "msmtp": Peer(("msmtp",), apt=("msmtp",)),
    "namespaces": Peer(
        probe=("unshare", "--net", "--mount", "true"), why="needs the right to make namespaces", is_installable=False
    ),
    "nft": Peer(("nft",), apt=("nftables",)),
    "nmap": Peer(("nmap",), files=("/usr/share/nmap/scripts/smtp-open-relay.nse",), apt=("nmap",)),
    "node": Peer(("node",), apt=("nodejs",)),
    "nodemailer": Peer(
        ("node",), files=(str(NODE_MODULES / "nodemailer/package.json"),), apt=("npm",), npm="nodemailer"
    ),
    "openssl": Peer(("openssl",), apt=("openssl",)),
    "opensmtpd": Peer(files=(str(UNPACKED / "usr/sbin/smtpd"),), unpacked=("opensmtpd",)),
    "php": Peer(("php",), apt=("php-cli",)),
    "postfix": Peer(("postfix", "postconf", "postqueue"), files=("/usr/lib/postfix/sbin/smtpd",), apt=("postfix",)),
    "prlimit": Peer(("prlimit",), apt=("util-linux",)),
    "ruby": Peer(("ruby",), apt=("ruby",)),
    "saslauthd": Peer(("saslauthd",), apt=("sasl2-bin", "libsasl2-modules")),
    "smtp-sink": Peer(("smtp-sink", "smtp-source"), apt=("postfix",)),
    "strace": Peer(("strace",), probe=("strace", "-qq", "-o", "/dev/null", "true"), apt=("strace",)),
    "swaks": Peer(("swaks",), apt=("swaks",)),
    "systemd-analyze": Peer(
        ("systemd-analyze",), why="comes with systemd, where that runs the machine", is_installable=False
    ),
    "ufw": Peer(("ufw",), files=("/lib/ufw/ufw-init", "/etc/ufw/before.rules"), apt=("ufw",)),
    "unbound": Peer(("unbound",), apt=("unbound",)),
}


def find_program(name: str) -> Path | None:
    """Where a program is, daemons included: sbin is not in the PATH of an ordinary account."""
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", os.defpath), *SBIN]))
    return Path(found) if found else None


@cache
def lacks(name: str) -> str:
    """Why the peer cannot be used here, or an empty string."""
    peer = PEERS[name]
    absent = [program for program in peer.programs if find_program(program) is None]
    absent += [file for file in peer.files if not Path(file).exists()]
    if absent:
        how = peer.why or f"apt-get install {' '.join(peer.apt)}"
        if peer.npm:
            how = "npm ci --prefix tests/peers/node"
        if peer.unpacked:
            how = "scripts/peers.sh unpacks it"
        return f"{', '.join(absent)} not found ({how})"
    if peer.probe and not _answers(peer.probe):
        return peer.why or f"`{' '.join(peer.probe)}` does not work here"
    return ""


def _answers(command: tuple[str, ...]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=20, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def require(names: Iterable[str]) -> None:
    """Skip the running test, or fail it under POSTREEVE_REQUIRE_PEERS=1, unless all of these are here."""
    for name in names:
        reason = lacks(name)
        if not reason:
            continue
        message = f"{MISSING} {name}: {reason}"
        if os.environ.get("POSTREEVE_REQUIRE_PEERS") == "1" and PEERS[name].is_installable:
            pytest.fail(message, pytrace=False)
        pytest.skip(message)


def count_missing(reasons: Iterable[str]) -> list[tuple[str, str, int]]:
    """Of skip reasons: each missing peer, why it is missing, and how many tests that cost."""
    counts = Counter(reason.removeprefix("Skipped: ") for reason in reasons if f"{MISSING} " in reason)
    rows = []
    for text, count in sorted(counts.items()):
        name, _, why = text.removeprefix(f"{MISSING} ").partition(": ")
        rows.append((name, why, count))
    return rows

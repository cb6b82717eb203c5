"""Who reaches what in a network of six hosts: before `firewall apply`, after it, and after `firewall rollback`.

What should come of each dial is written out below, for a server that delivers to MX hosts itself and for one that may
use its smarthost only. Both have a container behind them whose ports are published by DNAT. Every line is dialled by
IPv4 and by IPv6.
"""

from __future__ import annotations

import ipaddress
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from postreeve.enforce import warden
from postreeve.enforce.bans import BanLine
from postreeve.enforce.place import Place
from tests.lab.hosts import ADDRESSES, CONTAINER, Dial, Hosts, hosts_or_skip
from tests.lab.server import to_file
from tests.lab.waiting import until

pytestmark = pytest.mark.peer("namespaces", "ip", "nft")
SENDER, OTHER = "daemon", "nobody"
CLIENTS: Final = ["198.51.100.0/24", "2001:db8:1::/64"]
LISTENING: Final = {
    # 8080 and 9090 stand for the admin's page and the metrics, which are for nobody outside.
    "server": [("tcp", port) for port in (22, 25, 465, 587, 8080, 9090)],
    "container": [("tcp", port) for port in (25, 80, 110)],
    "mx": [("tcp", 25), ("tcp", 53), ("udp", 53), ("tcp", 443), ("tcp", 8000)],
    "smarthost": [("tcp", 25), ("tcp", 465), ("tcp", 587), ("udp", 53)],
}
PUBLISHED: Final = {2525: 25, 8081: 80, 1110: 110}

IN: Final = {
    # who, port: before, after
    ("client", 25): ("open", "open"),
    ("client", 465): ("open", "open"),
    ("client", 587): ("open", "open"),
    ("client", 22): ("open", "open"),
    ("client", 8080): ("open", "silent"),
    ("client", 9090): ("open", "silent"),
    ("client", 3306): ("refused", "silent"),
    ("attacker", 25): ("open", "open"),
    ("attacker", 465): ("open", "silent"),
    ("attacker", 587): ("open", "silent"),
    ("attacker", 22): ("open", "silent"),
    ("attacker", 8080): ("open", "silent"),
    ("attacker", 9090): ("open", "silent"),
    ("attacker", 3306): ("refused", "silent"),
    ("mx", 25): ("open", "open"),
    ("mx", 587): ("open", "silent"),
    # The container: 2525 is for clients, 8081 for everybody; 1110 is published, but not named in the configuration.
    ("client", 2525): ("open", "open"),
    ("attacker", 2525): ("open", "silent"),
    ("client", 8081): ("open", "open"),
    ("attacker", 8081): ("open", "open"),
    ("attacker", 1110): ("open", "open"),
}
OUT_BOTH: Final = {
    # from, user, protocol, to, port: before, after
    ("server", SENDER, "tcp", "mx", 443): ("open", "open"),
    ("server", SENDER, "udp", "mx", 53): ("open", "open"),
    ("server", SENDER, "tcp", "mx", 53): ("open", "open"),
    ("server", "root", "udp", "mx", 53): ("open", "open"),
    ("server", "root", "tcp", "mx", 443): ("open", "open"),
    ("server", "root", "tcp", "mx", 8000): ("open", "refused"),
    ("server", SENDER, "tcp", "mx", 8000): ("open", "refused"),
    ("server", OTHER, "tcp", "mx", 25): ("open", "refused"),
    ("server", "root", "tcp", "mx", 25): ("open", "refused"),
    ("server", OTHER, "tcp", "smarthost", 587): ("open", "refused"),
    ("server", "root", "tcp", "smarthost", 465): ("open", "refused"),
    # What a container sends is forwarded: no rule of ours is about it.
    ("container", "root", "tcp", "mx", 25): ("open", "open"),
    ("container", "root", "udp", "mx", 53): ("open", "open"),
}
OUT: Final = {
    "MX direct": OUT_BOTH
    | {
        ("server", SENDER, "tcp", "mx", 25): ("open", "open"),
        ("server", SENDER, "tcp", "smarthost", 25): ("open", "open"),
        ("server", SENDER, "tcp", "smarthost", 587): ("open", "refused"),
        ("server", SENDER, "tcp", "smarthost", 465): ("open", "refused"),
    },
    "smarthost only": OUT_BOTH
    | {
        ("server", SENDER, "tcp", "mx", 25): ("open", "refused"),
        ("server", SENDER, "tcp", "smarthost", 25): ("open", "refused"),
        ("server", SENDER, "tcp", "smarthost", 587): ("open", "open"),
        ("server", SENDER, "tcp", "smarthost", 465): ("open", "open"),
    },
}


def routes(kind: str) -> list[dict[str, object]]:
    if kind == "MX direct":
        return [{"domains": ["*"], "via": "mx"}]
    four, six = ADDRESSES["smarthost"]
    return [
        {"domains": [domain], "via": "smarthost", "host": host, "fallback": {"host": host, "port": 465}}
        for domain, host in (("example.net", six), ("*", four))
    ]


def write_config(directory: Path, kind: str) -> None:
    everywhere = {"addresses": ["0.0.0.0", "::"]}
    own = {"domains": ["example.org"], "via": "maildir", "path": str(directory / "mail")}
    config = {
        "hostname": "mail.example.org",
        "data_dir": str(directory / "data"),
        "user": SENDER,
        "listener": [
            {"role": "relay", "port": 25, "tls": "none", **everywhere},
            {"role": "submission", "port": 465, "tls": "implicit", **everywhere},
            {"role": "submission", "port": 587, "tls": "required", **everywhere},
        ],
        "tls": {"certificate": str(directory / "certificate.pem"), "key": str(directory / "key.pem")},
        "domain": [{"name": "example.org"}],
        "route": [own, *routes(kind)],
        "dns": {"servers": list(ADDRESSES["mx"])},
        "doctor": {"known_good": []},
        "firewall": {
            "submission_from": CLIENTS,
            "ssh_from": CLIENTS,
            "container": [
                {"published": published, "address": address, "port": port, "allow_from": who, "because": "it is a test"}
                for address in CONTAINER
                for published, port, who in ((2525, 25, CLIENTS), (8081, 80, "world"))
            ],
        },
    }
    (directory / "postreeve.toml").write_text(to_file(config))


def firewall(hosts: Hosts, directory: Path, command: str, *options: str) -> dict[str, object]:
    """The command as an operator runs it on the server, and what it prints."""
    words = [*hosts.within("server"), sys.executable, "-m", "postreeve", "firewall", command, "--root", str(directory)]
    if command == "apply":
        words += ["--config", str(directory / "postreeve.toml")]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("SSH_", "POSTREEVE"))}
    done = subprocess.run(
        [*words, *options, "--json"],
        capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=100, check=False, env=clean,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


def table(kind: str) -> dict[Dial, tuple[str, str]]:
    """Every line for both families: what comes of it before, and after."""
    found = {}
    for family in range(2):
        for (who, port), answers in IN.items():
            found[Dial(who, "root", "tcp", ADDRESSES["server"][family], port)] = answers
        for (host, user, protocol, to, port), answers in OUT[kind].items():
            found[Dial(host, user, protocol, ADDRESSES[to][family], port)] = answers
    return found


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    with hosts_or_skip() as made, made.listening(LISTENING):
        made.publish(PUBLISHED)
        yield made


@pytest.mark.parametrize("kind", list(OUT))
def test_who_reaches_what_before_apply_after_it_and_after_rollback(kind: str, hosts: Hosts, tmp_path: Path) -> None:
    write_config(tmp_path, kind)
    expected = table(kind)
    engine = hosts.do("server", "nft", "-s", "list", "ruleset")
    assert hosts.dial_all(expected) == {one: before for one, (before, _) in expected.items()}
    applied = firewall(hosts, tmp_path, "apply", "--yes")
    assert (applied["state"], applied["problems"]) == ("confirmed", [])
    assert hosts.dial_all(expected) == {one: after for one, (_, after) in expected.items()}
    assert firewall(hosts, tmp_path, "rollback")["state"] == "restored"
    assert hosts.dial_all(expected) == {one: before for one, (before, _) in expected.items()}
    assert hosts.do("server", "nft", "-s", "list", "ruleset") == engine


BANNED: Final = {
    # who, port: what comes of it while the attacker is banned
    ("attacker", 25): "silent",
    ("attacker", 8081): "silent",
    ("attacker", 1110): "silent",
    ("client", 25): "open",
    ("client", 8081): "open",
    ("mx", 25): "open",
}


@pytest.fixture
def line(hosts: Hosts) -> Iterator[BanLine]:
    made = warden.start([], [22], Place(hosts.within("server")))
    assert made is not None
    yield made
    made.close()


def test_banned_address_reaches_neither_host_nor_container_until_the_ban_ends(
    hosts: Hosts, line: BanLine, tmp_path: Path
) -> None:
    write_config(tmp_path, "MX direct")
    firewall(hosts, tmp_path, "apply", "--yes", "--no-rehearsal")
    neighbour = "2001:db8:bad::ffff"
    hosts.do("attacker", "ip", "address", "add", f"{neighbour}/128", "dev", "eth0", "nodad")
    dials = {
        Dial(who, "root", "tcp", address, port): answer
        for address in ADDRESSES["server"]
        for (who, port), answer in BANNED.items()
    }
    assert set(hosts.dial_all(dials).values()) == {"open"}
    for family, attacker in enumerate(map(ipaddress.ip_address, ADDRESSES["attacker"])):
        server = ADDRESSES["server"][family]
        to_host, to_container, innocent = (
            hosts.connect(who, server, port) for who, port in (("attacker", 25), ("attacker", 8081), ("client", 8081))
        )
        assert [is_alive(one) for one in (to_host, to_container, innocent)] == [True] * 3
        began = time.perf_counter()
        assert line.ban(attacker, 600)
        while is_alive(to_container, 0.01) and time.perf_counter() - began < 20:
            pass
        print(f"IPv{attacker.version}: no echo of the container {1000 * (time.perf_counter() - began):.0f} ms after")
        # Sessions under way end with the ban: what they send is dropped like everything else.
        until(lambda one=to_container: not is_alive(one, 0.2), "silence of the container")
        until(lambda one=to_host: not is_alive(one, 0.2), "silence of the host")
        assert is_alive(innocent)
        for one in (to_host, to_container, innocent):
            one.close()
    assert hosts.dial_all(dials, 1.0) == dials
    unban(hosts, line, *ADDRESSES["attacker"])
    # Of IPv6 the whole /64 is banned, whichever of its addresses was.
    both = ADDRESSES["attacker"][0], neighbour
    until(lambda: is_listed(hosts, line, both, 600), "the bans")
    assert hosts.dial_all(dials, 1.0) == dials
    unban(hosts, line, *both)
    until(lambda: is_listed(hosts, line, both, 2), "the short bans")
    assert until(lambda: set(hosts.dial_all(dials, 1.0).values()) == {"open"}, "the end of the bans")


def is_listed(hosts: Hosts, line: BanLine, addresses: tuple[str, str], seconds: int) -> bool:
    for address in addresses:
        line.ban(ipaddress.ip_address(address), seconds)
    return "2001:db8:bad::/64" in members(hosts) and addresses[0] in members(hosts)


def members(hosts: Hosts) -> str:
    return "".join(hosts.do("server", "nft", "list", "set", "inet", "postreeve", name) for name in ("bans4", "bans6"))


def unban(hosts: Hosts, line: BanLine, *addresses: str) -> None:
    for address in addresses:
        line.unban(ipaddress.ip_address(address))
    until(lambda: "elements" not in members(hosts), "the end of the bans")


def is_alive(sock: socket.socket, seconds: float = 5.0) -> bool:
    """The other side still echoes."""
    sock.settimeout(seconds)
    try:
        sock.sendall(b"?")
        return sock.recv(1) == b"?"
    except OSError:
        return False

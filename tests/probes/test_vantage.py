"""Where we look from: files of a machine made up for the test, and real namespaces."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from postreeve.probes.lookup import Asker
from postreeve.probes.vantage import has_route, is_container, look_around, own_name, read_dmi
from tests.lab.dns_server import DnsServer
from tests.lab.network import ROUTER_4, ROUTER_6, Internet


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    directory = tmp_path / "sys/class/dmi/id"
    directory.mkdir(parents=True)
    (directory / "sys_vendor").write_text("Hetzner\n")
    (directory / "product_name").write_text("vServer\n")
    (tmp_path / "proc/1").mkdir(parents=True)
    (tmp_path / "proc/1/cgroup").write_text("0::/init.scope\n")
    return tmp_path


@pytest.mark.asyncio
async def test_vantage_names_the_network_by_what_the_firmware_says(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("KUBERNETES_SERVICE_HOST", "container", "GITHUB_ACTIONS", "AWS_EXECUTION_ENV"):
        monkeypatch.delenv(name, raising=False)
    seen = await look_around([], Asker(seconds=0.1), root=machine)
    assert seen.platform.startswith("hetzner")
    assert "Hetzner" in seen.platform_evidence
    assert not seen.is_container


@pytest.mark.asyncio
async def test_vantage_asks_for_the_names_of_public_addresses_only(machine: Path) -> None:
    # No documentation address is public; nothing is sent to this one.
    zone = {"1.1.1.1.in-addr.arpa": {"PTR": ["mail.example.org."]}}
    async with DnsServer(zone) as server:
        asker = Asker((("127.0.0.1", server.port),), 1.0)
        seen = await look_around(["127.0.0.1", "192.0.2.1", "10.0.0.1", "1.1.1.1", "1.1.1.1"], asker, root=machine)
        assert server.asked == ["UDP PTR 1.1.1.1.in-addr.arpa"]
    assert [one.records for one in seen.ptr] == [("mail.example.org",)]


@pytest.mark.parametrize(
    ("host", "address", "name"),
    [
        ("Mail.Example.COM", "192.0.2.1", "mail.example.com"),
        ("laptop", "192.0.2.1", "[192.0.2.1]"),
        ("laptop.local", "2001:db8::1", "[IPv6:2001:db8::1]"),
        ("laptop", "fe80::1%eth0", "[IPv6:fe80::1]"),
        ("laptop", "", "localhost"),
    ],
)
def test_own_name_is_honest(host: str, address: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: host)
    assert own_name(address) == name


def test_dmi_that_cannot_be_read_is_no_problem(tmp_path: Path) -> None:
    (tmp_path / "sys_vendor").mkdir()
    (tmp_path / "product_name").write_bytes(b"\xff\xfeodd\x00\n")
    assert list(read_dmi(tmp_path)) == ["product_name"]
    assert read_dmi(tmp_path / "nowhere") == {}


@pytest.mark.parametrize(
    ("environment", "file", "text", "found"),
    [
        ({}, "", "", False),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "", "", True),
        ({}, ".dockerenv", "", True),
        ({}, "run/.containerenv", "", True),
        ({}, "proc/1/cgroup", "12:cpu:/docker/0123\n", True),
        ({}, "proc/1/cgroup", "0::/init.scope\n", False),
    ],
)
def test_container_is_known_by_its_marks(
    tmp_path: Path, environment: dict[str, str], file: str, text: str, found: bool
) -> None:
    if file:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(text)
    assert is_container(environment, tmp_path) is found


@pytest.mark.peer("namespaces", "ip", "nft")
@pytest.mark.parametrize(
    ("family", "words", "gateway"), [(socket.AF_INET, [], ROUTER_4), (socket.AF_INET6, ["-6"], ROUTER_6)]
)
def test_route_is_there_or_not(
    internet: Internet, family: socket.AddressFamily, words: list[str], gateway: str
) -> None:
    async def ask() -> bool:
        return has_route(family)

    assert internet.run(ask)
    internet.do(internet.here, "ip", *words, "route", "del", "default")
    try:
        assert not internet.run(ask)
    finally:
        internet.do(internet.here, "ip", *words, "route", "add", "default", "via", gateway)

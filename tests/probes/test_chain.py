"""Judging chains: every trouble, by OpenSSL's numbers, and with OpenSSL itself as the witness."""

from __future__ import annotations

import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from ipaddress import ip_network
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from postreeve.probes.authority import Authorities, load_authorities
from postreeve.probes.certificate import read_certificate
from postreeve.probes.chain import judge, trouble
from postreeve.probes.identity import NameMatch
from tests.lab.certificates import Authority
from tests.lab.faulty import FAULTS, HOST, make, middle, root, unknown_algorithm
from tests.lab.postfix import free_ports
from tests.lab.waiting import until


def _trusted() -> Authorities:
    return Authorities([root().certificate.public_bytes(Encoding.DER)])


@pytest.mark.parametrize("name", FAULTS)
def test_judge_finds_every_trouble_and_nothing_else(name: str) -> None:
    fault = make(name)
    judgement = judge(fault.issued.chain, _trusted(), HOST, time.time())
    assert {(one.code, one.depth) for one in judgement.troubles} == fault.troubles
    assert all(one == trouble(one.code, one.depth) for one in judgement.troubles)


def test_judge_trusts_no_signature_that_it_cannot_check() -> None:
    troubles = judge(unknown_algorithm().chain, _trusted(), HOST, time.time()).troubles
    assert {(one.code, one.depth) for one in troubles} == {(7, 0)}


@pytest.mark.parametrize(
    ("permitted", "excluded", "codes"),
    [
        (["192.0.2.0/24"], [], set()),
        (["198.51.100.0/24"], [], {47}),
        (["2001:db8::/32"], [], {47}),
        ([], ["192.0.2.1/32"], {48}),
        ([], ["198.51.100.0/24"], set()),
    ],
)
def test_judge_holds_authorities_to_their_networks(permitted: list[str], excluded: list[str], codes: set[int]) -> None:
    trees = [[x509.IPAddress(ip_network(one)) for one in some] or None for some in (permitted, excluded)]
    chain = Authority("Networks", root(), more=(x509.NameConstraints(*trees),)).issue("192.0.2.1").chain
    assert {one.code for one in judge(chain, _trusted(), "192.0.2.1", time.time()).troubles} == codes


def test_judge_names_the_missing_intermediate() -> None:
    judgement = judge(make("no intermediate").issued.chain, _trusted(), HOST, time.time())
    assert judgement.missing_issuer == "CN=Intermediate"
    assert not judgement.is_anchored


@pytest.mark.parametrize("name", ["healthy", "self-signed", "private root sent", "expired"])
def test_judge_misses_no_intermediate_where_none_is_missing(name: str) -> None:
    assert judge(make(name).issued.chain, _trusted(), HOST, time.time()).missing_issuer == ""


def test_judge_says_when_only_the_common_name_fits() -> None:
    judgement = judge(make("common name only").issued.chain, _trusted(), HOST, time.time())
    assert (judgement.name_match, judgement.troubles) == (NameMatch.COMMON_NAME_ONLY, ())


@pytest.mark.parametrize(
    ("host", "codes"),
    [("192.0.2.1", set()), ("2001:db8::1", set()), ("192.0.2.2", {64}), (HOST, set()), ("", set())],
)
def test_judge_compares_addresses_as_addresses(host: str, codes: set[int]) -> None:
    chain = middle().issue(HOST, "192.0.2.1", "2001:db8:0:0::1").chain
    assert {one.code for one in judge(chain, _trusted(), host, time.time()).troubles} == codes


def test_judge_trusts_a_self_signed_certificate_in_the_store() -> None:
    chain = make("self-signed").issued.chain
    authorities = Authorities([chain[0].public_bytes(Encoding.DER)])
    assert judge(chain, authorities, "", time.time()).troubles == ()


def test_judge_of_nothing_is_nothing() -> None:
    assert judge((), _trusted(), HOST, time.time()).troubles == ()


def test_authorities_of_this_machine_are_found_by_name() -> None:
    authorities = load_authorities()
    assert len(authorities) > 50
    assert authorities.named(root().certificate.subject) == ()


def test_authorities_refuse_a_file_without_certificates(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("nothing")
    with pytest.raises(ValueError, match="no PEM certificate"):
        load_authorities(tmp_path / "empty.pem")


@given(st.integers(0, 2_000), st.integers(0, 255))
def test_judge_bears_a_damaged_certificate(place: int, octet: int) -> None:
    damaged = bytearray(_DERS[place % 2])
    damaged[place // 2 % len(damaged)] = octet
    chain = [read_certificate(bytes(damaged)), read_certificate(_DERS[1 - place % 2])]
    judge([one for one in chain if one is not None], _trusted(), HOST, time.time())


_DERS = [one.public_bytes(Encoding.DER) for one in make("healthy").issued.chain]


# With OpenSSL as the witness


@pytest.fixture
def openssl(peer: Callable[[str], Path]) -> Path:
    return peer("openssl")


@pytest.fixture
def shown(request: pytest.FixtureRequest, tmp_path: Path, openssl: Path) -> Iterator[int]:
    """The port of an OpenSSL server with this fault's chain."""
    issued = make(request.param).issued
    files = issued.write(tmp_path, "server")
    (port,) = free_ports(1)
    command = [openssl, "s_server", "-accept", f"127.0.0.1:{port}", "-cert", files[0], "-key", files[1], "-quiet"]
    command += ["-cert_chain", files[0], "-cipher", "DEFAULT@SECLEVEL=0"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: _listens(port), "openssl s_server")
        yield port
    finally:
        process.kill()
        process.communicate()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.peer("openssl")
@pytest.mark.parametrize(("shown", "name"), [(name, name) for name in FAULTS], ids=list(FAULTS), indirect=["shown"])
def test_openssl_finds_the_same_troubles(shown: int, name: str, openssl: Path, ca_file: Path) -> None:
    command = [openssl, "s_client", "-connect", f"127.0.0.1:{shown}", "-CAfile", ca_file, "-auth_level", "2"]
    command += ["-verify_hostname", HOST, "-no-CApath", "-no-CAstore", "-cipher", "DEFAULT@SECLEVEL=0"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20, check=False)
    found, depth = set(), 0
    for line in (done.stdout + done.stderr).splitlines():
        if at := re.match(r"depth=(\d+)", line):
            depth = int(at[1])
        if error := re.match(r"verify error:num=(\d+):", line):
            found.add((int(error[1]), depth))
    assert found == make(name).troubles, done.stdout[:2000] + done.stderr[:2000]

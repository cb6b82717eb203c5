"""Servers that have only what was good long ago: what a client of today hears, and what a lenient one finds."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from postreeve.checks.conversation import Conversation, Ending, Opening
from postreeve.checks.stage import Stage
from postreeve.probes.converse import converse
from postreeve.probes.dial import dial
from tests.lab.certificates import Issued
from tests.lab.faulty import HOST, make, middle
from tests.lab.postfix import answers, free_ports
from tests.lab.probing import PLAIN
from tests.lab.waiting import until

pytestmark = [pytest.mark.asyncio, pytest.mark.peer("openssl")]

# RFC 2409, section 6.2: the second Oakley group, 1024 bits
_PRIME = int(
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD"
    "EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED"
    "EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE65381FFFFFFFFFFFFFFFF",
    16,
)


def _parameters() -> str:
    """DHParameter ::= SEQUENCE { prime INTEGER, base INTEGER } (PKCS #3, section 9), with base 2, as PEM."""
    integers = b"\x02\x81\x81\x00" + _PRIME.to_bytes(128, "big") + b"\x02\x01\x02"
    body = base64.encodebytes(b"\x30\x81" + bytes([len(integers)]) + integers).decode()
    return f"-----BEGIN DH PARAMETERS-----\n{body}-----END DH PARAMETERS-----\n"


@contextmanager
def openssl_server(program: Path, issued: Issued, directory: Path, *options: str) -> Iterator[int]:
    """OpenSSL's test server with these options; its port."""
    certificate, key = issued.write(directory, "server")
    (port,) = free_ports(1)
    command = [program, "s_server", "-accept", f"127.0.0.1:{port}", "-cert", certificate, "-key", key, "-quiet"]
    process = subprocess.Popen(
        [*command, "-cert_chain", certificate, *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until(lambda: answers(port), "openssl s_server")
        yield port
    finally:
        process.kill()
        process.communicate()


async def look(port: int, ca_file: Path, *, is_lenient: bool) -> Conversation:
    script = replace(
        PLAIN, opening=Opening.TLS, server_name=HOST, ca_file=ca_file, is_lenient=is_lenient, stop_after=Stage.CERT
    )
    return await converse(await dial("127.0.0.1", port, timeout_seconds=2), script)


@pytest.fixture
def openssl(peer: Callable[[str], Path]) -> Path:
    return peer("openssl")


@pytest.fixture(scope="module")
def rsa_issued() -> Issued:
    return middle().issue(HOST, key=rsa.generate_private_key(65537, 2048))


@pytest.mark.parametrize(("option", "version"), [("-tls1", "TLSv1"), ("-tls1_1", "TLSv1.1")])
async def test_old_version_is_refused_and_then_seen(
    option: str, version: str, openssl: Path, tmp_path: Path, ca_file: Path, rsa_issued: Issued
) -> None:
    options = (option, "-cipher", "DEFAULT@SECLEVEL=0")
    with openssl_server(openssl, rsa_issued, tmp_path, *options) as port:
        strict, lenient = [await look(port, ca_file, is_lenient=one) for one in (False, True)]
    assert strict.tls is not None
    assert (strict.ending, strict.ended_at, strict.tls.alert) == (Ending.TLS_FAILED, Stage.TLS, "protocol_version")
    assert strict.protocol == "tls"
    assert lenient.tls is not None
    assert (lenient.tls.version, lenient.tls.is_lenient, lenient.tls.error) == (version, True, "")
    assert lenient.tls.troubles == ()


async def test_small_group_is_refused_and_named(
    openssl: Path, tmp_path: Path, ca_file: Path, rsa_issued: Issued
) -> None:
    (tmp_path / "dh.pem").write_text(_parameters())
    options = ("-tls1_2", "-dhparam", str(tmp_path / "dh.pem"), "-cipher", "DHE-RSA-AES256-GCM-SHA384@SECLEVEL=0")
    with openssl_server(openssl, rsa_issued, tmp_path, *options) as port:
        strict, lenient = [await look(port, ca_file, is_lenient=one) for one in (False, True)]
    assert strict.tls is not None
    assert (strict.tls.version, strict.tls.error, strict.tls.group) == ("", "DH_KEY_TOO_SMALL", "DH 1024")
    assert strict.tls.chain[0].subject == f"CN={HOST}"
    assert lenient.tls is not None
    assert (lenient.tls.version, lenient.tls.group) == ("TLSv1.2", "DH 1024")


async def test_curve_of_an_old_handshake_is_named(
    openssl: Path, tmp_path: Path, ca_file: Path, rsa_issued: Issued
) -> None:
    with openssl_server(openssl, rsa_issued, tmp_path, "-tls1_2", "-groups", "P-384") as port:
        strict = await look(port, ca_file, is_lenient=False)
    assert strict.tls is not None
    assert (strict.tls.version, strict.tls.group) == ("TLSv1.2", "secp384r1")


async def test_no_cipher_in_common_is_told_by_the_alert(
    openssl: Path, tmp_path: Path, ca_file: Path, rsa_issued: Issued
) -> None:
    with openssl_server(openssl, rsa_issued, tmp_path, "-tls1_2", "-cipher", "NULL-SHA256:@SECLEVEL=0") as port:
        strict = await look(port, ca_file, is_lenient=False)
    assert strict.tls is not None
    assert strict.tls.alert == "handshake_failure"


@pytest.mark.parametrize(("fault", "code"), [("weak key", 66), ("SHA-1", 68)])
async def test_weak_certificate_is_seen_by_the_strict_client_too(
    fault: str, code: int, openssl: Path, tmp_path: Path, ca_file: Path
) -> None:
    options = ("-cipher", "DEFAULT@SECLEVEL=0")
    with openssl_server(openssl, make(fault).issued, tmp_path, *options) as port:
        strict = await look(port, ca_file, is_lenient=False)
    assert strict.tls is not None
    assert {one.code for one in strict.tls.troubles} == {code}

"""Reading handshake messages: whatever they hold, no error; the right ones are covered by real handshakes."""

from __future__ import annotations

from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from postreeve.probes.certificate import describe
from postreeve.probes.tls_message import alert_name, certificates_of, exchange_group, hello_group, looks_like_tls
from tests.lab.faulty import make

_DER = make("healthy").issued.certificate.public_bytes(Encoding.DER)


@given(st.binary(max_size=300))
def test_messages_of_strangers_do_no_harm(octets: bytes) -> None:
    assert isinstance(hello_group(octets), str)
    assert isinstance(exchange_group(octets), str)
    assert isinstance(certificates_of(octets), tuple)
    assert looks_like_tls(octets) in (True, False)


@given(st.binary(min_size=1, max_size=300))
def test_describe_bears_any_certificate(octets: bytes) -> None:
    assert len(describe(octets).fingerprint) == 64


@given(st.integers(0, 400), st.integers(0, 255))
def test_describe_bears_a_damaged_certificate(place: int, octet: int) -> None:
    der = bytearray(_DER)
    der[place % len(der)] = octet
    assert describe(bytes(der)).der


def test_alerts_have_their_names() -> None:
    assert [alert_name(one) for one in (40, 70, 116, 200)] == [
        "handshake_failure", "protocol_version", "certificate_required", "alert 200",
    ]  # fmt: skip

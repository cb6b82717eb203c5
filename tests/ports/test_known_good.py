"""The hosts that are known to answer."""

import pytest

from postreeve.ports.known_good import KNOWN_GOOD, BadKnownGood, KnownGood, parse_known_good
from postreeve.ports.provider import by_host
from postreeve.ports.service import USUAL, Mode


def test_known_good_has_each_usual_port_twice() -> None:
    ports = [one.port for one in KNOWN_GOOD]
    assert all(ports.count(port) >= 2 for port in USUAL)


def test_known_good_submission_hosts_serve_their_ports() -> None:
    for one in KNOWN_GOOD:
        provider = by_host(one.host)
        if one.port != 25:
            assert provider is not None
            served = provider.serves(one.port)
            assert served is not None
            assert served.is_confirmed
            assert served.mode is one.mode


def test_parse_known_good_reads_hosts_addresses_and_modes() -> None:
    assert parse_known_good("Mail.Example.com:465, [2001:db8::1]:2525/plain\n192.0.2.1:25") == (
        KnownGood("mail.example.com", 465, Mode.IMPLICIT),
        KnownGood("2001:db8::1", 2525, Mode.PLAIN),
        KnownGood("192.0.2.1", 25, Mode.STARTTLS),
    )
    assert parse_known_good("none") == ()


@pytest.mark.parametrize("text", ["mail.example.com", ":25", "a:0", "a:65536", "a:25/tls", "a:²", "a:9999999999999"])
def test_parse_known_good_says_what_is_wrong(text: str) -> None:
    with pytest.raises(BadKnownGood, match=r"is not HOST:PORT|the mode is one of"):
        parse_known_good(text)

"""Does a certificate's name fit the host?"""

from __future__ import annotations

import pytest

from postreeve.probes.identity import NameMatch, match_name

RIGHT, COMMON, WRONG = NameMatch.RIGHT, NameMatch.COMMON_NAME_ONLY, NameMatch.WRONG


@pytest.mark.parametrize(
    ("host", "names", "common_name", "match"),
    [
        ("mail.example.com", ["mail.example.com"], "", RIGHT),
        ("MAIL.example.com.", ["mail.Example.com"], "", RIGHT),
        ("mail.example.com", ["*.example.com"], "", RIGHT),
        ("a.mail.example.com", ["*.example.com"], "", WRONG),
        ("example.com", ["*.example.com"], "", WRONG),
        ("mail.example.com", ["m*.example.com"], "", WRONG),
        ("mail.example.com", ["*.*.com"], "", WRONG),
        ("example.com", ["*.com"], "", WRONG),
        ("mail.example.com", ["*"], "", WRONG),
        ("mail.example.com", [], "mail.example.com", COMMON),
        ("mail.example.com", ["192.0.2.1"], "mail.example.com", COMMON),
        ("mail.example.com", ["other.example.com"], "mail.example.com", WRONG),
        ("192.0.2.1", ["192.0.2.1"], "", RIGHT),
        ("192.0.2.1", [], "192.0.2.1", WRONG),
        ("[2001:db8::1]", ["2001:db8:0::1"], "", RIGHT),
        ("fe80::1%eth0", ["fe80::1"], "", RIGHT),
        ("bücher.example", ["xn--bcher-kva.example"], "", RIGHT),
        ("", ["*.example.com"], "", WRONG),
        ("mail.example.com", [], "", WRONG),
    ],
)
def test_match_name(host: str, names: list[str], common_name: str, match: NameMatch) -> None:
    assert match_name(host, names, common_name) is match

"""Well-known submission services."""

from datetime import UTC, date, datetime

import pytest

from postreeve.ports.provider import (
    UserForm,
    by_domain,
    by_host,
    by_id,
    edit_distance,
    modes_of,
    nearest,
    providers,
    suggest_host,
)
from postreeve.ports.service import BY_PORT, Mode

MONTHS = 18


def months_since(day: date, today: date) -> int:
    return (today.year - day.year) * 12 + today.month - day.month - (today.day < day.day)


def test_rows_were_all_checked_within_eighteen_months() -> None:
    today = datetime.now(UTC).date()
    old = [one.id for one in providers() if months_since(one.checked_on, today) >= MONTHS]
    assert old == [], "compare these rows with their sources and set checked_on"


def test_rows_are_complete() -> None:
    assert len(providers()) > 70
    for one in providers():
        assert one.sources, one.id
        assert one.ports, one.id
        assert all(host == host.lower() and host for host in one.hosts), one.id
        assert all(each.port in BY_PORT for each in one.ports), one.id
        assert (one.user is UserForm.FIXED) == bool(one.user_name), one.id


def test_hosts_belong_to_one_provider_each() -> None:
    hosts = [host for one in providers() for host in one.hosts if not one.is_local]
    assert sorted({host for host in hosts if hosts.count(host) > 1}) == []


@pytest.mark.parametrize(
    ("host", "ident"),
    [
        pytest.param("smtp.gmail.com", "gmail", id="gmail"),
        pytest.param("SMTP.Gmail.COM.", "gmail", id="any-case-and-dot"),
        pytest.param("email-smtp.eu-west-1.amazonaws.com", "amazon-ses", id="ses-region"),
        pytest.param("email-smtp.me-central-9.amazonaws.com", "amazon-ses", id="ses-later-region"),
        pytest.param("example-com.mail.protection.outlook.com", "microsoft-365-direct-send", id="tenant"),
        pytest.param("a.b.mail.protection.outlook.com", None, id="two-labels-for-one"),
        pytest.param("mail.example.com", None, id="nobody"),
        pytest.param("localhost", None, id="local-ones-have-no-host"),
        pytest.param("", None, id="empty"),
    ],
)
def test_by_host(host: str, ident: str | None) -> None:
    found = by_host(host)
    assert (found and found.id) == ident


def test_by_domain_leads_to_the_host() -> None:
    gmail = by_domain("gmail.com")
    assert gmail is not None
    assert gmail.hosts[0] == "smtp.gmail.com"
    assert by_domain("example.com") is None


@pytest.mark.parametrize(
    ("host", "port", "modes"),
    [
        pytest.param("smtp.gmail.com", 465, {Mode.IMPLICIT}, id="implicit"),
        pytest.param("smtp.gmail.com", 587, {Mode.STARTTLS}, id="starttls"),
        pytest.param("smtp.office365.com", 465, set(), id="not-served"),
        pytest.param("mail.example.com", 465, None, id="unknown-host"),
    ],
)
def test_modes_of(host: str, port: int, modes: set[Mode] | None) -> None:
    assert modes_of(host, port) == modes


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        pytest.param("smtp.gmial.com", "smtp.gmail.com", id="swapped"),
        pytest.param("smpt.gmail.com", "smtp.gmail.com", id="swapped-in-label"),
        pytest.param("smtp.gmail.co", "smtp.gmail.com", id="cut"),
        pytest.param("stmp.gmial.com", "smtp.gmail.com", id="two-mistakes"),
        pytest.param("smtp.sendgird.net", "smtp.sendgrid.net", id="sendgrid"),
        pytest.param("gmail.com", "smtp.gmail.com", id="mail-domain"),
        pytest.param("imap.gmail.com", "smtp.gmail.com", id="imap-host"),
        pytest.param("smtp.outlook.com", "smtp-mail.outlook.com", id="obvious-but-wrong"),
        pytest.param("smtp.yahoo.com", "smtp.mail.yahoo.com", id="domain-with-smtp"),
        pytest.param("smtp.gmail.com", "", id="right"),
        pytest.param("smtp.mail.com", "", id="right-though-near-gmail"),
        pytest.param("smtp.example.com", "", id="unknown"),
        pytest.param("mail.example.org", "", id="unknown-mail"),
        pytest.param("mx.example.net", "", id="unknown-mx"),
        pytest.param("localhost", "", id="localhost"),
        pytest.param("x" * 500, "", id="absurd"),
    ],
)
def test_suggest_host_knows_what_was_meant(written: str, meant: str) -> None:
    assert suggest_host(written) == meant


def test_nearest_never_suggests_a_known_host_for_another() -> None:
    assert [host for one in providers() for host in one.hosts if "*" not in host and nearest(host)] in (
        [],
        ["127.0.0.1"],
    )


@pytest.mark.parametrize(
    ("one", "other", "most", "distance"),
    [
        pytest.param("abc", "abc", 2, 0, id="equal"),
        pytest.param("abc", "abd", 2, 1, id="replaced"),
        pytest.param("abc", "acb", 2, 1, id="swapped"),
        pytest.param("abc", "ab", 2, 1, id="cut"),
        pytest.param("abc", "xyz", 2, 3, id="more-than-most"),
        pytest.param("", "a", 2, 1, id="empty"),
    ],
)
def test_edit_distance(one: str, other: str, most: int, distance: int) -> None:
    assert edit_distance(one, other, most) == distance


def test_what_is_not_confirmed_says_so() -> None:
    fastmail, bridge, microsoft = by_id("fastmail"), by_id("proton-bridge"), by_id("microsoft-365")
    assert fastmail is not None
    assert bridge is not None
    assert microsoft is not None
    port = fastmail.serves(587)
    assert port is not None
    assert not port.is_confirmed
    assert not bridge.is_confirmed
    zoho = by_id("zoho")
    assert zoho is not None
    assert zoho.doubtful_hosts == ("smtppro.zoho.com",)
    assert microsoft.is_oauth_only

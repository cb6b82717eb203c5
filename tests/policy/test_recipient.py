"""The open-relay invariant, form by form."""

from ipaddress import ip_address

import pytest

from postreeve.mail.address import Mailbox, parse_mailbox
from postreeve.policy.facts import Account, Facts
from postreeve.policy.recipient import forward_path, judge_recipient, own_domains
from postreeve.policy.settings import LocalDomain, PolicySettings, Role

HOST = "mail.example.org"
SETTINGS = PolicySettings(
    hostname=HOST,
    postmaster=Mailbox("postmaster", parse_mailbox("x@example.org").domain),  # type: ignore[union-attr]
    domains=(
        LocalDomain("example.org"),
        LocalDomain("example.net", frozenset({"alice", "bob+x", "a b"})),
        LocalDomain("xn--bcher-kva.example", frozenset({"jürgen"})),
    ),
)
DOMAINS = own_domains(SETTINGS)
STRANGER = Facts(Role.RELAY, ip_address("203.0.113.9"), is_listed=False)
LISTED = Facts(Role.RELAY, ip_address("192.0.2.9"), is_listed=True)
ACCOUNT = Facts(Role.SUBMISSION, ip_address("203.0.113.9"), is_listed=False, account=Account("alice", ("*",)))


def judge(facts: Facts, text: str) -> tuple[int, str]:
    mailbox = parse_mailbox(text)
    assert mailbox is not None, text
    reply = judge_recipient(facts, mailbox, DOMAINS, HOST).reply
    return reply.code, reply.enhanced


RELAY_FORMS = {
    "plain": "user@victim.test",
    "percent-hack": "user%victim.test@example.org",
    "percent-hack-known-domain": "user%victim.test@example.net",
    "percent-twice": "user%victim.test%other.test@example.org",
    "bang-path": "victim.test!user@example.org",
    "bang-path-foreign": "victim.test!user@victim.test",
    "quoted-at": '"user@victim.test"@example.org',
    "quoted-at-foreign": '"user@victim.test"@victim.test',
    "quoted-percent": '"user%victim.test"@example.org',
    "quoted-pair-percent": r'"user\%victim.test"@example.org',
    "quoted-pair-at": r'"user\@victim.test"@example.org',
    "two-ats-quoted": '"user@example.org"@victim.test',
    "ipv4-literal": "user@[127.0.0.1]",
    "ipv6-literal": "user@[IPv6:::1]",
    "mapped-literal": "user@[IPv6:::ffff:127.0.0.1]",
    "localhost": "user@localhost",
    "our-host-name": "user@mail.example.org",
    "our-host-name-percent": "postmaster%victim.test@mail.example.org",
    "foreign-trailing-dot": "user@victim.test.",
    "sub-domain-of-ours": "user@sub.example.org",
    "ours-as-prefix": "user@example.org.victim.test",
    "ours-as-suffix": "user@notexample.org",
    "foreign-upper-case": "USER@VICTIM.TEST",
    "foreign-idn": "user@büch.example",
    "foreign-postmaster": "postmaster@victim.test",
    "bare-tld": "user@org",
    "null-like": '""@victim.test',
}


@pytest.mark.parametrize("text", RELAY_FORMS.values(), ids=RELAY_FORMS.keys())
def test_recipient_refuses_relay_from_strangers(text: str) -> None:
    assert judge(STRANGER, text) == (550, "5.7.1")


@pytest.mark.parametrize("text", ["user@[127.0.0.1]x", "user@here@victim.test", "user@", "user", "@a:user@b.test"])
def test_recipient_forms_that_are_no_mailbox_do_not_get_here(text: str) -> None:
    assert parse_mailbox(text) is None


OWN = {
    "any-local-part": "whoever@example.org",
    "upper-case": "Whoever@EXAMPLE.ORG",
    "trailing-dot": "whoever@example.org.",
    "plus": "user+x@example.org",
    "quoted-space": '"a b"@example.org',
    "listed": "alice@example.net",
    "listed-upper-case": "ALICE@example.net",
    "listed-quoted": '"alice"@example.net',
    "listed-plus": "bob+x@example.net",
    "listed-space": '"A B"@example.net',
    "idn-u-label": "jürgen@bücher.example",
    "idn-a-label": "Jürgen@XN--BCHER-KVA.example",
    "postmaster": "postmaster@example.net",
    "postmaster-upper-case": "PostMaster@example.net",
    "postmaster-of-host": "postmaster@mail.example.org",
}


@pytest.mark.parametrize("text", OWN.values(), ids=OWN.keys())
def test_recipient_takes_own_recipients_from_anybody(text: str) -> None:
    assert judge(STRANGER, text) == (250, "2.1.5")


@pytest.mark.parametrize("facts", [STRANGER, LISTED, ACCOUNT], ids=["stranger", "listed", "account"])
def test_recipient_refuses_the_unknown_in_own_domains(facts: Facts) -> None:
    assert judge(facts, "nobody@example.net") == (550, "5.1.1")


@pytest.mark.parametrize("facts", [LISTED, ACCOUNT], ids=["listed", "account"])
@pytest.mark.parametrize("text", ["user@victim.test", "user%x@victim.test", "user@[192.0.2.1]"])
def test_recipient_relays_for_the_trusted(facts: Facts, text: str) -> None:
    assert judge(facts, text) == (250, "2.1.5")


def test_recipient_without_own_domains_takes_nothing_from_strangers() -> None:
    mailbox = parse_mailbox("user@example.org")
    assert mailbox is not None
    assert judge_recipient(STRANGER, mailbox, {}, HOST).reply.code == 550


def test_forward_path_sends_the_hosts_postmaster_to_the_configured_one() -> None:
    mailbox = parse_mailbox("PostMaster@mail.example.org")
    other = parse_mailbox("postmaster@example.net")
    assert mailbox is not None
    assert other is not None
    assert forward_path(mailbox, DOMAINS, SETTINGS) == SETTINGS.postmaster
    assert forward_path(other, DOMAINS, SETTINGS) == other

"""MAIL FROM."""

from ipaddress import ip_address

import pytest

from postreeve.mail.address import parse_mailbox
from postreeve.policy.facts import Account, Facts
from postreeve.policy.sender import Room, grant_priority, grant_submitter, judge_sender
from postreeve.policy.settings import Role

CLIENT = ip_address("203.0.113.9")
STRANGER = Facts(Role.RELAY, CLIENT, is_listed=False)
LISTED = Facts(Role.RELAY, CLIENT, is_listed=True)
NOBODY = Facts(Role.SUBMISSION, CLIENT, is_listed=False)
ALICE = Facts(Role.SUBMISSION, CLIENT, is_listed=False, account=Account("alice", ("alice@example.org",)))
ANYBODY = Facts(Role.SUBMISSION, CLIENT, is_listed=False, account=Account("dev", ("*",)))


@pytest.mark.parametrize(
    ("facts", "path", "room", "code", "enhanced"),
    [
        pytest.param(STRANGER, "bob@example.com", Room.ENOUGH, 250, "2.1.0", id="relay"),
        pytest.param(STRANGER, "", Room.ENOUGH, 250, "2.1.0", id="relay-null"),
        pytest.param(STRANGER, "bob@example.com", Room.FULL, 452, "4.3.1", id="relay-full"),
        pytest.param(STRANGER, "bob@example.com", Room.UNAVAILABLE, 451, "4.3.0", id="relay-unavailable"),
        pytest.param(NOBODY, "alice@example.org", Room.ENOUGH, 530, "5.7.0", id="submission-without-login"),
        pytest.param(ALICE, "alice@example.org", Room.ENOUGH, 250, "2.1.0", id="own-address"),
        pytest.param(ALICE, "ALICE@EXAMPLE.org", Room.ENOUGH, 250, "2.1.0", id="own-address-upper-case"),
        pytest.param(ALICE, "bob@example.org", Room.ENOUGH, 553, "5.7.1", id="spoof-colleague"),
        pytest.param(ALICE, '"alice@example.org"@example.net', Room.ENOUGH, 553, "5.7.1", id="spoof-quoted"),
        pytest.param(ALICE, "", Room.ENOUGH, 250, "2.1.0", id="account-null"),
        pytest.param(ANYBODY, "bob@example.com", Room.ENOUGH, 250, "2.1.0", id="anybody"),
        pytest.param(ALICE, "alice@example.org", Room.FULL, 452, "4.3.1", id="submission-full"),
    ],
)
def test_judge_sender(facts: Facts, path: str, room: Room, code: int, enhanced: str) -> None:
    verdict = judge_sender(facts, parse_mailbox(path) if path else None, None, room)
    assert (verdict.reply.code, verdict.reply.enhanced) == (code, enhanced)
    assert bool(verdict.reason) is (code >= 400)


@pytest.mark.parametrize(
    ("facts", "requested", "granted"),
    [(STRANGER, 9, 0), (STRANGER, -4, -4), (LISTED, 9, 9), (ANYBODY, 3, 3), (STRANGER, None, 0)],
)
def test_priority_is_granted_to_the_trusted(facts: Facts, requested: int | None, granted: int) -> None:
    assert grant_priority(facts, requested) == granted
    reply = judge_sender(facts, None, requested, Room.ENOUGH).reply
    changed = requested is not None and requested != granted
    assert (reply.code, reply.enhanced) == (250, "2.3.6" if changed else "2.1.0")
    assert not changed or reply.text.startswith(str(granted) + " ")


@pytest.mark.parametrize(
    ("facts", "asserted", "granted"),
    [
        pytest.param(ALICE, None, None, id="nothing said"),
        pytest.param(ALICE, "<>", "<>", id="nobody known"),
        pytest.param(ALICE, "alice@example.org", "alice@example.org", id="own address"),
        pytest.param(ALICE, "bob@example.org", "<>", id="somebody else's"),
        pytest.param(ANYBODY, "bob@example.org", "bob@example.org", id="account for any"),
        pytest.param(LISTED, "alice@example.org", "<>", id="no login"),
        pytest.param(ALICE, "not an address", "<>", id="nonsense"),
    ],
)
def test_grant_submitter_trusts_an_account_with_its_own_addresses(
    facts: Facts, asserted: str | None, granted: str | None
) -> None:
    """RFC 4954, section 5."""
    assert grant_submitter(facts, asserted) == granted

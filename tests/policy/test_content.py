"""After the final dot."""

import pytest

from postreeve.mail.address import Mailbox, parse_mailbox
from postreeve.policy.content import judge_hops, judge_originators, queued
from postreeve.policy.facts import Account

ALICE = Account("alice", ("alice@example.org", "@example.net"))


def mailbox(text: str) -> Mailbox:
    parsed = parse_mailbox(text)
    assert parsed is not None
    return parsed


def test_queued_names_the_message() -> None:
    assert str(queued("0abc").reply) == "250 2.0.0 queued as 0abc"


@pytest.mark.parametrize(("hops", "code"), [(0, None), (50, None), (51, 554), (10_000, 554)])
def test_judge_hops(hops: int, code: int | None) -> None:
    verdict = judge_hops(hops, 50)
    assert (verdict.reply.code if verdict else None) == code
    assert verdict is None or verdict.reply.enhanced == "5.4.6"


@pytest.mark.parametrize(
    ("addresses", "code"),
    [
        pytest.param(["alice@example.org"], None, id="own"),
        pytest.param(["whoever@example.net", "Alice@Example.org"], None, id="several-own"),
        pytest.param(["alice@example.org", "bob@example.org"], 553, id="one-foreign-among-own"),
        pytest.param([], None, id="empty-group"),
        pytest.param(None, 550, id="cannot-be-understood"),
    ],
)
def test_judge_originators(addresses: list[str] | None, code: int | None) -> None:
    mailboxes = None if addresses is None else [mailbox(text) for text in addresses]
    verdict = judge_originators(ALICE, mailboxes)
    assert (verdict.reply.code if verdict else None) == code
    assert judge_originators(Account("dev", ("*",)), mailboxes) is None

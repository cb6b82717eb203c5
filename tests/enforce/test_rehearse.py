"""The rehearsal agrees with the evaluator for rules that say what the policy says, and finds those that do not."""

import ipaddress

import pytest

from postreeve.enforce.command import CommandFailed
from postreeve.enforce.matrix import Answer, expect, make_cases
from postreeve.enforce.place import Place
from postreeve.enforce.rehearse import describe, rehearse
from postreeve.firewall.exposure import Reach, Smarthost
from postreeve.firewall.flow import Policy
from postreeve.firewall.render.nftables import render
from tests.enforce.orders import policy

pytestmark = pytest.mark.peer("nft", "ip")
_RELAY = Smarthost("relay", 587, (ipaddress.ip_network("198.51.100.9/32"), ipaddress.ip_network("2001:db8:5::9/128")))
POLICIES = {
    "direct": policy(25, 587),
    "direct, one account": policy(25, user="nobody"),
    "smarthost only": policy(25, is_direct=False, user="daemon", smarthosts=(_RELAY,)),
    "mail ports only": policy(25, reach=Reach.MAIL),
}


@pytest.mark.parametrize("chosen", POLICIES.values(), ids=POLICIES)
def test_rehearsal_agrees_with_the_evaluator(chosen: Policy) -> None:
    measured = rehearse(Place(), chosen, render(chosen))
    assert describe(measured) == []
    assert {one.measured for one in measured} >= {Answer.OPEN, Answer.SILENT}
    assert {one.case.family.value for one in measured} == {4, 6}


def test_rehearsal_finds_rules_that_say_something_else() -> None:
    found = describe(rehearse(Place(), policy(25, 587), render(policy(25, 110))))
    assert "from 203.0.113.201 (strangers) to port 110: open, should be silent" in found
    assert "from 203.0.113.201 (strangers) to port 587: silent, should be open" in found


def test_rehearsal_of_rules_that_nft_refuses() -> None:
    with pytest.raises(CommandFailed, match="syntax error"):
        rehearse(Place(), policy(25), "add rubbish\n")


def test_cases_tell_strangers_from_administrators() -> None:
    chosen = policy(25)
    ssh = {
        one.peer_class: expect(chosen, one)
        for one in make_cases(chosen)
        if one.port == 22 and one.direction.value == "in"
    }
    assert ssh["192.0.2.77/32"] is Answer.OPEN
    assert ssh["strangers"] is Answer.SILENT

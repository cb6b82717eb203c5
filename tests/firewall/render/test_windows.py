"""Windows: a script whose text is safe, whose rules mean the same in any order, and which owns its group only."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import replace

import pytest

from postreeve.firewall.flow import (
    WORLD,
    CannotExpress,
    Direction,
    Family,
    Flow,
    Policy,
    PolicyError,
    Ports,
    Protocol,
    Verdict,
)
from postreeve.firewall.render.windows import MEANS, render, render_removal
from tests.firewall.anypolicy import mail_policy, within

OUT = Flow(
    "out-a",
    Direction.OUT,
    Family.IPV4,
    Protocol.TCP,
    Verdict.DROP,
    (WORLD[Family.IPV4],),
    (Ports(25, 25),),
    because="a",
)


def rules_of(script: str) -> list[str]:
    return [line.strip() for line in script.split("\r\n") if line.startswith("    @{")]


@pytest.mark.parametrize("seed", range(40))
def test_windows_has_a_rule_for_every_flow(seed: int) -> None:
    policy = within(seed, MEANS)
    assert len(rules_of(render(policy))) == sum(
        flow.interface != "lo" and flow.state.value == "new" for flow in policy.flows
    )


def test_windows_lets_mail_in_and_out_and_nothing_else() -> None:
    script = render(mail_policy(MEANS)[0])
    (relay,) = (rule for rule in rules_of(script) if "'in-relay-25-ipv4'" in rule)
    assert "RemoteAddress = @('0.0.0.0-255.255.255.255'); Protocol = 'TCP'; LocalPort = @('25')" in relay
    assert "Group = $group; Enabled = 'False'; Profile = 'Any'; Direction = 'Inbound'; Action = 'Allow'" in relay
    assert script.endswith("-DefaultInboundAction Block -DefaultOutboundAction Block\r\n")


def test_windows_blocks_the_complement_of_what_it_allows() -> None:
    hub = (ipaddress.IPv4Network("128.0.0.0/1"),)
    flows = (replace(OUT, ident="out-hub", verdict=Verdict.ACCEPT, peers=hub), OUT)
    rules = rules_of(render(Policy("mail.example.org", flows, Verdict.DROP, Verdict.ACCEPT)))
    (block,) = (rule for rule in rules if "'Block'" in rule)
    assert "RemoteAddress = @('0.0.0.0/1')" in block


def test_windows_blocks_everything_but_one_address_of_ipv6() -> None:
    hub = (ipaddress.IPv6Network("2001:db8::25/128"),)
    block = replace(OUT, family=Family.IPV6, peers=(WORLD[Family.IPV6],))
    flows = (replace(block, ident="out-hub", verdict=Verdict.ACCEPT, peers=hub), block)
    rules = rules_of(render(Policy("mail.example.org", flows, Verdict.DROP, Verdict.ACCEPT)))
    (rule,) = (rule for rule in rules if "'Block'" in rule)
    networks = [ipaddress.ip_network(one) for one in re.findall(r"'([0-9a-f:]+(?:/\d+)?)'", rule) if ":" in one]
    assert sum(one.num_addresses for one in networks) == 2**128 - 1
    assert not any(hub[0].overlaps(one) for one in networks)


def test_windows_cannot_block_what_is_allowed_for_an_account_only() -> None:
    flow = replace(OUT, verdict=Verdict.ACCEPT, user="postreeve")
    with pytest.raises(CannotExpress, match="the account postreeve"):
        render(Policy("mail.example.org", (flow,), Verdict.DROP, Verdict.DROP))


@pytest.mark.parametrize("because", ["it's", "\u2019; Remove-Item C:\\", "$(reboot)", "a\r\nreboot", '"`'])
def test_windows_script_is_not_injected_by_a_reason(because: str) -> None:
    policy = Policy("mail.example.org", (replace(OUT, because=because),), Verdict.DROP, Verdict.ACCEPT)
    (rule,) = rules_of(render(policy))
    outside = re.sub(r"'(?:[^']|'')*'", "", rule)
    assert not re.search(r"reboot|Remove|\$\(|`|\"|\u2019", outside)


def test_windows_refuses_a_name_of_two_lines() -> None:
    with pytest.raises(PolicyError):
        render(Policy("a\nreboot", (), Verdict.DROP, Verdict.DROP))


def test_windows_takes_its_own_group_away_only() -> None:
    assert "Get-NetFirewallRule -Group 'postreeve'" in render_removal()

"""ufw: the real one takes our commands, keeps what is not ours, and its files are read back."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postreeve.firewall.flow import CannotExpress, Direction, Policy, Protocol, Rate, State, Verdict
from postreeve.firewall.intent import make_policy
from postreeve.firewall.packet import decide
from postreeve.firewall.read import iptables
from postreeve.firewall.read.ufw import Texts, read, read_own
from postreeve.firewall.render.ufw import Files, fit, render, render_removal
from postreeve.firewall.ruleset import pass_through
from tests.firewall.chance import draw_packet, draw_policy
from tests.firewall.dress import dress
from tests.firewall.test_intent import DIRECT, SMART
from tests.firewall.ufw_real import within

PARTS = ("/etc/ufw/user.rules", "/etc/ufw/user6.rules", "/etc/default/ufw")
BASE = ("/etc/ufw/before.rules", "/etc/ufw/before6.rules", "/etc/ufw/after.rules", "/etc/ufw/after6.rules")
NOISE = (67, 68, 137, 138, 546, 1900, 5353)
"""About these ufw has rules of its own."""
CUT = "----- cut here -----\n"


def show(*commands: str) -> str:
    return "".join(f"{command}\nprintf '%s' '{CUT}'\n" for command in commands)


def load(files: Files) -> str:
    return f"cat >/etc/ufw/load <<'SCRIPT'\n{files.commands}SCRIPT\nsh /etc/ufw/load >/dev/null\n"


def by_family_and_side(policy: Policy) -> Policy:
    rules = sorted(policy.flows[12:], key=lambda flow: (flow.direction is Direction.OUT, flow.family.value))
    flows = tuple(replace(flow, because="", without="") for flow in (*policy.flows[:12], *rules))
    return replace(policy, flows=flows)


@given(st.integers(0, 2**32))
def test_fit_leaves_nothing_to_leave_out(seed: int) -> None:
    chance = random.Random(seed)
    policy = fit(dress(chance, draw_policy(chance)[0])).policy
    again = fit(policy)
    assert again.left_out == ()
    assert again.policy == policy


@given(st.integers(0, 2**32))
def test_fit_refuses_nothing_that_it_does_not_name(seed: int) -> None:
    chance = random.Random(seed)
    policy, sets = draw_policy(chance)
    fitted = fit(policy)
    if fitted.left_out:
        return
    for _ in range(10):
        packet = draw_packet(chance)
        if packet.protocol is not Protocol.ICMP and packet.interface != "lo":
            assert decide(fitted.policy, packet, sets).verdict is decide(policy, packet, sets).verdict


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({}, "the set bans4"),
        ({"has_bans": False}, "a rule about ICMP"),
    ],
    ids=["bans", "ping"],
)
def test_render_names_what_ufw_cannot_say(change: dict[str, bool], what: str) -> None:
    with pytest.raises(CannotExpress, match=what) as caught:
        render(make_policy(replace(DIRECT, **change)))  # type: ignore[arg-type]
    assert caught.value.alternative


def test_limit_is_never_written() -> None:
    policy = make_policy(replace(DIRECT, entrances=tuple(replace(one, rate=Rate(5, 30)) for one in DIRECT.entrances)))
    fitted = fit(policy)
    assert "ufw prepend limit" not in render(fitted.policy).commands
    assert [one.flow.ident for one in fitted.left_out if one.why == "a rate"] == [
        "in-submissions-465-ipv4",
        "in-submissions-465-ipv6",
    ]


def test_refusal_of_what_is_under_way_is_no_rule_of_new_connections() -> None:
    policy = make_policy(DIRECT)
    flows = tuple(replace(flow, state=State.ANY) if flow.verdict is Verdict.REJECT else flow for flow in policy.flows)
    left = {one.flow.ident for one in fit(replace(policy, flows=flows)).left_out}
    assert "out-no-other-mail-ipv4" in left


@pytest.mark.slow
@pytest.mark.peer("ufw", "iptables", "namespaces")
@pytest.mark.parametrize("exposure", [DIRECT, SMART], ids=["direct", "smarthost"])
def test_ufw_takes_our_rules_and_gives_them_back(exposure: object) -> None:
    policy = fit(make_policy(exposure)).policy  # type: ignore[arg-type]
    files = render(policy)
    reads = [f"cat {name}" for name in (*PARTS, *BASE)]
    printed = within(
        "ufw allow 9999/tcp >/dev/null; ufw allow proto tcp from any to any port 25 comment theirs >/dev/null\n"
        "ufw delete allow 25/tcp >/dev/null; ufw allow proto udp from any to any port 25 comment theirs >/dev/null\n"
        + load(files)
        + "ufw --force enable >/dev/null\nsh /etc/ufw/load >/dev/null\n"
        + show(*reads, "iptables-save", "ip6tables-save")
        + f"cat >/etc/ufw/remove <<'SCRIPT'\n{render_removal()}SCRIPT\nsh /etc/ufw/remove >/dev/null\n"
        + show("ufw show added", "ufw --force reset >/dev/null; ufw status")
    ).split(CUT)
    user, user6, defaults, before, before6, after, after6, ipv4, ipv6, added, status = printed[:11]
    assert by_family_and_side(read_own(user, user6, defaults)) == replace(by_family_and_side(policy), name="ufw")
    assert [line for line in added.splitlines() if line.startswith("ufw")] == [
        "ufw allow 9999/tcp",
        "ufw allow 25/udp comment 'theirs'",
    ]
    assert "inactive" in status
    chance = random.Random(1)
    rulesets = [read(Texts(user, user6, defaults, before, before6, after, after6)), iptables.read(ipv4, ipv6)]
    rulesets.append(read(Texts(user, user6, defaults)))
    seen = set()
    for _ in range(400):
        packet = draw_packet(chance)
        if packet.protocol is Protocol.ICMP or (packet.port in (25, 9999) and packet.protocol is Protocol.UDP):
            continue
        meant = decide(policy, packet).verdict
        seen.add(meant)
        assert [pass_through(ruleset, packet).verdict for ruleset in rulesets] == [meant] * 3, packet
    assert Verdict.ACCEPT in seen
    assert Verdict.REJECT in seen


@pytest.mark.slow
@pytest.mark.peer("ufw", "iptables", "namespaces")
@pytest.mark.parametrize("seed", range(2, 6))
def test_ufw_takes_policies_by_chance(seed: int) -> None:
    chance = random.Random(seed)
    policy = fit(draw_policy(chance, most=12)[0]).policy
    printed = within(
        load(render(policy))
        + "ufw --force enable >/dev/null\n"
        + show(*(f"cat {name}" for name in PARTS), "iptables-save", "ip6tables-save")
    ).split(CUT)
    user, user6, defaults, ipv4, ipv6 = printed[:5]
    assert by_family_and_side(read_own(user, user6, defaults)) == replace(by_family_and_side(policy), name="ufw")
    rulesets = [read(Texts(user, user6, defaults)), iptables.read(ipv4, ipv6)]
    for _ in range(300):
        packet = draw_packet(chance)
        if packet.protocol is Protocol.ICMP or (packet.protocol is Protocol.UDP and packet.port in NOISE):
            continue
        meant = decide(policy, packet).verdict
        assert [pass_through(ruleset, packet).verdict for ruleset in rulesets] == [meant] * 2, packet


@pytest.mark.peer("ufw", "iptables", "namespaces")
def test_profile_is_understood_by_ufw() -> None:
    profile = render(fit(make_policy(DIRECT)).policy).profile
    printed = within(
        f"cat >/etc/ufw/applications.d/postreeve <<'END'\n{profile}END\nufw app list\nufw app info 'postreeve relay-25'"
    )
    assert "  postreeve submissions-465\n" in printed
    assert "  25/tcp\n" in printed

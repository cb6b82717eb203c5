"""firewalld: its own checker takes our files, its daemon loads them and our commands, and all is read back."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postreeve.firewall.flow import CannotExpress, Direction, Flow, NotUnderstood, Policy, Protocol, Verdict
from postreeve.firewall.intent import make_policy
from postreeve.firewall.packet import decide
from postreeve.firewall.read import nftables
from postreeve.firewall.read.firewalld import read, read_own
from postreeve.firewall.render.firewalld import fit, render, render_removal
from postreeve.firewall.ruleset import pass_through
from tests.firewall.chance import draw_packet, draw_policy
from tests.firewall.dress import dress
from tests.firewall.firewalld_real import offline, place, within
from tests.firewall.test_intent import DIRECT, SMART

FIRST = 8
"""Flows that firewalld gives."""
CUT = "----- cut here -----\n"


def plain(policy: Policy) -> Policy:
    def bare(flow: Flow) -> Flow:
        return replace(flow, because="", without="")

    rules = sorted(policy.flows[FIRST:], key=lambda flow: flow.direction is Direction.OUT)
    used = tuple(dict.fromkeys(flow.peer_set for flow in rules if flow.peer_set))
    return replace(policy, name="", sets=used, flows=tuple(bare(flow) for flow in (*policy.flows[:FIRST], *rules)))


@given(st.integers(0, 2**32))
def test_render_is_read_back(seed: int) -> None:
    chance = random.Random(seed)
    policy = fit(dress(chance, draw_policy(chance, users=("root", "postreeve"))[0])).policy
    assert fit(policy).left_out == ()
    assert plain(read_own(dict(render(policy).xml))) == plain(policy)


@given(st.integers(0, 2**32))
def test_fit_loses_nothing_that_it_does_not_name(seed: int) -> None:
    chance = random.Random(seed)
    policy, sets = draw_policy(chance)
    fitted = fit(policy)
    if fitted.left_out:
        return
    ruleset = read(dict(render(fitted.policy).xml))
    for _ in range(10):
        packet = draw_packet(chance)
        if packet.interface == "lo":
            continue
        meant = decide(policy, packet, sets)
        assert decide(fitted.policy, packet, sets).verdict is meant.verdict
        if meant.flow is not None or meant.verdict is not Verdict.ACCEPT:
            assert pass_through(replace(ruleset, sets=sets), packet).verdict is meant.verdict


def test_every_flow_has_a_priority_of_its_own() -> None:
    policy = fit(make_policy(SMART)).policy
    text = dict(render(policy).xml)["policies/postreeve-out.xml"]
    accept, refuse = (text.index(word) for word in ('port="465" protocol="tcp"/>\n    <accept', "<reject"))
    assert accept < refuse
    names = [line.split()[1].rstrip(":") for line in text.splitlines() if line.startswith("-")]
    assert len(names) == len(set(names))
    assert "out-no-other-mail-ipv4" in names


def test_render_names_what_firewalld_cannot_say() -> None:
    with pytest.raises(CannotExpress, match="connections under way"):
        render(make_policy(DIRECT))
    left = {(one.flow.ident, one.why) for one in fit(make_policy(DIRECT)).left_out}
    assert ("out-mx-25-ipv4", "the account postreeve") in left
    assert ("in-submissions-465-ipv4", "a rate per address") in left


@pytest.mark.parametrize(
    "text",
    ["not xml", "<policy><rule></policy>", '<!DOCTYPE x [<!ENTITY a "b">]><policy>&a;</policy>'],
    ids=["text", "cut", "entity"],
)
def test_reader_refuses_what_is_no_file_of_firewalld(text: str) -> None:
    with pytest.raises(NotUnderstood, match="postreeve-in"):
        read_own({"policies/postreeve-in.xml": text, "policies/postreeve-out.xml": text})


def test_reader_knows_what_services_mean_and_says_when_it_does_not() -> None:
    zone = '<zone><service name="smtp"/><service name="house-made"/><port port="587" protocol="tcp"/></zone>'
    flows = read({"zones/public.xml": zone}).layers[0].policy.flows
    said = [(str(flow.ports[0]) if flow.ports else "", flow.unknown) for flow in flows[4:10:2]]
    assert said[0] == ("25", "")
    assert "house-made" in said[1][1]
    assert said[2] == ("587", "")


def test_reader_knows_that_a_refusal_without_an_address_forgets_its_family() -> None:
    rule = '<zone><rule family="ipv4"><port port="25" protocol="tcp"/><reject/></rule></zone>'
    flows = [flow for flow in read({"zones/public.xml": rule}).layers[0].policy.flows if flow.ports]
    assert [(flow.family.value, flow.unknown) for flow in flows] == [(4, ""), (6, "another family")]


@pytest.mark.peer("firewalld")
@pytest.mark.parametrize("exposure", [DIRECT, SMART], ids=["direct", "smarthost"])
def test_firewalld_checks_our_files_without_a_word(exposure: object, tmp_path: Path) -> None:
    place(tmp_path, render(fit(make_policy(exposure)).policy).xml)  # type: ignore[arg-type]
    assert offline(tmp_path, "--check-config") == (0, "", "")


@pytest.mark.peer("firewalld")
def test_checker_would_have_seen_a_mistake(tmp_path: Path) -> None:
    files = dict(render(fit(make_policy(DIRECT)).policy).xml)
    files["policies/postreeve-in.xml"] = files["policies/postreeve-in.xml"].replace('port="25"', 'port="70000"')
    place(tmp_path, files.items())
    code, _, complaint = offline(tmp_path, "--check-config")
    assert code or complaint


@pytest.mark.slow
@pytest.mark.peer("firewalld", "nft", "namespaces")
def test_daemon_takes_our_commands_and_they_mean_what_the_files_mean() -> None:
    policy = fit(make_policy(DIRECT)).policy
    files = render(policy)
    paths = sorted(path for path, _ in files.xml if not path.startswith("services/"))
    commands = f"cat >/run/load <<'SCRIPT'\n{files.commands}SCRIPT\nsh /run/load >&2\nsh /run/load >&2\n"
    commands += "".join(f"cat /etc/firewalld/{path}; printf '%s' '{CUT}'\n" for path in paths)
    commands += f"nft -j list ruleset\nprintf '%s' '{CUT}'\n"
    commands += f"cat >/run/remove <<'SCRIPT'\n{render_removal()}SCRIPT\nsh /run/remove >&2\nnft list ruleset\n"
    *texts, loaded, removed = within(commands).split(CUT)
    assert plain(read_own(dict(zip(paths, texts, strict=True)))) == plain(policy)
    assert "postreeve" not in removed
    _same(policy, loaded, dict(zip(paths, texts, strict=True)))


@pytest.mark.slow
@pytest.mark.peer("firewalld", "nft", "namespaces")
@pytest.mark.parametrize("seed", range(3))
def test_daemon_loads_policies_by_chance(seed: int) -> None:
    chance = random.Random(seed)
    policy = fit(draw_policy(chance, most=14)[0]).policy
    files = render(replace(policy, default_out=Verdict.REJECT)).xml
    policy = replace(policy, default_out=Verdict.REJECT)
    _same(policy, within("nft -j list ruleset", files), dict(files))


def _same(policy: Policy, loaded: str, files: dict[str, str]) -> None:
    """What the kernel got, what the files say and what was meant."""
    chance = random.Random(7)
    kernel, xml = nftables.read(loaded), read(files)
    sets: dict[str, tuple[object, ...]] = dict.fromkeys(policy.sets, ())
    seen = set()
    for _ in range(300):
        packet = draw_packet(chance)
        meant = decide(policy, packet, sets)  # type: ignore[arg-type]
        if packet.interface == "lo" or (packet.protocol is Protocol.ICMP and packet.family.value == 6):
            continue
        if meant.flow is None and meant.verdict is Verdict.ACCEPT:
            continue
        seen.add(meant.verdict)
        assert pass_through(xml, packet).verdict is meant.verdict, packet
        assert pass_through(kernel, packet).verdict is meant.verdict, packet
    assert len(seen) >= 2

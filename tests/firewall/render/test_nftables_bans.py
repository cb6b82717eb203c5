"""The table with the bans alone: a drop there is final, everything else passes, whoever keeps the other rules."""

import json
import subprocess

import pytest

from postreeve.firewall.read.nftables import read
from postreeve.firewall.render.nftables import render, render_bans, render_removal
from postreeve.firewall.ruleset import Hook
from tests.enforce.orders import policy

pytestmark = pytest.mark.peer("nft", "ip")
_BANNED = 'nft add element inet postreeve bans4 "{ 192.0.2.9 timeout 600s }"'
_LIST = "nft -j list ruleset"


def nft(*scripts: str) -> str:
    """What the last says, all in one network namespace of its own."""
    done = subprocess.run(
        ["unshare", "-rn", "sh", "-ec", "\n".join(scripts)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def loaded(text: str) -> str:
    return f"nft -f - <<'END'\n{text}END"


def test_bans_replace_the_rules_and_keep_who_is_banned() -> None:
    text = render_bans(policy(25, 587))
    ruleset = read(nft(loaded(render(policy(25, 587))), _BANNED, loaded(text), loaded(text), _LIST))
    assert [str(one) for one in ruleset.sets["bans4"]] == ["192.0.2.9/32"]
    assert {layer.hook for layer in ruleset.layers} == {Hook.IN, Hook.FORWARD}
    assert {flow.peer_set for layer in ruleset.layers for flow in layer.policy.flows} == {"bans4", "bans6"}
    assert {layer.policy.default_in.value for layer in ruleset.layers} == {"accept"}


def test_whole_rules_come_back_over_bans() -> None:
    whole = render(policy(25))
    assert nft(loaded(render_bans(policy(25))), loaded(whole), "nft -s list chain inet postreeve input") == nft(
        loaded(whole), "nft -s list chain inet postreeve input"
    )


def test_without_bans_there_is_no_table() -> None:
    text = render_bans(policy(25, has_bans=False))
    assert text == render_removal()
    tables = json.loads(nft(loaded(render(policy(25))), loaded(text), "nft -j list tables"))
    assert [one for one in tables["nftables"] if "table" in one] == []

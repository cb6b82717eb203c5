"""fail2ban and crowdsec: the real programs fill sets by our files, in a namespace of their own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from postreeve.firewall.flow import CannotExpress, Policy, PolicyError
from postreeve.firewall.intent import make_policy
from postreeve.firewall.render import iptables, nftables
from postreeve.firewall.render.bans import Keeper, Settings, render_crowdsec, render_fail2ban
from postreeve.telemetry.event import AuthenticationFailed, SessionOpened
from postreeve.telemetry.line import format_json, format_logfmt
from tests.firewall.test_intent import DIRECT

POLICY = make_policy(replace(DIRECT, user="daemon"))
ROOT = Path(__file__).resolve().parents[3]


def fill(directory: Path, settings: Settings, keeper: Keeper = Keeper.NFTABLES) -> Path:
    """A configuration of fail2ban with our jail as the only one."""
    etc = directory / "fail2ban"
    shutil.copytree("/etc/fail2ban", etc)
    shutil.rmtree(etc / "jail.d")
    for path, text in render_fail2ban(POLICY, keeper, settings):
        target = etc / Path(path).relative_to("/etc/fail2ban")
        target.parent.mkdir(exist_ok=True)
        target.write_text(text)
    return etc


def failed(client: str, at: float, username: str = "alice") -> str:
    return format_logfmt(AuthenticationFailed("s1", client, username, "PLAIN", "password"), at)


@pytest.mark.peer("fail2ban")
@pytest.mark.parametrize("settings", [Settings(), Settings(log_path="/var/log/postreeve.log")], ids=["journal", "file"])
@pytest.mark.parametrize("keeper", list(Keeper))
def test_fail2ban_finds_no_fault(settings: Settings, keeper: Keeper, tmp_path: Path) -> None:
    if settings.log_path:
        settings = replace(settings, log_path=str(tmp_path / "log"))
        Path(settings.log_path).touch()
    etc = fill(tmp_path, settings, keeper)
    done = subprocess.run(["fail2ban-client", "-c", etc, "-t"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ERROR" not in done.stdout + done.stderr


LINES = {
    "logfmt": (failed("203.0.113.9", 1.7e9), "203.0.113.9"),
    "ipv6": (failed("2001:db8::9", 1.7e9), "2001:db8::9"),
    "injected": (failed("203.0.113.9", 1.7e9, 'x" client=192.0.2.1 username=y'), "203.0.113.9"),
    "journal": (f"mail postreeve[12]: {failed('203.0.113.9', 1.7e9)}", "203.0.113.9"),
    "json": (format_json(AuthenticationFailed("s1", "203.0.113.9", '"', "PLAIN", "password"), 1.7e9), "203.0.113.9"),
    "quoted": (failed("203.0.113.9", 1.7e9, f"a {failed('192.0.2.1', 1.7e9)}"), "203.0.113.9"),
    "other": (format_logfmt(SessionOpened("s1", "mx", "203.0.113.9"), 1.7e9), ""),
}


@pytest.mark.peer("fail2ban")
@pytest.mark.parametrize(("line", "client"), LINES.values(), ids=LINES)
def test_fail2ban_reads_who_failed(line: str, client: str, tmp_path: Path) -> None:
    etc = fill(tmp_path, Settings(log_path="/var/log/postreeve.log"))
    words = ["fail2ban-regex", "-o", "ip", line, str(etc / "filter.d/postreeve.conf")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.split() == ([client] if client else []), done.stderr


_FAIL2BAN = """
set -eu
cd "$1"
ip link set lo up
{load}
client="fail2ban-client -c $1/fail2ban -s $1/socket -p $1/pid"
$client --logtarget "$1/said" -b start >/dev/null
trap '$client stop >/dev/null' EXIT
cat "$1/lines" >>"$1/log"
tries=0
until [ "$({list} | grep -cE '203.0.113.9|2001:db8:0:7')" -ge 2 ]; do
    tries=$((tries + 1))
    [ $tries -lt 120 ] || {{ cat "$1/said" >&2; {list} >&2; exit 1; }}
    sleep 0.1
done
{list}
echo ---
$client set postreeve unbanip 203.0.113.9 >/dev/null
tries=0
while {list} | grep -q 203.0.113.9; do
    tries=$((tries + 1))
    [ $tries -lt 100 ] || {{ cat "$1/said" >&2; exit 1; }}
    sleep 0.1
done
{list}
"""


@pytest.mark.peer("fail2ban", "nft", "ipset", "iptables", "namespaces")
@pytest.mark.parametrize("keeper", [Keeper.NFTABLES, Keeper.IPTABLES])
def test_fail2ban_fills_our_sets_and_takes_back(keeper: Keeper, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.touch()
    fill(tmp_path, Settings(log_path=str(log), tries=3, ban_seconds=900), keeper)
    now = time.time()
    lines = [failed(client, now) for client in ("203.0.113.9", "2001:db8:0:7::9") for _ in range(3)]
    (tmp_path / "lines").write_text("".join(f"{line}\n" for line in [*lines, failed("203.0.113.10", now)]))
    files = iptables.render(POLICY)
    if keeper is Keeper.NFTABLES:
        load = f"nft -f - <<'END'\n{nftables.render(POLICY)}END"
        listing = "nft list table inet postreeve | sed 's/}, /}\\n/g; s/s, /s\\n/g' | grep timeout"
    else:
        load, listing = f"ipset restore <<'END'\n{files.ipset}END", "ipset list"
    script = _FAIL2BAN.format(load=load, list=f"{{ {listing}; }}")
    done = subprocess.run(
        ["unshare", "--net", "sh", "-c", script, "sh", tmp_path],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    banned, after = done.stdout.split("---\n")
    assert "2001:db8:0:7::/64" in banned
    assert "203.0.113.10" not in banned
    assert "15m" in banned or "timeout 8" in banned or "timeout 900" in banned
    assert "2001:db8:0:7::/64" in after


_CROWDSEC = """
set -eu
ip link set lo up
nft -f "$1/rules.nft"
nft -f "$1/rules.nft"
"$2" -m tests.firewall.crowdsec_api "$1/key" &
api=$!
tries=0
until grep -q . "$1/key" 2>/dev/null; do sleep 0.1; tries=$((tries + 1)); [ $tries -lt 100 ] || exit 3; done
crowdsec-firewall-bouncer -c "$1/bouncer.yaml" >"$1/said" 2>&1 &
bouncer=$!
trap 'kill $bouncer $api 2>/dev/null || :' EXIT
tries=0
until nft list ruleset | grep -q 203.0.113.77 && nft list ruleset | grep -q 2001:db8::77; do
    tries=$((tries + 1))
    [ $tries -lt 150 ] || {{ cat "$1/said" >&2; nft list ruleset >&2; exit 1; }}
    sleep 0.1
done
nft -j list ruleset
"""


@pytest.mark.peer("crowdsec-bouncer", "nft", "namespaces")
def test_crowdsec_fills_the_sets_whose_rules_are_ours(tmp_path: Path) -> None:
    (_, overlay), (_, rules) = render_crowdsec(POLICY)
    (tmp_path / "rules.nft").write_text(rules)
    packaged = Path("/etc/crowdsec/bouncers/crowdsec-firewall-bouncer.yaml").read_text()
    own = {"${BACKEND}": "nftables", "${API_KEY}": "key", "daemonize: true": "daemonize: false"}
    own |= {"log_mode: file": "log_mode: stdout", "/var/run/": f"{tmp_path}/", "127.0.0.1:8080": "127.0.0.1:18080"}
    for old, new in own.items():
        packaged = packaged.replace(old, new)
    (tmp_path / "bouncer.yaml").write_text(packaged)
    (tmp_path / "bouncer.yaml.local").write_text(overlay)
    words = [
        "unshare",
        "--net",
        "sh",
        "-c",
        _CROWDSEC.replace("{{", "{").replace("}}", "}"),
        "sh",
        tmp_path,
        sys.executable,
    ]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    items = json.loads(done.stdout)["nftables"]
    chains = {(one["chain"]["table"], one["chain"]["name"]) for one in items if "chain" in one}
    tables = ("postreeve-crowdsec", "postreeve-crowdsec6")
    assert chains == {(table, hook) for table in tables for hook in ("input", "forward")}
    filled = {one["set"]["table"]: one["set"]["elem"][0]["elem"] for one in items if "set" in one}
    assert {table: one["val"] for table, one in filled.items()} == {
        "postreeve-crowdsec": "203.0.113.77",
        "postreeve-crowdsec6": "2001:db8::77",
    }
    assert all(one["timeout"] > 0 for one in filled.values())


def test_bans_need_a_rule_that_asks_them() -> None:
    without = make_policy(replace(DIRECT, has_bans=False))
    with pytest.raises(CannotExpress, match="bans"):
        render_fail2ban(without, Keeper.NFTABLES)
    with pytest.raises(CannotExpress, match="bans"):
        render_crowdsec(without)


@pytest.mark.parametrize(
    "settings",
    [Settings(log_path="log"), Settings(log_path="/a\nb"), Settings(journal_unit="x y"), Settings(tries=0)],
    ids=["relative", "lines", "unit", "tries"],
)
def test_settings_that_would_become_something_else_are_refused(settings: Settings) -> None:
    with pytest.raises(PolicyError):
        render_fail2ban(POLICY, Keeper.NFTABLES, settings)


def test_policy_of_one_family_has_one_table() -> None:
    policy: Policy = make_policy(replace(DIRECT, has_ipv6=False))
    (_, overlay), (_, rules) = render_crowdsec(policy)
    assert "disable_ipv6: true" in overlay
    assert "ip6" not in rules

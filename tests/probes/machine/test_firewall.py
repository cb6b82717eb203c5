"""Rules in force in a network namespace, read by whatever tool there is; who loads our own at the next start."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.peer("nft", "iptables", "namespaces")

READ = """
from postreeve.firewall.flow import Verdict
from postreeve.probes.machine.firewall import read_live
for layer in read_live().layers:
    for flow in layer.policy.flows:
        print(layer.name, "|", flow.verdict.value, flow.ports, bool(flow.unknown))
"""
KEPT = """
import sys
from pathlib import Path
from postreeve.checks.firewall.checklist import examine
from postreeve.probes.machine.firewall import gather
root = Path(sys.argv[1])
scene = gather(frozenset(), root)
print(scene.persistence.source, scene.persistence.unit)
print([one.because for one in examine(scene) if one.check == "FW016"])
"""
OURS = (
    "table inet postreeve { chain input { type filter hook input priority 0; policy drop; tcp dport %d accept; }; }\n"
)


def within(rules: str, program: str, *arguments: str, path: str | None = None) -> str:
    """What the program prints in a namespace of its own after these commands."""
    setup = f"set -e\n{rules}\n" + (f"PATH={path}\n" if path else "")
    words = ["unshare", "-rn", "sh", "-c", f'{setup}exec "$@"', "sh", sys.executable, "-c", program, *arguments]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


HIDDEN = "iptables-nft -A INPUT -p tcp --dport 25 -m comment --comment x -m connlimit --connlimit-above 5 -j DROP"


def test_rules_of_iptables_are_read_from_iptables_save() -> None:
    said = within(f"{HIDDEN}\niptables-nft -A INPUT -p tcp -m multiport --dports 465,587 -j ACCEPT", READ)
    assert "465" in said
    assert "587" in said


def test_rules_of_iptables_are_read_where_nft_is_not_installed(tmp_path: Path) -> None:
    for name in ("iptables-nft-save", "ip6tables-nft-save"):
        (tmp_path / name).symlink_to(str(shutil.which(name)))
    said = within("iptables-nft -A INPUT -p tcp --dport 25 -j DROP", READ, path=str(tmp_path))
    assert "drop" in said
    assert "25" in said


@pytest.mark.parametrize(("port", "differs"), [(25, False), (2525, True)], ids=["same", "drift"])
def test_our_own_file_is_what_the_next_start_loads(tmp_path: Path, port: int, differs: bool) -> None:
    file = tmp_path / "etc/postreeve/firewall.nft"
    file.parent.mkdir(parents=True)
    file.write_text(OURS % 25)
    (tmp_path / "etc/nftables.conf").write_text("table inet filter { chain x { type filter hook input priority 0; }; }")
    source, found = within(f"nft '{(OURS % port).strip()}'", KEPT, str(tmp_path)).splitlines()
    assert source == f"{file} postreeve-firewall.service"
    assert ("differ from it" in found) is differs

"""The kernel judges what iptables makes of policies, in both variants; the real iptables-save is read back."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.peer("iptables", "ipset", "nft", "ip", "namespaces")]


def within(*words: str) -> dict[str, Any]:
    command = ["unshare", "--net", sys.executable, "-m", "tests.firewall.iptables_kernel", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout[done.stdout.index("{") :])
    return found


@pytest.mark.parametrize("variant", ["nft", "legacy"])
def test_kernel_agrees_with_evaluator(variant: str) -> None:
    found = within(variant, "4", "110", "20")
    assert found["disagreements"] == []
    assert min(found["verdicts"].values()) > 100, "all three verdicts must have been seen"


@pytest.mark.parametrize("variant", ["nft", "legacy"])
def test_policies_come_back_from_what_was_saved(variant: str) -> None:
    assert within(variant, "5", "40", "0")["disagreements"] == []

"""The kernel decides what the evaluator says: random policies and packets in a namespace, by IPv4 and IPv6."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
POLICIES, PACKETS, RULESETS = 500, 20, 200

pytestmark = pytest.mark.peer("nft")


def in_namespace(module: str, *words: str) -> Any:
    """The JSON that the module prints when it runs in a network namespace of its own."""
    unshare = shutil.which("unshare") or "unshare"
    root = [unshare, "--net"] if os.geteuid() == 0 else [unshare, "--net", "--map-root-user"]
    if subprocess.run([*root, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no network namespaces for this account")
    command = [*root, sys.executable, "-m", module, *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_evaluator_and_reader_agree_with_the_kernel() -> None:
    seed = int(os.environ.get("POSTREEVE_SEED", random.randrange(2**32)))
    accounts = ["accounts"] if os.geteuid() == 0 else []
    said = in_namespace("tests.firewall.kernel", str(seed), str(POLICIES), str(PACKETS), *accounts)
    found = said["disagreements"]
    assert not found, f"POSTREEVE_SEED={seed}: {len(found)} disagreements, the first: {found[0]}"
    assert sum(said["verdicts"].values()) >= POLICIES * PACKETS
    # Chance that never lets anything pass, or never refuses, would prove nothing.
    assert min(said["verdicts"][word] for word in ("accept", "drop", "reject")) > POLICIES * PACKETS / 10
    assert said["seconds"] < 90


def test_reader_of_other_peoples_rules_agrees_with_the_kernel() -> None:
    seed = int(os.environ.get("POSTREEVE_SEED", random.randrange(2**32)))
    said = in_namespace("tests.firewall.kernel_foreign", str(seed), str(RULESETS), str(PACKETS))
    found, verdicts = said["disagreements"], said["verdicts"]
    assert not found, f"POSTREEVE_SEED={seed}: {len(found)} disagreements, the first: {found[0]}"
    # What returns by account cannot be told; a reader that is never sure would agree with everybody.
    assert verdicts.get("undecided", 0) < sum(verdicts.values()) / 20
    assert min(verdicts["accept"], verdicts["drop"]) > sum(verdicts.values()) / 10


def test_kernel_ends_a_flow_at_its_rate_for_one_source_only() -> None:
    said = in_namespace("tests.firewall.kernel_cases", "rates")
    beyond = ["accept", "accept", "accept", "drop", "drop", "accept"]
    assert said == {"IPV4": beyond, "IPV6": beyond}


def test_kernel_guards_published_ports_behind_dnat() -> None:
    said = in_namespace("tests.firewall.kernel_cases", "containers")
    assert said == {"IPV4": ["accept", "drop", "drop"], "IPV6": ["accept", "drop", "drop"]}

"""A disk that is nearly full, and one that is: new mail is refused with 452 4.3.1, queued mail still leaves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.peer("namespaces")
def test_full_disk_refuses_new_mail_while_queued_mail_leaves(tmp_path: Path) -> None:
    command = ["unshare", "--mount", sys.executable, "-m", "tests.faults.nearly_full", str(tmp_path)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.splitlines() == [
        "refused below min_free",
        "queued mail leaves below min_free",
        "accepts again",
        "and delivers",
        "refused without any room",
        "queued mail leaves without any room",
        "accepts again after that",
        "and delivers that too",
        "done",
    ]

"""The peers a test may name, the script that installs them, and what is said when one is missing."""

import re
import subprocess
from pathlib import Path

import pytest

from tests import peers

ROOT = Path(__file__).resolve().parent.parent


def listed(option: str) -> list[str]:
    command = [ROOT / "scripts/peers.sh", option]
    return sorted(subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.split())


def test_peers_script_installs_exactly_what_tests_name() -> None:
    assert listed("--list") == sorted({package for peer in peers.PEERS.values() for package in peer.apt})
    assert listed("--unpacked") == sorted({package for peer in peers.PEERS.values() for package in peer.unpacked})


def test_npm_lock_holds_every_npm_peer_and_no_address() -> None:
    lock = (ROOT / "tests/peers/node/package-lock.json").read_text()
    for peer in peers.PEERS.values():
        assert not peer.npm or f'"node_modules/{peer.npm}"' in lock
    assert "resolved" not in lock
    assert '"integrity": "sha512-' in lock


@pytest.mark.parametrize("path", sorted((ROOT / "requirements").glob("*.txt")), ids=lambda path: path.name)
def test_lock_pins_and_hashes_everything_and_names_no_address(path: Path) -> None:
    text = path.read_text()
    entries = [line for line in text.splitlines() if line and not line.startswith((" ", "#"))]
    assert all(re.match(r"[a-z0-9][a-z0-9.-]*==[^ ]+( ;.*)? \\$", entry) for entry in entries)
    assert text.count("==") == len(entries)
    assert not re.search(r"://|index-url|find-links|trusted-host", text)
    assert len(re.findall(r"--hash=sha256:[0-9a-f]{64}\b", text)) >= 2 * len(entries)


def test_require_skips_with_reason_and_fails_when_required(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = peers.Peer(("postreeve-no-such-program",), apt=("no-such-package",))
    monkeypatch.setitem(peers.PEERS, "absent", absent)
    monkeypatch.delenv("POSTREEVE_REQUIRE_PEERS", raising=False)
    with pytest.raises(pytest.skip.Exception, match=r"missing peer absent: .*apt-get install no-such-package"):
        peers.require(["absent"])
    monkeypatch.setenv("POSTREEVE_REQUIRE_PEERS", "1")
    with pytest.raises(pytest.fail.Exception, match="missing peer absent"):
        peers.require(["absent"])


def test_require_never_fails_for_what_cannot_be_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(peers.PEERS, "right", peers.Peer(probe=("false",), why="needs a right", is_installable=False))
    monkeypatch.setenv("POSTREEVE_REQUIRE_PEERS", "1")
    with pytest.raises(pytest.skip.Exception, match="missing peer right: needs a right"):
        peers.require(["right"])


def test_count_missing_counts_tests_per_peer() -> None:
    reasons = [
        "Skipped: missing peer a: x (y)",
        "Skipped: missing peer a: x (y)",
        "Skipped: other",
        "missing peer b: z",
    ]
    assert peers.count_missing(reasons) == [("a", "x (y)", 2), ("b", "z", 1)]

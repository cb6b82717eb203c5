"""What all tests share: the programs they need, the published suites, and a count of what was not run."""

import os
from collections.abc import Callable
from pathlib import Path

import hypothesis
import pytest

from tests import peers

ROOT = Path(__file__).resolve().parent.parent

# A shared runner's pauses are no finding about the code: no deadline per example.
hypothesis.settings.register_profile("postreeve", deadline=None, print_blob=True)
hypothesis.settings.load_profile("postreeve")


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("peer"):
        peers.require(mark.args)


@pytest.fixture(scope="session")
def peer() -> Callable[[str], Path]:
    """`peer("swaks")` is where that program is; the test skips, visibly, where it is not."""

    def find(name: str) -> Path:
        peers.require([name])
        programs = peers.PEERS[name].programs
        return (peers.find_program(programs[0]) if programs else None) or Path()

    return find


@pytest.fixture(scope="session")
def suites() -> Path:
    """The directory of published test suites, read in place: POSTREEVE_SUITES, or ../shared/suites."""
    configured = os.environ.get("POSTREEVE_SUITES")
    path = Path(configured) if configured else ROOT.parent / "shared" / "suites"
    if not path.is_dir():
        pytest.skip("the published suites are not here: set POSTREEVE_SUITES to their directory")
    return path


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = [report.longrepr[2] for report in skipped if isinstance(report.longrepr, tuple)]
    rows = peers.count_missing(reasons)
    if not rows:
        return
    terminalreporter.section("missing peers")
    for name, why, count in rows:
        terminalreporter.write_line(f"{name}: {count} skipped; {why}")
    terminalreporter.write_line(f"{sum(row[2] for row in rows)} tests skipped for want of {len(rows)} peers")

"""What probe prints at a terminal of 80 columns, and in a pipe."""

from __future__ import annotations

import os
import sys

import pytest

from postreeve.checks.facts import Facts
from postreeve.checks.judge import judge
from postreeve.checks.path import DialOutcome
from postreeve.cli.probe_print import print_judgement
from tests.checks.judge_facts import dead, facts, known_good, other_port


def printed(given: Facts, capsys: pytest.CaptureFixture[str]) -> list[str]:
    print_judgement(given, judge(given), with_transcript=False)
    return capsys.readouterr().out.split("\n")


@pytest.fixture
def given() -> Facts:
    timed_out = DialOutcome.TIMED_OUT
    controls = (
        known_good(DialOutcome.OPEN),
        other_port(DialOutcome.OPEN),
        *(other_port(timed_out, n) for n in (25, 80)),
    )
    return facts(dead(timed_out), controls=controls)


def test_terminal_gets_lines_that_fit_but_for_what_is_to_be_pasted(
    given: Facts, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((80, 24)))
    lines = printed(given, capsys)
    assert max(map(len, lines)) <= 80
    command = "nft add rule inet filter input tcp dport 587 accept"
    assert f"{'':14}{command}" in lines
    assert any("ports 25, 80 timed out" in line for line in lines)


def test_pipe_gets_whole_lines(given: Facts, capsys: pytest.CaptureFixture[str]) -> None:
    verdict = judge(given).verdict
    lines = [line.strip() for line in printed(given, capsys)]
    assert verdict.evidence[1] in lines
    assert verdict.cause == "blocked-far-side"

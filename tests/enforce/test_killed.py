"""`apply` is killed at every step: the kernel has the old rules or the new ones, and the administrator stays in."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from postreeve.enforce import nft
from postreeve.enforce.apply import Step
from postreeve.enforce.command import attempt
from postreeve.enforce.place import Place
from postreeve.enforce.record import Phase, is_watched, read_record
from postreeve.firewall.render.nftables import render
from tests.enforce.orders import policy
from tests.lab.pair import ADMIN_4, ADMIN_6, CLIENT_4, HOST_4, HOST_6, Pair, is_alive, pair_or_skip
from tests.lab.waiting import until

pytestmark = pytest.mark.peer("nft", "ip")
OLD = "what was there: 993 for everybody, SSH for the administrators"


@pytest.fixture
def pair() -> Iterator[Pair]:
    with pair_or_skip() as made:
        yield made


def place_of(pair: Pair, directory: Path) -> Place:
    return Place(pair.within, directory / "etc", directory / "state", directory)


def apply_and_die(place: Place, step: Step, seconds: float = 1.5) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", "tests.enforce.orders", json.dumps(place.document()), step.name, str(seconds)]
    return subprocess.Popen(words, start_new_session=True, stderr=subprocess.PIPE)


def rules_in_force(place: Place) -> str:
    """As the kernel has them, whatever handles and counters it gives them."""
    return nft.list_own(place) or "none"


@pytest.mark.parametrize("had_rules", [True, False], ids=["rules before", "none before"])
@pytest.mark.parametrize("step", list(Step), ids=lambda step: step.name.lower())
def test_apply_killed_leaves_old_or_new_rules_and_the_administrator_in(
    step: Step, had_rules: bool, pair: Pair, tmp_path: Path
) -> None:
    place = place_of(pair, tmp_path)
    nft.load(place, render(policy(25, 587)))
    new = rules_in_force(place)
    pair.do(pair.host, "nft", "delete", "table", "inet", "postreeve")
    if had_rules:
        nft.load(place, render(policy(993)))
        place.configuration.mkdir()
        place.rules.write_text(OLD)
    old = rules_in_force(place)
    assert old != new
    with pair.listen(pair.host, (22, 25, 587, 993)):
        lines = [pair.connect(HOST_4, 22, ADMIN_4), pair.connect(HOST_6, 22, ADMIN_6)]
        with apply_and_die(place, step) as process:
            assert process.wait(30) == -signal.SIGKILL, process.stderr and process.stderr.read()
        here = rules_in_force(place)
        is_loaded = list(Step).index(step) >= list(Step).index(Step.LOADED)
        assert here == (new if is_loaded else old)
        assert pair.dial(HOST_4, 587, CLIENT_4) == ("open" if is_loaded or not had_rules else "silent")
        assert_administrator_is_in(pair, lines)
        assert until(lambda: not is_pending(place) or not is_watched(place), "the watch to end", 10)
        assert rules_in_force(place) == old
        assert_administrator_is_in(pair, lines)
        for line in lines:
            line.close()
    record = read_record(place) if place.state.exists() else None
    is_armed = list(Step).index(step) >= list(Step).index(Step.WATCHED)
    assert (record is not None and record.phase is Phase.RESTORED) == is_armed
    assert (place.rules.read_text() if place.rules.exists() else None) == (OLD if had_rules else None)


def is_pending(place: Place) -> bool:
    record = read_record(place)
    return record is not None and record.phase is Phase.PENDING


def assert_administrator_is_in(pair: Pair, lines: list[object]) -> None:
    for address, source in ((HOST_4, ADMIN_4), (HOST_6, ADMIN_6)):
        assert pair.dial(address, 22, source) == "open"
    assert [is_alive(line) for line in lines] == [True, True]  # type: ignore[arg-type]


def test_apply_killed_before_the_watch_is_taken_up_by_the_next(pair: Pair, tmp_path: Path) -> None:
    place = place_of(pair, tmp_path)
    with apply_and_die(place, Step.RECORDED) as process:
        process.wait(30)
    record = read_record(place)
    assert record is not None
    assert record.phase is Phase.PENDING
    assert not is_watched(place)
    with apply_and_die(place, Step.WAITING) as process:
        process.wait(30)
    again = read_record(place)
    assert again is not None
    assert again.ident != record.ident
    assert is_watched(place)
    assert until(lambda: not is_pending(place), "the old rules", 10)


def test_watch_outlives_its_whole_session(pair: Pair, tmp_path: Path) -> None:
    place = place_of(pair, tmp_path)
    with apply_and_die(place, Step.WAITING, 2.0) as process:
        process.wait(30)
        # What the kernel does when a terminal goes: SIGHUP to the session that was on it. Here it gets even SIGKILL.
        for number in (signal.SIGHUP, signal.SIGKILL):
            with pytest.raises(ProcessLookupError):
                os.killpg(process.pid, number)
    assert is_watched(place)
    assert rules_in_force(place) != "none"
    assert until(lambda: rules_in_force(place) == "none", "the old rules", 10)


def test_watch_told_to_end_restores_first(pair: Pair, tmp_path: Path) -> None:
    place = place_of(pair, tmp_path)
    with apply_and_die(place, Step.WAITING, 600.0) as process:
        process.wait(30)
    done = attempt(Place(), "sh", "-c", f"grep -l -z -F {place.state} /proc/[0-9]*/cmdline")
    (watch,) = [int(line.split("/")[2]) for line in done.out.splitlines() if "deadman" in _command(line)]
    os.kill(watch, signal.SIGHUP)
    os.kill(watch, signal.SIGINT)
    assert is_watched(place)
    assert rules_in_force(place) != "none"
    os.kill(watch, signal.SIGTERM)
    assert until(lambda: not is_watched(place), "the watch to end", 10)
    assert rules_in_force(place) == "none"
    record = read_record(place)
    assert record is not None
    assert (record.phase, record.because) == (Phase.RESTORED, "the watch was told to end")


def _command(path: str) -> str:
    try:
        return Path(path).read_bytes().decode(errors="replace")
    except OSError:
        return ""

"""`postreeve firewall apply`, `confirm`, `status`, `rollback` as an operator uses them, in a namespace."""

import json
import os
import pty
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from postreeve.enforce.place import Place
from postreeve.enforce.record import is_watched
from tests.enforce.program import run, run_json, words_of, write_config
from tests.lab.network import NoNamespaces
from tests.lab.pair import CLIENT_4, CLIENT_6, HOST_4, HOST_6, Pair, is_alive, pair_or_skip
from tests.lab.waiting import until

pytestmark = pytest.mark.peer("nft", "ip")


@pytest.fixture
def pair() -> Iterator[Pair]:
    with pair_or_skip() as made:
        yield made


def is_loaded(pair: Pair) -> bool:
    try:
        pair.do(pair.host, "nft", "list", "table", "inet", "postreeve")
    except NoNamespaces:
        return False
    return True


def test_apply_confirm_status_rollback(pair: Pair, tmp_path: Path) -> None:
    write_config(tmp_path)
    assert run_json(pair, tmp_path, "status", expect=1)["state"] == "none"
    with pair.listen(pair.host, (22, 25, 8080)):
        assert pair.dial(HOST_4, 8080, CLIENT_4) == "open"
        applied = run_json(pair, tmp_path, "apply", "--confirm-within", "30s")
        assert (applied["state"], applied["problems"], applied["owner"]) == ("pending", [], "nobody")
        assert pair.dial(HOST_4, 8080, CLIENT_4) == "silent"
        assert [pair.dial(one, 25, source) for one, source in ((HOST_4, CLIENT_4), (HOST_6, CLIENT_6))] == ["open"] * 2
        pending = run_json(pair, tmp_path, "status", expect=1)
        assert (pending["state"], pending["watched"]) == ("pending", True)
        assert 0 < pending["seconds_left"] <= 30
        assert not (tmp_path / "etc/postreeve/firewall.nft").exists()
        again = run(pair, tmp_path, "apply")
        assert again.returncode == 1
        assert "waits to be confirmed" in again.stderr

        assert run_json(pair, tmp_path, "confirm")["state"] == "confirmed"
        assert (tmp_path / "etc/postreeve/firewall.nft").read_text().startswith("# mail.example.org")
        assert run_json(pair, tmp_path, "status")["problems"] == []
        assert until(
            lambda: not is_watched(Place((), state=tmp_path / "var/lib/postreeve-firewall")), "the watch's end"
        )
        assert "confirmed already" in run(pair, tmp_path, "confirm").stderr

        assert run_json(pair, tmp_path, "rollback")["state"] == "restored"
        assert not is_loaded(pair)
        assert not (tmp_path / "etc/postreeve/firewall.nft").exists()
        assert pair.dial(HOST_4, 8080, CLIENT_4) == "open"
    gone = run(pair, tmp_path, "rollback")
    assert gone.returncode == 1
    assert "the rules from before are back" in gone.stderr


def test_what_is_loaded_at_the_start_is_what_was_applied(pair: Pair, tmp_path: Path) -> None:
    write_config(tmp_path)
    assert run_json(pair, tmp_path, "apply", "--yes")["state"] == "confirmed"
    listed = pair.do(pair.host, "nft", "-s", "list", "table", "inet", "postreeve")
    pair.do(pair.host, "nft", "delete", "table", "inet", "postreeve")
    assert "not loaded" in " ".join(run_json(pair, tmp_path, "status", expect=1)["problems"])
    pair.do(pair.host, "nft", "-f", str(tmp_path / "etc/postreeve/firewall.nft"))
    assert pair.do(pair.host, "nft", "-s", "list", "table", "inet", "postreeve") == listed
    assert run_json(pair, tmp_path, "status")["problems"] == []


def test_status_tells_drift_of_kernel_and_file(pair: Pair, tmp_path: Path) -> None:
    write_config(tmp_path)
    run_json(pair, tmp_path, "apply", "--yes")
    pair.do(pair.host, "nft", "insert", "rule", "inet", "postreeve", "input", "tcp", "dport", "23", "accept")
    (tmp_path / "etc/postreeve/firewall.nft").write_text("")
    problems = run_json(pair, tmp_path, "status", expect=1)["problems"]
    assert any("somebody has changed the rules" in one for one in problems)
    assert any("firewall.nft has other rules" in one for one in problems)


def test_dry_run_changes_nothing(pair: Pair, tmp_path: Path) -> None:
    write_config(tmp_path)
    assert run_json(pair, tmp_path, "apply", "--dry-run")["state"] == "would be applied"
    assert not is_loaded(pair)
    assert not (tmp_path / "var").exists()
    assert pair.do(pair.host, "nft", "list", "ruleset") == ""


def test_not_confirmed_means_taken_back(pair: Pair, tmp_path: Path) -> None:
    write_config(tmp_path)
    run_json(pair, tmp_path, "apply", "--confirm-within", "5s")
    assert is_loaded(pair)
    assert until(lambda: not is_loaded(pair), "the old rules", 10)
    found = run_json(pair, tmp_path, "status", expect=1)
    assert (found["state"], found["because"]) == ("restored", "nobody confirmed in time")
    late = run(pair, tmp_path, "confirm")
    assert late.returncode == 1
    assert "nobody confirmed in time" in late.stderr


def test_apply_refuses_to_lock_out_who_is_logged_in(pair: Pair, tmp_path: Path) -> None:
    write_config(tmp_path, "ssh_port = 22\n")
    done = run(pair, tmp_path, "apply", SSH_CONNECTION=f"{CLIENT_4} 50000 {HOST_4} 2222")
    assert done.returncode == 1
    assert "ssh_port" in done.stderr
    assert not is_loaded(pair)


def test_apply_keeps_the_session_that_it_is_run_from(pair: Pair, tmp_path: Path) -> None:
    write_config(tmp_path)
    with pair.listen(pair.host, (22, 25)):
        session = pair.connect(HOST_4, 22, CLIENT_4)
        run_json(pair, tmp_path, "apply", "--yes", SSH_CONNECTION=f"{CLIENT_4} 50000 {HOST_4} 22")
        assert is_alive(session)
        assert pair.dial(HOST_4, 22, CLIENT_4) == "open"
        assert pair.dial(HOST_6, 22, CLIENT_6) == "silent"
        session.close()


def test_probes_that_fail_take_the_rules_back(pair: Pair, tmp_path: Path) -> None:
    """Another table drops what ours accepts as soon as ours is there: only dialling finds that out."""
    write_config(tmp_path)
    config = (tmp_path / "postreeve.toml").read_text()
    smarthost = 'domains = ["*"]\nvia = "smarthost"\nhost = "198.51.100.7"\nport = 587\ntls = "required"'
    (tmp_path / "postreeve.toml").write_text(config.replace('domains = ["*"]\nvia = "mx"', smarthost))
    mark = "ct state new ct mark set 1; }"
    pair.do(
        pair.host,
        "nft",
        "-f",
        "-",
        text="table inet other { chain o { type filter hook output priority 10;\n" + mark + "\n}",
    )
    with pair.listen(pair.peer, (587,)):
        fine = run_json(pair, tmp_path, "apply", "--confirm-within", "5s")
        assert (fine["state"], fine["problems"]) == ("pending", [])
        run_json(pair, tmp_path, "rollback")
        # A rule that counts on our table: what we let out as new is dropped one hook later.
        watch = "while ! nft list table inet postreeve; do :; done; nft insert rule inet other o tcp dport 587 drop"
        with subprocess.Popen([*pair.within, "sh", "-c", watch], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
            done = run(pair, tmp_path, "apply", "--yes")
    assert done.returncode == 1
    assert "no longer answers" in done.stderr
    assert not is_loaded(pair)


@pytest.mark.parametrize(("typed", "state"), [("yes\n", "confirmed"), ("no\n", "restored"), (None, "restored")])
def test_apply_on_a_terminal_asks(typed: str | None, state: str, pair: Pair, tmp_path: Path) -> None:
    write_config(tmp_path)
    ours, theirs = pty.openpty()
    words = words_of(pair, tmp_path, "apply", "--confirm-within", "6s")
    with subprocess.Popen(words, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True) as process:
        os.close(theirs)
        said = b""
        while b"Type yes" not in said:
            said += os.read(ours, 4096)
        if typed is None:
            os.close(ours)  # the terminal is gone
        else:
            os.write(ours, typed.encode())
            process.wait(20)
            os.close(ours)
    assert until(lambda: state_of(pair, tmp_path) == state, state, 15)
    assert is_loaded(pair) == (state == "confirmed")


def state_of(pair: Pair, directory: Path) -> str:
    done = run(pair, directory, "status", "--json")
    return str(json.loads(done.stdout)["state"])


def test_cut_ends_sessions_that_could_not_begin(pair: Pair, tmp_path: Path) -> None:
    write_config(tmp_path)
    tracking = "table inet other { chain i { type filter hook input priority 0; ct state established accept;\n}\n}\n"
    pair.do(pair.host, "nft", "-f", "-", text=tracking)
    with pair.listen(pair.host, (22, 25, 8080)):
        stray, kept = pair.connect(HOST_4, 8080, CLIENT_4), pair.connect(HOST_4, 25, CLIENT_4)
        named = run_json(pair, tmp_path, "apply", "--yes")
        assert named["lingering"] == [f"{CLIENT_4} to port 8080"]
        assert is_alive(stray)
        cut = run_json(pair, tmp_path, "apply", "--yes", "--cut")
        assert cut["cut"] == 1, cut
        assert not is_alive(stray)
        assert is_alive(kept)
        stray.close()
        kept.close()


def test_without_the_rights_one_clear_error(pair: Pair, tmp_path: Path) -> None:
    words = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *words_of(pair, tmp_path, "status")[4:-2]]
    done = subprocess.run([*pair.within, *words], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "rights of root" in done.stderr


def test_times(pair: Pair, tmp_path: Path) -> None:
    write_config(tmp_path)
    for text in ("1s", "2h", "soon"):
        assert run(pair, tmp_path, "apply", "--confirm-within", text).returncode == 2
    began = time.monotonic()
    assert run_json(pair, tmp_path, "apply", "--yes")["state"] == "confirmed"
    assert time.monotonic() - began < 20

"""`postreeve user` on a real accounts file."""

from __future__ import annotations

import io
import re
import subprocess
import sys

import pytest
from argon2 import PasswordHasher

from postreeve.app.accounts import open_accounts
from postreeve.policy.facts import Account as PolicyAccount
from tests.cli.conftest import Desk
from tests.cli.mail import mailbox


class Input(io.TextIOWrapper):
    def __init__(self, octets: bytes) -> None:
        super().__init__(io.BytesIO(octets), "utf-8")


@pytest.fixture
def give(monkeypatch: pytest.MonkeyPatch) -> object:
    return lambda octets: monkeypatch.setattr("sys.stdin", Input(octets))


def hash_of(desk: Desk, name: str) -> str:
    with open_accounts(desk.data) as accounts:
        account = accounts.get(name)
    assert account is not None
    return account.password_hash


def is_password(desk: Desk, name: str, password: str) -> bool:
    try:
        return PasswordHasher().verify(hash_of(desk, name), password)
    except Exception:
        return False


def test_user_add_as_scripts_do_it(desk: Desk) -> None:
    command = [
        sys.executable, "-m", "postreeve", "user", "add", "bench", "--send-as", "*", "--password-stdin",
        "--config", str(desk.config),
    ]  # fmt: skip
    desk.data.rmdir()
    done = subprocess.run(command, input="bench-password\n", capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "account bench added, may send as *\n", "")
    assert is_password(desk, "bench", "bench-password")
    assert hash_of(desk, "bench").startswith("$argon2id$")
    again = subprocess.run(command, input="other-password\n", capture_output=True, text=True, timeout=60, check=False)
    assert again.returncode == 1
    assert again.stderr == "postreeve: account bench exists (`postreeve user passwd` sets its password)\n"
    assert is_password(desk, "bench", "bench-password")


def test_user_add_makes_a_password_and_shows_it_once(desk: Desk) -> None:
    done = desk.run("user", "add", "alice@example.org")
    assert done.status == 0
    made = re.search(r"^password: (\S+)$", done.out, re.MULTILINE)
    assert made
    assert re.fullmatch(r"([a-z0-9]{5}-){4}[a-z0-9]{5}", made[1])
    assert is_password(desk, "alice@example.org", made[1])
    assert made[1] not in desk.run("user", "list").out


def test_user_name_that_is_an_address_sends_as_itself(desk: Desk) -> None:
    desk.run("user", "add", "alice@example.org")
    with open_accounts(desk.data) as accounts:
        account = accounts.get("alice@example.org")
    assert account is not None
    assert account.send_as == ("alice@example.org",)
    assert PolicyAccount(account.name, account.send_as).may_send_as(mailbox("Alice@example.org"))


def test_user_name_that_is_no_address_needs_send_as(desk: Desk) -> None:
    done = desk.run("user", "add", "printer")
    assert done.status == 2
    assert "--send-as" in done.err


@pytest.mark.parametrize("pattern", ["example.org", "*.example.org", "a*@example.org", "", "@", "*@-", "**"])
def test_user_add_refuses_a_pattern_that_can_never_fit(desk: Desk, pattern: str) -> None:
    done = desk.run("user", "add", "printer", "--send-as", pattern)
    assert done.status == 2


@pytest.mark.parametrize("pattern", ["*", "@example.org", "*@example.org", "a@example.org"])
def test_user_add_takes_every_pattern_that_policy_knows(desk: Desk, pattern: str) -> None:
    done = desk.run("user", "add", "printer", "--send-as", pattern, "--send-as", pattern, "--json")
    assert (done.status, done.json["send_as"]) == (0, [pattern])


BAD = {
    "short": (b"1234567\n", "too short"),
    "long": (b"x" * 1025 + b"\n", "too long"),
    "none": (b"", "there is no password on standard input"),
    "empty line": (b"\n", "there is no password on standard input"),
    "no UTF-8": (b"\xff\xfe12345678\n", "not UTF-8"),
    "control": (b"12345678\x00\n", "control characters"),
}


@pytest.mark.parametrize(("octets", "expected"), BAD.values(), ids=BAD.keys())
def test_user_add_refuses_a_bad_password(desk: Desk, give: object, octets: bytes, expected: str) -> None:
    give(octets)  # type: ignore[operator]
    done = desk.run("user", "add", "alice@example.org", "--password-stdin")
    assert (done.status, done.out) == (1, "")
    assert expected in done.err
    assert desk.run("user", "list").out.startswith("there is no account")


@pytest.mark.parametrize(
    "octets", [b"x" * 1024, b"x" * 1024 + b"\r\n", "pässwörter".encode() + b"\n", b" spaces  here \n"]
)
def test_user_passwd_takes_what_is_within_bounds(desk: Desk, give: object, octets: bytes) -> None:
    desk.run("user", "add", "alice@example.org")
    give(octets)  # type: ignore[operator]
    assert desk.run("user", "passwd", "ALICE@example.org", "--password-stdin").status == 0
    assert is_password(desk, "alice@example.org", octets.decode().removesuffix("\n").removesuffix("\r"))


def test_user_disable_enable_remove(desk: Desk) -> None:
    desk.run("user", "add", "alice@example.org")
    assert desk.run("user", "disable", "alice@example.org").out == "account alice@example.org is disabled\n"
    assert desk.run("user", "list", "--json").json["accounts"][0]["disabled"] is True
    assert "disabled" in desk.run("user", "list").out
    assert desk.run("user", "disable", "alice@example.org").out == "account alice@example.org was disabled already\n"
    assert desk.run("user", "enable", "alice@example.org", "--json").json["disabled"] is False
    assert desk.run("user", "remove", "alice@example.org").status == 0
    assert desk.run("user", "list", "--json").json == {"accounts": []}


@pytest.mark.parametrize("command", ["passwd", "disable", "enable", "remove"])
def test_user_command_on_an_unknown_name(desk: Desk, command: str) -> None:
    done = desk.run("user", command, "nobody")
    assert (done.status, done.out) == (1, "")
    assert done.err == "postreeve: there is no account nobody (see `postreeve user list`)\n"


@pytest.mark.parametrize("name", ["two words", "new\nline", "x" * 300, ""], ids=["space", "control", "long", "empty"])
def test_user_add_refuses_a_name_nobody_could_use(desk: Desk, name: str) -> None:
    done = desk.run("user", "add", name, "--send-as", "*")
    assert done.status == 1
    assert done.err.startswith("postreeve: an account name has")


def test_user_accounts_file_that_is_none_is_named(desk: Desk) -> None:
    (desk.data / "accounts.db").write_bytes(b"no database" * 1000)
    done = desk.run("user", "list")
    assert done.status == 1
    assert str(desk.data / "accounts.db") in done.err
    assert len(done.err.splitlines()) == 1

"""The unit files: what they start exists, what they promise is there, and systemd understands them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from postreeve import __version__
from tools import reference

PACKAGING = Path(__file__).resolve().parent.parent / "packaging"
SERVICE = PACKAGING / "systemd" / "postreeve.service"
SOCKET = PACKAGING / "systemd" / "postreeve.socket"


def settings(unit: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for key, value in re.findall(r"(?m)^([A-Z]\w+)=(.*)$", unit.read_text()):
        found.setdefault(key, []).append(value)
    return found


@pytest.mark.parametrize("key", ["ExecStart", "ExecStartPre"])
def test_unit_starts_a_command_that_exists(key: str) -> None:
    commands = {command.name: command for command in reference.list_commands()}
    for line in settings(SERVICE)[key]:
        words = line.split()
        options = [word for word in words if word.startswith("--")]
        name = " ".join(["postreeve", *words[1 : words.index(options[0])]])
        assert set(options) <= set(commands[name].list_words())


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("Type", "notify"),
        ("User", "postreeve"),
        ("NoNewPrivileges", "yes"),
        ("ProtectSystem", "strict"),
        ("StateDirectory", "postreeve"),
        ("CapabilityBoundingSet", "CAP_NET_BIND_SERVICE"),
        ("AmbientCapabilities", "CAP_NET_BIND_SERVICE"),
        ("RestrictAddressFamilies", "AF_INET AF_INET6 AF_UNIX"),
        ("ExecReload", "/bin/kill -HUP $MAINPID"),
    ],
)
def test_unit_grants_only_what_is_needed(key: str, value: str) -> None:
    assert settings(SERVICE)[key] == [value]


def test_unit_waits_longer_than_a_shutdown_may_take() -> None:
    assert int(settings(SERVICE)["TimeoutStopSec"][0]) > 30


def test_account_and_directories_agree_with_the_unit() -> None:
    unit = settings(SERVICE)
    assert re.search(rf"(?m)^u {unit['User'][0]} ", (PACKAGING / "sysusers.d/postreeve.conf").read_text())
    directories = (PACKAGING / "tmpfiles.d/postreeve.conf").read_text()
    for kind, place in (("State", "/var/lib"), ("Configuration", "/etc"), ("Runtime", "/run")):
        mode, name = unit[f"{kind}DirectoryMode"][0], unit[f"{kind}Directory"][0]
        assert re.search(rf"(?m)^d {place}/{name} +{mode} ", directories)


@pytest.mark.peer("systemd-analyze")
def test_units_are_understood_by_systemd(tmp_path: Path) -> None:
    # The program is not installed where the unit will look for it; everything else is as shipped.
    text = SERVICE.read_text().replace("/opt/postreeve/bin/postreeve", "/bin/true")
    (tmp_path / SERVICE.name).write_text(text)
    (tmp_path / SOCKET.name).write_text(SOCKET.read_text())
    units = [tmp_path / SERVICE.name, tmp_path / SOCKET.name]
    done = subprocess.run(
        ["systemd-analyze", "verify", *units], capture_output=True, text=True, timeout=60, check=False
    )
    about_ours = [line for line in done.stderr.splitlines() if "postreeve" in line]
    assert (done.returncode, about_ours) == (0, [])


@pytest.mark.peer("systemd-analyze")
def test_unit_is_confined_by_the_measure_of_systemd(tmp_path: Path) -> None:
    (tmp_path / SERVICE.name).write_text(SERVICE.read_text())
    command = ["systemd-analyze", "security", "--offline=yes", "--threshold=20", tmp_path / SERVICE.name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout[-2000:]


def test_install_puts_the_program_where_the_unit_looks_for_it(tmp_path: Path) -> None:
    # Compiling takes a minute and is tested by `make test-compiled`.
    places = ["PREFIX=/srv/postreeve", f"DESTDIR={tmp_path}", f"PYTHON={sys.executable}", "ACCELERATE=0"]
    command = ["make", "--no-print-directory", "-C", str(PACKAGING.parent), "install", *places]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    unit = settings(tmp_path / "etc/systemd/system/postreeve.service")
    program = unit["ExecStart"][0].split()[0]
    assert program == unit["ExecStartPre"][0].split()[0] == "/srv/postreeve/bin/postreeve"
    assert (tmp_path / "usr/local/bin/postreeve").readlink() == Path(program)
    command = [f"{tmp_path}{program}", "--version"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == f"postreeve {__version__}\n"
    library = next(tmp_path.glob("srv/postreeve/lib/python*/site-packages/postreeve"))
    assert (library / "__init__.py").is_file(), "it must not need the checkout"


def test_install_refuses_a_place_that_the_account_cannot_reach() -> None:
    command = ["make", "-C", str(PACKAGING.parent), "install", "PREFIX=/root/postreeve", "DESTDIR="]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert "out of reach for a service: take a place such as /opt/postreeve" in done.stderr

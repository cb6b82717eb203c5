"""`quickstart`: everything is made, nothing is overwritten."""

import json
import os
import smtplib
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from postreeve.app import configuration
from postreeve.app.quickstart import DEFAULT_DATA, make_plan, remaining
from postreeve.app.startup import StartupError
from tests.lab.server import Server


def run(directory: Path, *options: str) -> subprocess.CompletedProcess[str]:
    places = ["--config", str(directory / "etc" / "postreeve.toml"), "--data", str(directory / "data")]
    places += ["--user", "nobody"] if os.geteuid() == 0 else []
    command = [
        sys.executable,
        "-m",
        "postreeve",
        "quickstart",
        "mail.example.org",
        "jane@example.org",
        *places,
        *options,
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that the server's account can reach, as those of pytest are not."""
    with tempfile.TemporaryDirectory(prefix="postreeve-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def snapshot(directory: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_quickstart_writes_a_configuration_that_is_fine(place: Path) -> None:
    done = run(place)
    assert done.returncode == 0, done.stderr
    installation = configuration.read(place / "etc" / "postreeve.toml")
    assert configuration.check_files(installation) == ()
    assert installation.data_dir == place / "data"
    for word in ("MX 10 mail.example.org.", "PTR", "v=spf1", "certificate", "incoming TCP 25", "outgoing TCP 25"):
        assert word in done.stdout
    assert done.stdout.count("   because ") == 8


def test_quickstart_password_works(place: Path) -> None:
    report = json.loads(run(place, "--json").stdout)
    config = place / "etc" / "postreeve.toml"
    for port in (25, 465, 587):
        config.write_text(config.read_text().replace(f"port = {port}\n", 'port = 0\naddresses = ["127.0.0.1"]\n'))
    server = Server(place, config_file=config)
    context = ssl.create_default_context(cafile=str(place / "data" / "tls" / "certificate.pem"))
    context.check_hostname = False
    with server, smtplib.SMTP_SSL("127.0.0.1", server.port("submissions"), context=context, timeout=20) as client:
        client.login(report["account"], report["password"])
        client.sendmail("jane@example.org", ["info@example.org"], "From: jane@example.org\r\n\r\nhello\r\n")
        server.wait_for_log("event=recipient_delivered")
        assert len(list((place / "data" / "mail" / "example.org" / "info" / "new").iterdir())) == 1


def test_quickstart_keeps_secrets_from_other_accounts(place: Path) -> None:
    run(place)
    for name in ("data/tls/key.pem", "data/accounts.db", "etc/postreeve.toml"):
        assert (place / name).stat().st_mode & 0o007 == 0
    assert (place / "data").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("name", ["etc/postreeve.toml", "data/tls/key.pem", "data/accounts.db"])
def test_quickstart_never_overwrites(place: Path, name: str) -> None:
    path = place / name
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    before = snapshot(place)
    done = run(place)
    assert done.returncode == 1
    assert "is there already (nothing was changed" in done.stderr
    assert str(path.parent) in done.stderr
    assert snapshot(place) == before


def test_quickstart_twice_changes_nothing(place: Path) -> None:
    assert run(place).returncode == 0
    before = snapshot(place)
    assert run(place).returncode == 1
    assert snapshot(place) == before


@pytest.mark.parametrize(
    ("hostname", "address", "words"),
    [
        ("mail", "jane@example.org", "no fully qualified host name"),
        ("[192.0.2.1]", "jane@example.org", "no fully qualified host name"),
        ("mail.example.org", "jane", "no mail address"),
        ("mail.example.org", "jane@[192.0.2.1]", "no mail address"),
        ("mail.example.org", "j@ne@example.org", "no mail address"),
    ],
)
def test_quickstart_refuses_names_that_are_none(tmp_path: Path, hostname: str, address: str, words: str) -> None:
    with pytest.raises(StartupError, match=words):
        make_plan(hostname, address, tmp_path / "x", tmp_path / "y", "")


def test_quickstart_that_fails_leaves_nothing_behind(place: Path) -> None:
    """Also where it could make some of it: here the configuration would be below a file."""
    (place / "etc").write_text("a file")
    done = run(place)
    assert done.returncode == 1
    assert "nothing was changed" in done.stderr
    assert sorted(path.name for path in place.rglob("*")) == ["etc"]


def test_quickstart_names_its_places_in_what_it_tells_to_run(place: Path) -> None:
    steps = json.loads(run(place, "--json").stdout)["remaining"][-1]["lines"]
    assert steps == [
        f"postreeve {name} --config {place}/etc/postreeve.toml" for name in ("config check", "serve", "status")
    ]
    usual = make_plan("mail.example.org", "jane@example.org", configuration.SYSTEM_FILE, DEFAULT_DATA, "postreeve")
    lines = remaining(usual)[-1].lines
    assert lines[0] == "postreeve config check"
    assert lines[1].startswith("systemctl enable --now postreeve")

"""`quickstart`: everything is made, nothing is overwritten."""

import json
import os
import smtplib
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from postreeve.app import configuration
from postreeve.app.quickstart import make_plan
from postreeve.app.startup import StartupError


def run(directory: Path, *options: str) -> subprocess.CompletedProcess[str]:
    places = ["--config", str(directory / "etc" / "postreeve.toml"), "--data", str(directory / "data")]
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
def account() -> None:
    """As root the files go to the account postreeve, which must be there."""
    if os.geteuid() == 0:
        import pwd

        try:
            pwd.getpwnam("postreeve")
        except KeyError:
            pytest.skip("as root this needs the account postreeve (useradd --system --user-group postreeve)")


def snapshot(directory: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_quickstart_writes_a_configuration_that_is_fine(tmp_path: Path, account: None) -> None:
    done = run(tmp_path)
    assert done.returncode == 0, done.stderr
    installation = configuration.read(tmp_path / "etc" / "postreeve.toml")
    assert configuration.check_files(installation) == ()
    assert installation.data_dir == tmp_path / "data"
    for word in ("MX 10 mail.example.org.", "PTR", "v=spf1", "certificate", "incoming TCP 25", "outgoing TCP 25"):
        assert word in done.stdout
    assert done.stdout.count("   because ") == 8


def test_quickstart_password_works(tmp_path: Path, account: None) -> None:
    report = json.loads(run(tmp_path, "--json").stdout)
    from tests.lab.server import Server

    config = tmp_path / "etc" / "postreeve.toml"
    text = config.read_text()
    for port in (25, 465, 587):
        text = text.replace(f"port = {port}\n", 'port = 0\naddresses = ["127.0.0.1"]\n')
    server = Server(tmp_path)
    server.config_file.write_text(text)
    server.prepare = lambda: None  # type: ignore[method-assign]
    context = ssl.create_default_context(cafile=str(tmp_path / "data" / "tls" / "certificate.pem"))
    context.check_hostname = False
    for path in (tmp_path, *tmp_path.parents):
        if path.stat().st_uid == os.geteuid() and path.is_relative_to("/tmp/pytest-of-root"):
            path.chmod(path.stat().st_mode | 0o055)
    with server, smtplib.SMTP_SSL("127.0.0.1", server.port("submissions"), context=context, timeout=20) as client:
        client.login(report["account"], report["password"])
        client.sendmail("jane@example.org", ["info@example.org"], "From: jane@example.org\r\n\r\nhello\r\n")
        server.wait_for_log("event=recipient_delivered")


@pytest.mark.parametrize("name", ["etc/postreeve.toml", "data/tls/key.pem", "data/accounts.db"])
def test_quickstart_never_overwrites(tmp_path: Path, account: None, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    before = snapshot(tmp_path)
    done = run(tmp_path)
    assert done.returncode == 1
    assert "is there already (nothing was changed" in done.stderr
    assert str(path.parent) in done.stderr
    assert snapshot(tmp_path) == before


def test_quickstart_twice_changes_nothing(tmp_path: Path, account: None) -> None:
    assert run(tmp_path).returncode == 0
    before = snapshot(tmp_path)
    assert run(tmp_path).returncode == 1
    assert snapshot(tmp_path) == before


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
        make_plan(hostname, address, tmp_path / "x", tmp_path / "y")

"""The configuration file on disk."""

from pathlib import Path, PurePosixPath

import pytest

from postreeve.app import configuration
from postreeve.app.configuration import check_files, find, parse, read
from postreeve.config.problem import ConfigError

TEXT = """\
hostname = "mail.example.org"
data_dir = "data"
[[listener]]
port = 25
role = "relay"
tls = "none"
"""
SMARTHOST = """\
[[route]]
domains = ["*"]
via = "smarthost"
host = "smtp.example.com"
username = "u"
password_file = "secret"
"""


def complaint(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        read(path)
    return str(caught.value)


def test_read_keeps_paths_relative_to_the_file(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text(TEXT)
    assert read(path).data_dir == tmp_path / "data"


def test_read_takes_what_editors_on_other_systems_write(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_bytes(b"\xef\xbb\xbf" + TEXT.replace("\n", "\r\n").encode())
    assert read(path).config.hostname.ascii == "mail.example.org"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\xff", "line 1: is not UTF-8"),
        (b"a = 1\n\xff", "line 2: is not UTF-8"),
        (b"#" * 2_000_000, "larger than 1 MiB"),
    ],
    ids=["binary", "second line", "huge"],
)
def test_read_refuses_what_is_no_configuration(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "c.toml"
    path.write_bytes(content)
    assert words in complaint(path)


def test_read_says_what_to_do_when_there_is_no_file(tmp_path: Path) -> None:
    assert "No such file or directory (make one with `postreeve quickstart`)" in complaint(tmp_path / "c.toml")
    assert "Is a directory" in complaint(tmp_path)


def test_password_is_the_first_line_of_its_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("pass word \r\nnote\n")
    installation = parse(tmp_path / "c.toml", TEXT + SMARTHOST)
    assert installation.secrets == {PurePosixPath(tmp_path / "secret"): "pass word "}


def test_password_file_that_is_missing_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text(TEXT + SMARTHOST)
    text = complaint(path)
    assert "line 12: route[1].password_file: " in text
    assert "secret cannot be read: No such file" in text


def test_check_files_names_the_setting_of_each_broken_file(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text(TEXT + '[tls]\ncertificate = "c.pem"\nkey = "k.pem"\n[log]\nfile = "no/log"\n')
    found = {(one.line, one.path) for one in check_files(read(path))}
    assert found == {(8, "tls.certificate"), (11, "log.file")}


def test_find_prefers_what_is_said_over_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(configuration, "SYSTEM_FILE", tmp_path / "system.toml")
    monkeypatch.delenv("POSTREEVE_CONFIG", raising=False)
    with pytest.raises(ConfigError, match="no configuration file: looked for"):
        find(None)
    dev = tmp_path / "state" / "postreeve" / "dev" / "postreeve.toml"
    dev.parent.mkdir(parents=True)
    dev.touch()
    assert find(None) == dev
    with pytest.raises(ConfigError):
        find(None, is_tool=False)
    (tmp_path / "system.toml").touch()
    assert find(None) == tmp_path / "system.toml"
    monkeypatch.setenv("POSTREEVE_CONFIG", "/named")
    assert find(None) == Path("/named")
    assert find(Path("/given")) == Path("/given")

"""`postreeve lint` and `postreeve snippet` as somebody at a terminal, a commit hook and a code host use them."""

from __future__ import annotations

import json
import os
import shutil
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from postreeve import cli
from postreeve.checks.settings.rule import BY_ID
from postreeve.cli import lint_files
from postreeve.clientconfig.kind import KINDS
from postreeve.clientconfig.settings import TlsMode
from tests.cli.test_probe import serving
from tests.lab.misbehaving import PASSWORD, USERNAME, Manner

_CORPUS = Path(__file__).parents[1] / "clientconfig" / "corpus"
_SECRET = "kd93kdjFw2"
_WRONG = f"""\
import os
EMAIL_HOST = "smtp.gmial.com"  # ours
EMAIL_PORT = 465
EMAIL_USE_TLS = True
EMAIL_HOST_USER = "someone@gmail.com"
EMAIL_HOST_PASSWORD = "{_SECRET}"
EMAIL_TIMEOUT = 5
"""
_RIGHT = "SMTP_HOST=smtp.example.com\nSMTP_PORT=465\nSMTP_SECURE=true\nSMTP_USER=a@example.com\nSMTP_PASS=x9kd8jLw\n"

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def go(*words: str | Path) -> tuple[int, str, str]:
        capsys.readouterr()
        given = [str(word) for word in words]
        status = cli._run(cli._program([given[0]]), given)
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return status, captured.out, captured.err

    return go


@pytest.fixture
def wrong(tmp_path: Path) -> Path:
    file = tmp_path / "settings.py"
    file.write_text(_WRONG)
    return file


def test_lint_names_file_line_finding_and_correction_without_the_password(run: Run, wrong: Path) -> None:
    status, out, err = run("lint", wrong)
    assert status == 1
    assert f"{wrong}:2: error: The host looks misspelt [host-misspelt]" in out
    assert "-EMAIL_USE_TLS = True" in out
    assert "+EMAIL_USE_SSL = True" in out
    assert '+EMAIL_HOST = "smtp.gmail.com"  # ours' in out
    assert _SECRET not in out + err
    assert wrong.read_text() == _WRONG


@pytest.mark.parametrize("option", ["--json", "--sarif", ""])
def test_lint_never_prints_a_password_wherever_it_stands(run: Run, tmp_path: Path, option: str) -> None:
    (tmp_path / "a.env").write_text(f"SMTP_HOST=smtp://app:{_SECRET}@smtp.example.com:587\nSMTP_USER=app@example.com\n")
    (tmp_path / ".env").write_text(f"MAILER_DSN=smtps://app:{_SECRET}@smtp.example.com:587\n")
    (tmp_path / "compose.yaml").write_text(
        "services:\n  a:\n    environment:\n      SMTP_HOST: smtp.example.com\n"
        f"      SMTP_PASSWORD: {_SECRET}\n      SMTP_PORT: 587\n      SMTP_SECURE: 'true'\n"
    )
    status, out, err = run("lint", *([option] if option else []), tmp_path)
    assert status == 1
    assert "host-not-a-name" in out
    assert "port-tls-mismatch" in out
    assert _SECRET not in out + err


def test_lint_fix_writes_in_place_keeps_mode_and_backup_and_is_clean_then(run: Run, tmp_path: Path) -> None:
    file = tmp_path / ".env"
    before = b"SMTP_HOST=smtp.example.com\r\nSMTP_PORT=587\r\nSMTP_SECURE=true\r\nSMTP_USER=a@example.com\r\n"
    file.write_bytes(before)
    file.chmod(0o640)
    status, out, _ = run("lint", "--fix", file)
    assert status == 0
    assert "corrected" in out
    assert file.read_bytes() == before.replace(b"SECURE=true", b"SECURE=false")
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert (tmp_path / ".env~").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == [".env", ".env~"]
    status, out, _ = run("lint", "--fix", tmp_path)
    assert (status, "nothing to complain about" in out) == (0, True)


def test_lint_fix_keeps_a_byte_order_mark_and_octets_that_are_no_utf8(run: Run, tmp_path: Path) -> None:
    marked, latin = tmp_path / "marked.env", tmp_path / "latin.env"
    marked.write_bytes(b"\xef\xbb\xbfSMTP_HOST=smtp.example.com\nSMTP_PORT=587\nSMTP_SECURE=true\n")
    latin.write_bytes(b"# f\xfcr uns\nSMTP_HOST=smtp.example.com\nSMTP_PORT=587\nSMTP_SECURE=true\n")
    run("lint", "--fix", marked, latin)
    assert marked.read_bytes().startswith(b"\xef\xbb\xbfSMTP_HOST")
    assert b"SMTP_SECURE=false" in marked.read_bytes()
    assert latin.read_bytes().startswith(b"# f\xfcr uns\n")
    assert b"SMTP_SECURE=false" in latin.read_bytes()


def test_lint_fix_follows_a_symbolic_link(run: Run, tmp_path: Path, wrong: Path) -> None:
    link = tmp_path / "link.py"
    link.symlink_to(wrong)
    run("lint", "--fix", link)
    assert link.is_symlink()
    assert "smtp.gmail.com" in wrong.read_text()


def test_lint_is_silent_about_right_files(run: Run, tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text(_RIGHT)
    assert run("lint", file)[0] == 0


def test_lint_walks_directories_without_what_others_wrote(run: Run, tmp_path: Path) -> None:
    for folder in ("app", "node_modules/x", "vendor/y", ".git"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "settings.py").write_text(_WRONG)
    (tmp_path / "app" / "long.py").write_text(_WRONG + "#" * 1_100_000)
    (tmp_path / "app" / "binary.py").write_bytes(b"\0\1\2EMAIL_HOST = 'x'")
    status, out, _ = run("lint", "--json", tmp_path)
    assert status == 1
    assert [one["file"] for one in json.loads(out)["files"]] == [str(tmp_path / "app" / "settings.py")]


def test_lint_json_has_what_was_read_and_found(run: Run, wrong: Path) -> None:
    _, out, _ = run("lint", "--json", wrong)
    (file,) = json.loads(out)["files"]
    (settings,) = file["settings"]
    assert settings["host"] == "smtp.gmial.com"
    assert settings["mode"] == "starttls"
    assert settings["has_password"] is True
    assert [one["id"] for one in file["findings"]] == ["host-misspelt", "port-tls-mismatch", "secret-in-file"]
    assert _SECRET not in out


def test_lint_sarif_has_the_structure_that_the_standard_demands(run: Run, wrong: Path) -> None:
    _, out, _ = run("lint", "--sarif", wrong)
    document = json.loads(out)
    assert document["version"] == "2.1.0"
    (one,) = document["runs"]
    driver = one["tool"]["driver"]
    assert driver["name"] == "postreeve"
    assert [rule["id"] for rule in driver["rules"]] == list(BY_ID)
    assert all(rule["shortDescription"]["text"] and rule["fullDescription"]["text"] for rule in driver["rules"])
    assert len(one["results"]) == 3
    for result in one["results"]:
        assert result["ruleId"] == driver["rules"][result["ruleIndex"]]["id"]
        assert result["level"] in ("none", "note", "warning", "error")
        assert result["message"]["text"]
        (location,) = result["locations"]
        place = location["physicalLocation"]
        assert place["region"]["startLine"] >= 1
        assert " " not in place["artifactLocation"]["uri"]
    assert _SECRET not in out


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ((), "name at least one file"),
        (("/there/is/no/such/file",), "no such file"),
        (("--kind", "nothing", "."), "no kind 'nothing'"),
        (("BINARY",), "binary"),
        (("--probe", "--ca-file", "/no/such.pem", "."), "--ca-file"),
    ],
    ids=["nothing", "missing", "kind", "binary", "authorities"],
)
def test_lint_says_in_one_line_what_was_wrong_to_ask(
    run: Run, tmp_path: Path, words: tuple[str, ...], problem: str
) -> None:
    binary = tmp_path / "binary"
    binary.write_bytes(os.urandom(64) + b"\0")
    status, out, err = run("lint", *(binary if word == "BINARY" else word for word in words))
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert problem in err


def test_lint_reads_a_file_as_the_kind_that_it_is_told(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "x.py"
    file.write_text(_WRONG)
    assert json.loads(run("lint", "--json", "--kind", "rails", file)[1])["files"][0]["settings"] == []
    assert json.loads(run("lint", "--json", "--kind", "django", file)[1])["files"][0]["settings"]


def test_lint_fix_leaves_a_read_only_file_and_says_so_once(run: Run, wrong: Path) -> None:
    wrong.chmod(0o444)
    status, _, err = run("lint", "--fix", wrong)
    assert status == 2
    assert err == f"postreeve lint: {wrong}: read-only, not corrected\n"
    assert wrong.read_text() == _WRONG
    assert sorted(path.name for path in wrong.parent.iterdir()) == ["settings.py"]


def test_lint_fix_loses_nothing_of_a_file_that_changed_meanwhile(
    run: Run, wrong: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = lint_files.read

    def read_and_change(path: Path, *, is_named: bool) -> lint_files.Text | lint_files.Skipped:
        text = read(path, is_named=is_named)
        path.write_text("# somebody else was here\n" + _WRONG)
        return text

    monkeypatch.setattr(lint_files, "read", read_and_change)
    status, _, err = run("lint", "--fix", wrong)
    assert status == 2
    assert err.count("\n") == 1
    assert "changed in the meantime" in err
    assert wrong.read_text().startswith("# somebody else was here\n")
    assert not (wrong.parent / "settings.py~").exists()


def test_lint_fix_keeps_an_older_backup_and_corrects_the_rest_when_one_fails(run: Run, tmp_path: Path) -> None:
    one, other = tmp_path / "a.env", tmp_path / "b.env"
    for file in (one, other):
        file.write_text("SMTP_HOST=smtp.example.com\nSMTP_PORT=587\nSMTP_SECURE=true")
    (tmp_path / "b.env~").write_text("precious")
    one.chmod(0o400)
    status, out, _ = run("lint", "--fix", one, other)
    assert status == 2
    assert "b.env.~2~ has what was there" in out
    assert (tmp_path / "b.env~").read_text() == "precious"
    assert other.read_text() == "SMTP_HOST=smtp.example.com\nSMTP_PORT=587\nSMTP_SECURE=false"


def test_lint_fix_keeps_tabs_and_a_missing_last_line_end(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "mail.js"
    before = "const t = nodemailer.createTransport({\n\thost: 'smtp.example.com',\n\tport: 587,\n\tsecure: true,\n});"
    file.write_text(before)
    run("lint", "--fix", file)
    after = file.read_text()
    assert "\n\tsecure: false,\n" in after
    assert "\n\trequireTLS: true" in after
    assert run("lint", "--fix", file)[0] == 0
    assert file.read_text() == after
    assert not after.endswith("\n")


def test_lint_says_what_it_skipped(run: Run, tmp_path: Path) -> None:
    (tmp_path / "long.py").write_text(_WRONG + "#" * 1_100_000)
    (tmp_path / "binary.py").write_bytes(b"\0\1\2EMAIL_HOST = 'x'")
    _, out, _ = run("lint", tmp_path)
    assert "binary.py: skipped: binary" in out
    assert "long.py: skipped: not a regular file or longer than 1 MiB" in out
    skipped = json.loads(run("lint", "--json", tmp_path)[1])["skipped"]
    assert sorted(Path(one["file"]).name for one in skipped) == ["binary.py", "long.py"]


_IN_CODE = {
    "a.go": f'package m\nvar d = gomail.NewDialer("smtp.example.com", 587, "a@example.com", "{_SECRET}")\n',
    "a.py": "import smtplib\ns = smtplib.SMTP('smtp.example.com', 587)\n" + f"s.login('a@example.com', '{_SECRET}')\n",
    "A.cs": f'using MailKit;\nc.Connect("smtp.example.com", 465, true);\nc.Authenticate("a", "{_SECRET}");\n',
    "A.java": 'class A {\nvoid f() {\np.put("mail.smtp.host", "smtp.example.com");\n'
    f'p.put("mail.smtp.password", "{_SECRET}");\n}}\n}}\n',
}


@pytest.mark.parametrize("option", ["--json", "--sarif", ""])
@pytest.mark.parametrize("name", _IN_CODE)
def test_lint_never_prints_a_password_that_is_an_argument(run: Run, tmp_path: Path, name: str, option: str) -> None:
    (tmp_path / name).write_text(_IN_CODE[name])
    status, out, err = run("lint", *([option] if option else []), tmp_path)
    assert status == 1
    assert "secret-in-file" in out
    assert _SECRET not in out + err


def test_lint_probe_connects_to_what_the_file_names(run: Run, tmp_path: Path) -> None:
    import socket

    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    file = tmp_path / ".env"
    file.write_text(f"SMTP_HOST=127.0.0.1\nSMTP_PORT={port}\nSMTP_USER=a\nSMTP_PASS={_SECRET}\n")
    status, out, err = run("lint", "--probe", "--json", file)
    (probe,) = json.loads(out)["probes"]
    assert status == 1
    assert probe["stage"] == "tcp"
    assert _SECRET not in out + err


def test_lint_of_a_thousand_files_is_quick(run: Run, tmp_path: Path) -> None:
    files = [path for path in sorted(_CORPUS.rglob("*")) if path.is_file()]
    for number in range(1_000):
        folder = tmp_path / str(number)
        folder.mkdir()
        file = files[number % len(files)]
        shutil.copy(file, folder / file.name)
    begun = time.process_time()
    run("lint", "--json", tmp_path)
    assert time.process_time() - begun < 4, "the goal is 2 s on an idle machine"


# --- snippet ---------------------------------------------------------------------------------------------------------


def test_snippet_lists_every_kind(run: Run) -> None:
    status, out, _ = run("snippet", "--list")
    assert status == 0
    assert {line.split()[0] for line in out.splitlines()} == {kind.name for kind in KINDS}


def test_snippet_takes_port_and_mode_of_a_known_provider(run: Run) -> None:
    _, out, _ = run("snippet", "django", "--host", "smtp.office365.com", "--port", "587", "--user", "a@example.com")
    assert "EMAIL_PORT = 587\nEMAIL_USE_TLS = True\n" in out


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ((), "name a kind"),
        (("nothing",), "no kind"),
        (("env", "--host", "a b"), "--host"),
        (("env", "--user", 'x"y'), "--user"),
        (("env", "--tls", "ssl3"), "--tls"),
        (("web-config", "--tls", "implicit"), "cannot do implicit"),
    ],
    ids=["nothing", "kind", "host", "user", "tls", "mode"],
)
def test_snippet_says_in_one_line_what_was_wrong_to_ask(run: Run, words: tuple[str, ...], problem: str) -> None:
    status, out, err = run("snippet", *words)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert problem in err


@pytest.mark.parametrize("kind", [kind.name for kind in KINDS])
def test_snippet_prints_something_for_the_best_mode(run: Run, kind: str) -> None:
    found = next(one for one in KINDS if one.name == kind)
    status, out, _ = run("snippet", kind)
    assert status == 0
    assert out.endswith("\n")
    assert kind == "postfix-services" or ("465" if TlsMode.IMPLICIT in found.modes else "587") in out


# --- probe -----------------------------------------------------------------------------------------------------------

_LOGIN = f"SMTP_USER={USERNAME}\nSMTP_PASSWORD={PASSWORD}\n"
_PROBES = {
    "healthy": (Manner(tls=""), "none", "", "ok"),
    "wrong mode": (Manner(tls=""), "ssl", _LOGIN, "tls-to-plain"),
    "expired": (Manner(tls="expired", is_implicit=True), "ssl", _LOGIN, "cert-expired"),
    "in clear": (Manner(tls="", clear_auth=True), "none", _LOGIN, "auth-in-clear"),
}


@pytest.mark.parametrize("name", _PROBES)
@pytest.mark.parametrize("option", ["--json", ""])
def test_lint_probe_gives_the_verdict_with_its_place_and_no_secret(
    run: Run, tmp_path: Path, name: str, option: str
) -> None:
    manner, encryption, login, cause = _PROBES[name]
    file = tmp_path / "mail.env"
    with serving(manner, tmp_path) as (port, server):
        file.write_text(f"# ours\n\nSMTP_HOST=127.0.0.1\nSMTP_PORT={port}\nSMTP_ENCRYPTION={encryption}\n{login}")
        trusted = str(tmp_path / "trusted.pem")
        status, out, err = run("lint", "--probe", "--ca-file", trusted, *([option] if option else []), file)
        assert len(server.connections) <= 3
        assert not any(PASSWORD.encode() in one.received for one in server.connections)
    assert status == (0 if name == "healthy" else 1)
    assert f"{file}:3: 127.0.0.1:{port}" in out
    assert cause in out
    assert PASSWORD not in out + err
    if option:
        (probe,) = json.loads(out)["probes"]
        assert (probe["cause"], probe["confidence"]) == (cause, "high")
    elif name != "healthy":
        assert "\n    fix: " in out
        assert "\\n" not in out.partition("fix: ")[2]

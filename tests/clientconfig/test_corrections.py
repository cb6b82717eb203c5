"""Corrections of services' settings: they say what was wanted, touch nothing else and still parse in their format."""

import difflib
import json
import os
import subprocess
from collections.abc import Callable
from configparser import ConfigParser
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from postreeve.clientconfig.edit import apply_edits
from postreeve.clientconfig.settings import SubmissionSettings, TlsMode, Wanted
from postreeve.clientconfig.text import Source
from tests.clientconfig.services import FILES, cases, kind_of, name_of

WISHES = [
    Wanted(),
    Wanted(mode=TlsMode.IMPLICIT, port=465),
    Wanted(mode=TlsMode.STARTTLS, port=587),
    Wanted(mode=TlsMode.OPPORTUNISTIC),
    Wanted(mode=TlsMode.PLAIN, port=25),
    Wanted(mode=TlsMode.BOTH),
    Wanted(host="relay.example.org"),
    Wanted(port=2525),
    Wanted(username="ben@example.org"),
    Wanted(sender="ben@example.org"),
    Wanted(verifies_certificate=True),
    Wanted(verifies_certificate=False),
    Wanted(timeout_seconds=30.0),
    Wanted("relay.example.org", 465, TlsMode.IMPLICIT, "ben@example.org", "ben@example.org", True, 30.0),
]


def fulfils(found: SubmissionSettings, wanted: Wanted) -> bool:
    """Whether settings say what was wanted; a place that the file does not show counts as fulfilled."""
    pairs = (
        (wanted.host, found.host),
        (wanted.port, found.port),
        (wanted.username, found.username),
        (wanted.sender, found.sender),
        (wanted.verifies_certificate, found.verifies_certificate),
        (wanted.timeout_seconds, found.timeout_seconds),
    )
    return all(wish is None or value is None or value.value == wish for wish, value in pairs)


def mode_fulfils(found: SubmissionSettings, wanted: Wanted, modes: frozenset[TlsMode]) -> bool:
    if wanted.mode is None or found.mode is None or found.mode.value is wanted.mode:
        return True
    # A program that cannot insist on STARTTLS takes it when it is offered, which is as near as it comes.
    return (
        wanted.mode is TlsMode.STARTTLS and TlsMode.STARTTLS not in modes and found.mode.value is TlsMode.OPPORTUNISTIC
    )


@pytest.mark.parametrize("path", cases(), ids=name_of)
def test_correct_makes_it_so_and_parses(path: Path) -> None:
    text, name = path.read_text(), name_of(path)
    kind = kind_of(name.partition("/")[0])
    for one in kind.read(name, text):
        for wanted in WISHES:
            edits = kind.correct(text, one, wanted)
            if edits is None:
                continue
            assert list(edits) == sorted(edits, key=lambda edit: (edit.start, edit.end))
            corrected = apply_edits(text, edits)
            again = {each.line - one.line: each for each in kind.read(name, corrected)}
            if not again:
                assert (wanted.mode, one.host) == (None, None)
                continue
            found = again.get(0) or min(again.values(), key=lambda each: abs(each.line - one.line))
            assert fulfils(found, wanted), (wanted, corrected)
            assert mode_fulfils(found, wanted, kind.modes), (wanted, corrected)
            assert len(found.contradictions) <= len(one.contradictions)
            assert kind.correct(corrected, found, wanted) == ()
            assert parses(name, corrected)
            assert comments(corrected) == comments(text)


def parses(name: str, text: str) -> bool:
    match name.rpartition(".")[2]:
        case "json":
            json.loads(text)
        case "yml":
            yaml.safe_load(text)
        case "ini" if not name.startswith("gitea"):
            ConfigParser(interpolation=None).read_string(text)
        case "js":
            assert all(line.endswith(");") for line in text.splitlines() if line and not line.startswith("//"))
        case "env" | "production" | "rb":
            assert all("=" in line for line in text.splitlines() if line and line[0] not in "#e")
    return True


def comments(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.lstrip().startswith(("#", ";", "//"))]


def test_correct_changes_only_the_lines_of_its_settings() -> None:
    path = next(path for path in cases() if name_of(path).startswith("gitea/smtps-on-587"))
    text = path.read_text()
    kind = kind_of("gitea")
    edits = kind.correct(text, kind.read("app.ini", text)[0], Wanted(port=465))
    assert edits is not None
    changed = list(difflib.ndiff(text.splitlines(), apply_edits(text, edits).splitlines()))
    assert [line for line in changed if line[0] in "+-"] == ["- SMTP_PORT = 587", "+ SMTP_PORT = 465"]


def test_correct_keeps_line_ends_of_windows() -> None:
    for path in cases():
        text, name = path.read_text().replace("\n", "\r\n"), name_of(path)
        kind = kind_of(name.partition("/")[0])
        for one in kind.read(name, text):
            edits = kind.correct(text, one, WISHES[1]) or ()
            assert "\n" not in apply_edits(text, edits).replace("\r\n", "")


def test_correct_leaves_what_comes_from_elsewhere() -> None:
    text = "[smtp]\nenabled = true\nhost = ${SMTP_HOST}\nfrom_address = a@example.com\n"
    kind = kind_of("grafana")
    assert kind.correct(text, kind.read("grafana.ini", text)[0], Wanted(host="smtp.example.com")) is None


JUNK = st.sampled_from(
    ['"', "'", "\\", "\n", "\r\n", "=", ":", "::", "[", "]", "{", "}", "(", ")", "$", "${", "#", "-o ", "@", "\0", "é",
     "\u2028", " ", "\t", ";", "<%", "`", "465", "\n  ", "begin transports\n", "account default\n", "[mailer]\n"]
)  # fmt: skip
CUTS = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 40), JUNK), max_size=6)


@settings(max_examples=150)
@given(st.sampled_from(cases()), CUTS, st.sampled_from(WISHES))
def test_read_and_correct_survive_any_damage(path: Path, cuts: list[tuple[float, int, str]], wanted: Wanted) -> None:
    text, name = path.read_text(), name_of(path)
    for place, length, junk in cuts:
        at = int(place * len(text))
        text = text[:at] + junk + text[at + length :]
    for kind in map(kind_of, FILES):
        kind.recognises(name, text)
        for one in kind.read(name, text):
            edits = kind.correct(text, one, wanted)
            if edits is not None:
                kind.read(name, apply_edits(text, edits))
    assert Source(text).text == text


LONG = [
    lambda text: text * (150_000 // len(text)),
    lambda text: text + '"' * 60_000,
    lambda text: text + "[" * 60_000,
    lambda text: text + "\n a" * 30_000,
    lambda text: text + "\\\n" * 30_000,
    lambda text: text + " -o a=" * 20_000,
    lambda text: text + "\nset " + "a " * 30_000,
    lambda text: text + "\na = $a" * 10_000,
]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", FILES)
def test_read_takes_linear_time(name: str) -> None:
    path = next(path for path in cases() if name_of(path).startswith(f"{name}/"))
    kind = kind_of(name)
    for make in LONG:
        kind.read(name_of(path), make(path.read_text()))


def run(*command: str | Path, **more: str) -> str:
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
        env=os.environ | more,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


NAMED = "myhostname = mail.example.com\nmydomain = example.com\n"
"""Spares postconf a look-up of this machine's own name."""
POSTFIX = [
    path for path in cases() if name_of(path).split("/")[:2] in (["postfix", "wrapped"], ["postfix", "last-wins"])
]


@pytest.mark.peer("postfix")
@pytest.mark.parametrize("path", POSTFIX, ids=name_of)
def test_postfix_reads_its_file_as_we_do(path: Path, tmp_path: Path, peer: Callable[[str], Path]) -> None:
    peer("postfix")
    kind = kind_of("postfix")
    text = path.read_text()
    for wanted in (None, Wanted(mode=TlsMode.STARTTLS, port=587)):
        edits = kind.correct(text, kind.read("main.cf", text)[0], wanted) if wanted else ()
        assert edits is not None
        corrected = apply_edits(text, edits)
        (tmp_path / "main.cf").write_text(NAMED + corrected)
        (tmp_path / "master.cf").write_text("")
        found = kind.read("main.cf", corrected)[0]
        said = run("/usr/sbin/postconf", "-x", "-h", "-c", tmp_path, "relayhost", "smtp_tls_wrappermode").split("\n")
        assert found.host is not None
        assert found.port is not None
        host, _, service = said[0].removeprefix("[").partition("]")
        assert host == found.host.value
        assert service in (f":{found.port.value}", ":submission")
        assert (said[1] == "yes") is (found.mode is not None and found.mode.value is TlsMode.IMPLICIT)


SERVICES = [path for path in cases() if name_of(path) == "postfix-services/numbers/master.cf"]


@pytest.mark.peer("postfix")
@pytest.mark.parametrize("path", SERVICES, ids=name_of)
def test_postfix_reads_its_services_as_we_do(path: Path, tmp_path: Path) -> None:
    kind = kind_of("postfix-services")
    text = path.read_text()
    for one in kind.read("master.cf", text):
        for wanted in (Wanted(mode=TlsMode.IMPLICIT), Wanted(mode=TlsMode.STARTTLS)):
            edits = kind.correct(text, one, wanted)
            assert edits is not None
            (tmp_path / "main.cf").write_text(NAMED)
            (tmp_path / "master.cf").write_text(apply_edits(text, edits))
            options = run("/usr/sbin/postconf", "-c", tmp_path, "-P").splitlines()
            port = one.port.key if one.port is not None else "smtp"
            mine = {
                line.partition(" = ")[0].rpartition("/")[2]: line for line in options if line.startswith(f"{port}/")
            }
            is_wrapped = mine.get("smtpd_tls_wrappermode", "").endswith("= yes")
            if wanted.mode is not None:
                assert is_wrapped is (wanted.mode is TlsMode.IMPLICIT)


MSMTP = [path for path in cases() if name_of(path).startswith("msmtp/") and "command" not in str(path)]


@pytest.mark.peer("msmtp")
@pytest.mark.parametrize("path", MSMTP, ids=name_of)
def test_msmtp_reads_its_file_as_we_do(path: Path, tmp_path: Path, peer: Callable[[str], Path]) -> None:
    kind = kind_of("msmtp")
    text = path.read_text()
    lines = ["passwordeval printf x" if line.startswith("passwordeval") else line for line in text.splitlines()]
    text = "\n".join(lines) + "\n"
    file = tmp_path / "msmtprc"
    file.write_text(text)
    file.chmod(0o600)
    account = "home" if "accounts/" in name_of(path) else "default"
    found = kind.read("msmtprc", text)[-1]
    shown = run(peer("msmtp"), "-C", file, f"--account={account}", "--pretend", "anna@example.com", HOME=str(tmp_path))
    said = dict(line.split(" = ", 1) for line in shown.splitlines() if " = " in line)
    assert found.host is not None
    assert found.port is not None
    assert found.mode is not None
    assert found.verifies_certificate is not None
    assert (said["host"], said["port"]) == (found.host.value, str(found.port.value))
    mode = {("off", "on"): TlsMode.PLAIN, ("on", "on"): TlsMode.STARTTLS, ("on", "off"): TlsMode.IMPLICIT}
    assert mode[said["tls"], said["tls_starttls"]] is found.mode.value
    assert (said["tls_certcheck"] == "on") is found.verifies_certificate.value
    assert (said["auth"] == "none") is (found.username is None)

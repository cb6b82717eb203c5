"""Every mistake at once, with path, line, reason and hint."""

from pathlib import Path

import pytest

from postreeve.config.loader import load
from postreeve.config.model import Config
from postreeve.config.problem import Problem
from postreeve.config.reference import default_file

GOOD = """\
hostname = "mail.example.org"
data_dir = "data"
[tls]
certificate = "c.pem"
key = "/k.pem"
[[listener]]
port = 25
role = "relay"
[[listener]]
port = 465
role = "submission"
[[domain]]
name = "example.org"
[[route]]
domains = ["example.org"]
via = "maildir"
[[route]]
domains = ["*"]
via = "mx"
"""

MANY = """\
hostnam = "mail.example.org"
data_dir = 5
workers = 0

[[listener]]
port = 587
role = "submision"

[[listener]]
port = 25
role = "relay"
tls = "startls"
auth = true

[[listener]]
port = 465
role = "submission"
tls = "none"
addresses = ["127.0.0.1", "localhost"]

[limits]
max_message = "50 apples"
max_mesage = 3
command_timeout = "5 minutes"
max_errors = "20"

[[domain]]
name = "example.org"

[[route]]
domains = ["exampel.org"]
via = "maildir"
host = "x"

[[route]]
domains = ["*"]
via = "smarthost"
username = "u"
password = "p"
password_file = "f"
tls = "opportunistic"
verify = "yes"

[queue]
retry = ["5m", "soon"]
lifetime = "1d"
warn_after = ["2d"]
"""


def problems(text: str) -> tuple[Problem, ...]:
    loaded = load(text, "/etc/postreeve")
    assert not isinstance(loaded, Config)
    return loaded


def config(text: str) -> Config:
    loaded = load(text, "/etc/postreeve")
    assert isinstance(loaded, Config), loaded
    return loaded


def changed(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new, 1)


def test_load_reads_a_good_file() -> None:
    loaded = config(GOOD)
    assert str(loaded.data_dir) == "/etc/postreeve/data"
    assert str(loaded.tls.key) == "/k.pem"
    assert [one.label for one in loaded.listener] == ["relay-25", "submission-465"]


def test_load_reports_every_mistake_at_once() -> None:
    found = {(one.line, one.path): f"{one.problem} {one.hint}" for one in problems(MANY)}
    expected = {
        (0, "hostname"): "is missing",
        (1, "hostnam"): 'did you mean "hostname"?',
        (2, "data_dir"): "must be text",
        (3, "workers"): "from 1 to 128",
        (7, "listener[1].role"): 'did you mean "submission"?',
        (12, "listener[2].tls"): 'did you mean "starttls"?',
        (13, "listener[2].auth"): "the role decides",
        (18, "listener[3].tls"): "port 465",
        (19, "listener[3].addresses[2]"): "is no IP address",
        (22, "limits.max_message"): "must be a size",
        (23, "limits.max_mesage"): 'did you mean "max_message"?',
        (24, "limits.command_timeout"): "must be a time",
        (25, "limits.max_errors"): "must be a whole number, not '20'",
        (31, "route[1].domains[1]"): 'did you mean "example.org"?',
        (33, "route[1].host"): "no meaning",
        (35, "route[2].host"): "is missing",
        (40, "route[2].password_file"): "both password and password_file",
        (41, "route[2].tls"): "plain text",
        (42, "route[2].verify"): "true or false",
        (45, "queue.retry[2]"): "must be a time",
        (47, "queue.warn_after[1]"): "is not before lifetime",
    }
    assert {key: text for key, text in expected.items() if text not in found.get(key, "")} == {}
    assert set(found) - set(expected) == set()


def test_load_gives_problems_in_the_order_of_the_file() -> None:
    lines = [one.line for one in problems(MANY)]
    assert lines == sorted(lines)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a = \n", 1, "not TOML"),
        ("a = 1\nb = yes\n", 2, "text needs quotes"),
        ("a = 1\n\na = 2\n", 3, "not TOML"),
        ("[[listener]\n", 1, "not TOML"),
        ("a = 'open\n", 1, "not TOML"),
    ],
)
def test_load_says_where_toml_is_broken(text: str, line: int, words: str) -> None:
    (problem,) = problems(text)
    assert problem.line == line
    assert words in str(problem)


@pytest.mark.parametrize(
    ("text", "path", "words"),
    [
        pytest.param(changed('"mail.example.org"', '"mail"'), "hostname", "not fully qualified", id="short hostname"),
        pytest.param(changed('"mail.example.org"', '"[192.0.2.1]"'), "hostname", "not fully", id="literal hostname"),
        pytest.param(changed('"mail.example.org"', '"a b"'), "hostname", "no domain name", id="no hostname"),
        pytest.param(changed('key = "/k.pem"\n', ""), "tls", "key is missing", id="certificate without key"),
        pytest.param(changed('data_dir = "data"', 'data_dir = "~/x"'), "data_dir", "not expanded", id="tilde"),
        pytest.param(changed("port = 465", "port = 25"), "listener[2].addresses[1]", "by listener[1]", id="port taken"),
        pytest.param(
            changed("port = 465", 'name = "relay-25"\nport = 465'), "listener[2].name", "is taken", id="name taken"
        ),
        pytest.param(changed("port = 465", 'port = 587\ntls = "starttls"'), "listener[2].tls", "plain text", id="weak"),
        pytest.param(changed("port = 465", 'port = 587\ntls = "implicit"'), "listener[2].tls", "begins in", id="587"),
        pytest.param(
            changed('role = "relay"', 'role = "relay"\ntls = "required"'),
            "listener[1].tls",
            "refuses",
            id="25 required",
        ),
        pytest.param(changed("port = 25\n", ""), "listener[1].port", "is missing", id="no port"),
        pytest.param(changed("port = 25\n", "port = 70000\n"), "listener[1].port", "65535", id="no such port"),
        pytest.param(changed("port = 25\n", 'port = "25"\n'), "listener[1].port", "whole number", id="port in quotes"),
        pytest.param(changed("port = 25\n", "port = true\n"), "listener[1].port", "whole number", id="true port"),
        pytest.param(GOOD + '[[domain]]\nname = "example.org"\n', "domain[2].name", "twice", id="domain twice"),
        pytest.param(GOOD + '[[domain]]\nname = "example.net"\n', "domain[2].name", "no route", id="domain, no route"),
        pytest.param(
            changed('name = "example.org"', 'name = "example.org"\nrecipients = ["a@example.org"]'),
            "domain[1].recipients",
            "local part only",
            id="address for local part",
        ),
        pytest.param(
            GOOD + '[relay]\nnetworks = ["0.0.0.0/0"]\n', "relay.networks[1]", "open relay", id="open relay v4"
        ),
        pytest.param(GOOD + '[relay]\nnetworks = ["::/0"]\n', "relay.networks[1]", "open relay", id="open relay v6"),
        pytest.param(
            GOOD + '[relay]\nnetworks = ["0.0.0.0/1", "128.0.0.0/1"]\n', "relay.networks[2]", "open relay", id="halves"
        ),
        pytest.param(
            GOOD + '[relay]\nnetworks = ["192.0.2.1/24"]\n', "relay.networks[1]", "192.0.2.0/24", id="host bits"
        ),
        pytest.param(
            changed('role = "relay"', 'role = "relay"\nproxy_from = ["::/0"]'),
            "listener[1].proxy_from[1]",
            "anybody",
            id="proxy from anywhere",
        ),
        pytest.param(changed('domains = ["*"]', "domains = []"), "route[2].domains", "is empty", id="empty route"),
        pytest.param(
            changed('domains = ["*"]', 'domains = ["example.org"]'), "route[2].domains[1]", "never be used", id="twice"
        ),
        pytest.param(changed('domains = ["*"]', 'domains = [".net"]'), "", "no route for other domains", id="no *"),
        pytest.param(
            changed('via = "mx"', 'via = "smarthost"\nhost = "mail.example.org"\nport = 25'),
            "route[2].host",
            "a name of this server",
            id="smarthost is us by name",
        ),
        pytest.param(
            changed('via = "mx"', 'via = "smarthost"\nhost = "127.0.0.1"\nport = 25'),
            "route[2].host",
            "this server itself",
            id="smarthost is us by address",
        ),
        pytest.param(
            changed('via = "mx"', 'via = "mx"\nfallback = { port = 465 }'),
            "route[2].fallback.host",
            "missing",
            id="hop",
        ),
        pytest.param(
            changed('via = "mx"', 'via = "mx"\nfallback = { host = "h.example.com", username = "u" }'),
            "route[2].fallback.username",
            "needs a password",
            id="username without password",
        ),
        pytest.param(
            changed('via = "maildir"', 'via = "maildir"\npath = "/m/{dommain}"'),
            "route[1].path",
            "did you mean {domain}",
            id="placeholder",
        ),
        pytest.param(changed('via = "maildir"', 'via = "maildir"\npath = "m"'), "route[1].path", "relative", id="path"),
        pytest.param(changed('via = "maildir"', 'via = "lmtp"'), "route[1].host", "is missing", id="lmtp nowhere"),
        pytest.param(
            changed('via = "maildir"', 'via = "lmtp"\nhost = "127.0.0.1"\nsocket = "/s"'),
            "route[1].socket",
            "both",
            id="lmtp twice",
        ),
        pytest.param(GOOD + "[limits]\nsoft_errors = 30\n", "limits.soft_errors", "greater", id="soft errors"),
        pytest.param(GOOD + "[limits]\nstress_at = 1.5\n", "limits.stress_at", "1", id="stress beyond all"),
        pytest.param(GOOD + "[limits]\nmax_recipients = 10\n", "limits.max_recipients", "100", id="RFC 5321 minimum"),
        pytest.param(GOOD + "[queue]\nretry = []\n", "queue.retry", "at least 1", id="no retry"),
        pytest.param(GOOD + '[queue]\nmin_free = "200%"\n', "queue.min_free", "below 100 %", id="min_free"),
        pytest.param(
            GOOD + '[queue]\nkeep_conversations = "some"\n', "queue.keep_conversations", "failures", id="keep"
        ),
        pytest.param(
            GOOD + '[delivery]\nsource_ipv4 = "::1"\n', "delivery.source_ipv4", "no IPv4 address", id="source family"
        ),
        pytest.param(
            GOOD + "[delivery]\nper_destination = 600\n", "delivery.per_destination", "greater", id="concurrency"
        ),
        pytest.param(GOOD + '[dns]\nservers = ["dns.example"]\n', "dns.servers[1]", "no DNS server", id="dns name"),
        pytest.param(GOOD + '[metrics]\nlisten = "9125"\n', "metrics.listen", "address and port", id="metrics"),
        pytest.param(GOOD + '[metrics]\nlisten = "127.0.0.1:25"\n', "metrics.listen", "belongs", id="metrics on 25"),
        pytest.param(GOOD + "[tls.extras]\n", "tls.extras", 'did you mean "extra"', id="unknown table"),
        pytest.param(GOOD + "retry = []\n", "route[2].retry", "it belongs into [queue]", id="key in another table"),
        pytest.param(GOOD + "log = 5\n", "route[2].log", "unknown setting", id="table as key"),
        pytest.param("log = 5\n" + GOOD, "log", "must be a table", id="number for table"),
        pytest.param("listener = 5\n", "listener", "must be", id="number for tables"),
    ],
)
def test_load_complains_of(text: str, path: str, words: str) -> None:
    found = [f"{one.problem} {one.hint}" for one in problems(text) if one.path == path]
    assert any(words in text for text in found), problems(text)


@pytest.mark.parametrize("line", range(1, len(GOOD.splitlines()) + 1))
def test_load_never_raises_whatever_line_is_missing(line: int) -> None:
    lines = GOOD.splitlines()
    del lines[line - 1]
    load("\n".join(lines))


def test_load_speaks_of_the_right_element_after_a_broken_one() -> None:
    text = GOOD.replace("port = 25\n", "prt = 25\n").replace("port = 465", 'port = 465\ntls = "none"')
    found = {(one.line, one.path) for one in problems(text)}
    assert (11, "listener[2].tls") in found


def test_default_file_is_a_good_file() -> None:
    assert isinstance(load(default_file()), Config)


def test_default_file_with_all_comments_taken_off_is_understood() -> None:
    lines = []
    for line in default_file().splitlines():
        is_setting = line.startswith("#") and not line.startswith("# ") and "…" not in line
        lines.append(line[1:] if is_setting else line)
    doubtful = {"path", "host", "port", "socket", "username", "password", "password_file", "fallback", "verify"}
    loaded = load("\n".join(lines))
    found = () if isinstance(loaded, Config) else loaded
    assert [one for one in found if one.path.rpartition(".")[2] not in doubtful] == []


def test_brief_of_every_setting_survives_its_own_default(tmp_path: Path) -> None:
    """What the model says is the default is accepted when it is written out."""
    loaded = config(GOOD)
    again = config('user = "postreeve"\nworkers = "auto"\n' + GOOD)
    assert loaded == again

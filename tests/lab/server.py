"""A real `postreeve serve` on free ports, from a configuration given as a dict.

    with Server(tmp_path, {"domain": [{"name": "example.org"}], "route": [...]}) as server:
        smtplib.SMTP("127.0.0.1", server.port("mx"))

What is not given is filled in: hostname mail.example.org, one worker, a certificate for mail.example.org, localhost,
127.0.0.1 and ::1 signed by `server.ca_file`, three listeners on 127.0.0.1 (`mx`, `submission`, `submissions`), mail for
example.org into `server.mail_dir`, all other mail held.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from postreeve.app.authority import Issued, make_authority, make_certificate

START_SECONDS = 60.0
STOP_SECONDS = 35.0
NAMES = ("mail.example.org", "localhost", "127.0.0.1", "::1")


def to_toml(value: Any) -> str:
    """A value as TOML has it, tables inline."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{json.dumps(key)} = {to_toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(to_toml(item) for item in value) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    return json.dumps(str(value))


def to_file(config: Mapping[str, Any]) -> str:
    """The configuration as a TOML text."""
    return "".join(f"{key} = {to_toml(value)}\n" for key, value in config.items())


class Server:
    """One server process with its workers; a context manager. Ends it with SIGTERM and expects exit status 0."""

    def __init__(
        self,
        directory: Path,
        config: Mapping[str, Any] | None = None,
        *,
        workers: int = 1,
        env: Mapping[str, str] | None = None,
        wrapper: Sequence[str] = (),
        pass_fds: Sequence[int] = (),
        config_file: Path | None = None,
    ) -> None:
        """`wrapper` is put before the command, such as ("strace", "-f", "-o", file).

        With `config_file` that file is used as it is; its data directory must be `directory`/data.
        """
        self.directory = directory
        self.data_dir = directory / "data"
        self.mail_dir = directory / "mail"
        self.ca_file = directory / "ca.pem"
        self.certificate_file = directory / "certificate.pem"
        self.key_file = directory / "key.pem"
        self.config_file = config_file or directory / "postreeve.toml"
        self._is_given = config_file is not None
        self.log_file = directory / "server.log"
        self.config = self._with_defaults(dict(config or {}), workers)
        self.process: subprocess.Popen[bytes] | None = None
        self._env = {**os.environ, **(env or {})}
        self._wrapper = list(wrapper)
        self._pass_fds = tuple(pass_fds)

    def _with_defaults(self, given: dict[str, Any], workers: int) -> dict[str, Any]:
        loopback = {"addresses": ["127.0.0.1"], "port": 0}
        mail = str(self.mail_dir / "{local}@{domain}")
        defaults: dict[str, Any] = {
            "hostname": "mail.example.org",
            "data_dir": str(self.data_dir),
            "user": "",
            "workers": workers,
            "tls": {"certificate": str(self.certificate_file), "key": str(self.key_file)},
            "listener": [
                {"name": "mx", "role": "relay", **loopback},
                {"name": "submission", "role": "submission", "tls": "required", **loopback},
                {"name": "submissions", "role": "submission", "tls": "implicit", **loopback},
            ],
            "log": {"level": "debug"},
            "doctor": {"enabled": False},
        }
        if "domain" not in given and "route" not in given:
            defaults["domain"] = [{"name": "example.org"}]
            defaults["route"] = [
                {"domains": ["example.org"], "via": "maildir", "path": mail},
                {"domains": ["*"], "via": "hold"},
            ]
        return defaults | given

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if self.process is None or self.process.poll() is not None:
            return
        if kind is not None:
            self.kill()
            return
        status = self.stop()
        assert status == 0, f"exit status {status}:\n{self.log()[-3000:]}"

    def prepare(self) -> None:
        """Write the configuration, and a certificate unless there is one."""
        self.directory.mkdir(parents=True, exist_ok=True)
        if self._is_given:
            return
        if not self.certificate_file.exists():
            self.renew_certificate()
        self.config_file.write_text(to_file(self.config))

    def renew_certificate(self, names: Sequence[str] = NAMES) -> None:
        """A new certificate in the files' place, of the same authority."""
        key_file = self.directory / "ca.key"
        if self.ca_file.exists():
            authority = Issued(self.ca_file.read_bytes(), key_file.read_bytes())
        else:
            authority = make_authority("test authority", time.time(), 30)
            self.ca_file.write_bytes(authority.certificate)
            key_file.write_bytes(authority.key)
        issued = make_certificate(names, time.time(), 30, authority)
        for path, data in ((self.key_file, issued.key), (self.certificate_file, issued.certificate)):
            draft = path.with_suffix(".new")
            draft.write_bytes(data)
            draft.chmod(0o600)
            draft.replace(path)

    def start(self) -> None:
        """Start and wait until all listeners accept."""
        self.prepare()
        facts = self.data_dir / "run" / "server.json"
        command = [*self._wrapper, sys.executable, "-m", "postreeve", "serve", "--config", str(self.config_file)]
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._env, pass_fds=self._pass_fds
            )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            if facts.exists() and (self._wrapper or json.loads(facts.read_text())["pid"] == self.process.pid):
                return
            time.sleep(0.02)
        self.kill()
        raise AssertionError(f"the server did not start:\n{self.log()[-3000:]}")

    def facts(self) -> dict[str, Any]:
        """What the server says of itself in run/server.json."""
        facts: dict[str, Any] = json.loads((self.data_dir / "run" / "server.json").read_text())
        return facts

    def port(self, listener: str) -> int:
        """The port that a listener got."""
        return next(int(one["port"]) for one in self.facts()["listeners"] if one["name"] == listener)

    def log(self) -> str:
        """All that was logged so far."""
        return self.log_file.read_text() if self.log_file.exists() else ""

    def wait_for_log(self, text: str, seconds: float = 20.0, count: int = 1) -> str:
        """The line with `text`, once it is there `count` times; fails otherwise."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            lines = [line for line in self.log().splitlines() if text in line]
            if len(lines) >= count:
                return lines[count - 1]
            time.sleep(0.02)
        raise AssertionError(f"{text!r} is not {count} times in the log:\n{self.log()[-3000:]}")

    def reload(self, config: Mapping[str, Any] | None = None) -> str:
        """Write a changed configuration if one is given, SIGHUP, and return the line that tells the result."""
        if config is not None:
            self.config |= config
            self.config_file.write_text(to_file(self.config))
        before = self.log().count("event=config_reloaded")
        self.signal(signal.SIGHUP)
        return self.wait_for_log("event=config_reloaded", count=before + 1)

    def worker_pids(self) -> list[int]:
        """The workers' process numbers."""
        pid = self.facts()["pid"]
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def signal(self, number: int) -> None:
        """To the server's parent process."""
        assert self.process is not None
        os.kill(self.facts()["pid"], number)

    def stop(self) -> int:
        """SIGTERM, wait, and return the exit status."""
        assert self.process is not None
        self.signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS)

    def kill(self) -> None:
        """End the parent and its workers at once, as a crash of the machine would."""
        assert self.process is not None
        if self.process.poll() is None:
            for pid in self._family():
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
        self.process.wait(10)

    def _family(self) -> list[int]:
        assert self.process is not None
        found, pending = [], [self.process.pid]
        while pending:
            pid = pending.pop()
            found.append(pid)
            try:
                children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            except OSError:
                continue
            pending += [int(child) for child in children]
        return found

    def messages(self, mailbox: str) -> list[bytes]:
        """What was delivered to a Maildir below `mail_dir` so far."""
        new = self.mail_dir / mailbox / "new"
        return [path.read_bytes() for path in sorted(new.iterdir())] if new.is_dir() else []

    def wait_for_messages(self, mailbox: str, count: int = 1, seconds: float = 20.0) -> list[bytes]:
        """The same, once there are that many."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = self.messages(mailbox)
            if len(found) >= count:
                return found
            time.sleep(0.02)
        raise AssertionError(f"{len(self.messages(mailbox))} of {count} messages:\n{self.log()[-3000:]}")

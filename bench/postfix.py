"""Debian's Postfix as it is shipped, with a private configuration on loopback."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.process import BenchFailed, free_port, running, wait_for_port

_SERVICES = """
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
flush unix n - n 1000? 0 flush
verify unix - - n - 1 verify
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""

_MANNERS = {
    "relay": (),
    "submission": (
        "smtpd_tls_security_level=encrypt",
        "smtpd_sasl_auth_enable=yes",
        "smtpd_recipient_restrictions=permit_sasl_authenticated,reject",
    ),
    "submissions": (
        "smtpd_tls_wrappermode=yes",
        "smtpd_tls_security_level=encrypt",
        "smtpd_sasl_auth_enable=yes",
        "smtpd_recipient_restrictions=permit_sasl_authenticated,reject",
    ),
}

_DOVECOT = """
protocols =
base_dir = {base}/dovecot
log_path = {base}/dovecot.log
ssl = no
auth_mechanisms = plain login
auth_cache_size = 10M
passdb {{
  driver = passwd-file
  args = {base}/passwd
}}
userdb {{
  driver = static
  args = uid=65534 gid=65534 home=/tmp
}}
service auth {{
  unix_listener {sasl} {{
    mode = 0666
  }}
}}
"""


@dataclass(frozen=True, slots=True)
class PostfixServer:
    """A running Postfix."""

    relay_port: int
    submissions_port: int
    master_pid: int
    spool: Path


def is_installed() -> bool:
    """True when Postfix with its load tools, and Dovecot for its SASL, are there."""
    return all(_program(name) for name in ("postfix", "smtp-source", "smtp-sink", "dovecot"))


def _program(name: str) -> str | None:
    return shutil.which(name) or shutil.which(f"/usr/sbin/{name}")


@dataclass(frozen=True, slots=True)
class PrivatePostfix:
    """A Postfix with a configuration, queue and log of its own below `base`, on loopback; only root can start it.

    The tests of the server use it as well as the benchmark.
    """

    base: Path

    @property
    def log_file(self) -> Path:
        """What it says."""
        return self.base / "maillog"

    def prepare(self, ports: Mapping[str, int], settings: Mapping[str, str], processes: str = "-") -> None:
        """Write its files. `ports` by manner: relay, submission, submissions; at most so many `processes` for each."""
        for name in ("etc", "spool", "data"):
            (self.base / name).mkdir(parents=True)
        shutil.chown(self.base / "data", "postfix")
        listeners = ""
        for manner, port in ports.items():
            options = "".join(f"  -o {option}\n" for option in _MANNERS[manner])
            listeners += f"127.0.0.1:{port} inet n - n - {processes} smtpd\n{options}"
        whole = {
            "compatibility_level": "3.6",
            "queue_directory": str(self.base / "spool"),
            "data_directory": str(self.base / "data"),
            "maillog_file": str(self.log_file),
            "maillog_file_prefixes": str(self.base),
            "mydestination": "",
            "inet_interfaces": "all",
            "alias_maps": "",
            **settings,
        }
        etc = self.base / "etc"
        (etc / "main.cf").write_text("".join(f"{name} = {value}\n" for name, value in whole.items()))
        (etc / "master.cf").write_text(listeners + _SERVICES)

    def start(self) -> None:
        """Returns when its master runs. Raises BenchFailed."""
        done = self._run("start")
        if done.returncode != 0:
            said = self.log_file.read_text() if self.log_file.exists() else ""
            raise BenchFailed(f"postfix start: {done.stderr.strip()}\n{said[-2000:]}")

    def stop(self) -> None:
        """Ends it."""
        self._run("stop")

    def master_pid(self) -> int:
        """Its first process."""
        return int((self.base / "spool/pid/master.pid").read_text())

    def _run(self, action: str) -> subprocess.CompletedProcess[str]:
        command = ["/usr/sbin/postfix", "-c", str(self.base / "etc"), action]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@contextmanager
def postfix(base: Path, sink_port: int, hold: bool, certificate: Path, key: Path) -> Iterator[PostfixServer]:
    """Run Postfix under `base`. With `hold`, mail is only accepted: it goes to the hold queue, which nothing reads."""
    private = PrivatePostfix(base)
    relay, submissions = free_port(), free_port()
    sasl = base / "spool" / "sasl"
    settings = {
        "myhostname": "bench.test",
        "relay_domains": "example.com",
        "mynetworks": "127.0.0.0/8",
        "transport_maps": f"inline:{{example.com=smtp:[127.0.0.1]:{sink_port}}}",
        "smtp_host_lookup": "native",
        "smtpd_tls_cert_file": str(certificate),
        "smtpd_tls_key_file": str(key),
        "smtpd_sasl_type": "dovecot",
        "smtpd_sasl_path": str(sasl),
        **({"defer_transports": "smtp"} if hold else {}),
    }
    private.prepare({"relay": relay, "submissions": submissions}, settings, processes="100")
    (base / "dovecot").mkdir()
    (base / "passwd").write_text("bench:{PLAIN}bench-password::::::\n")
    (base / "dovecot.conf").write_text(_DOVECOT.format(base=base, sasl=sasl))
    with running(["dovecot", "-F", "-c", str(base / "dovecot.conf")], base / "dovecot.out"):
        private.start()
        try:
            wait_for_port(relay, 10)
            _wait_for(sasl, 10)
            yield PostfixServer(relay, submissions, private.master_pid(), base / "spool")
        finally:
            private.stop()


def _wait_for(path: Path, seconds: float) -> None:
    ends = time.monotonic() + seconds
    while not path.exists():
        if time.monotonic() > ends:
            raise BenchFailed(f"{path} does not appear")
        time.sleep(0.02)

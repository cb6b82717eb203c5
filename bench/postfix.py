"""Debian's Postfix as it is shipped, with a private configuration on loopback."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.process import BenchFailed, free_port, running, wait_for_port

_MASTER = """
127.0.0.1:{relay} inet n - n - 100 smtpd
127.0.0.1:{submissions} inet n - n - 100 smtpd
  -o smtpd_tls_wrappermode=yes
  -o smtpd_tls_security_level=encrypt
  -o smtpd_sasl_auth_enable=yes
  -o smtpd_recipient_restrictions=permit_sasl_authenticated,reject
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
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""

_MAIN = """
compatibility_level = 3.6
queue_directory = {spool}
data_directory = {data}
myhostname = bench.test
mydestination =
relay_domains = example.com
mynetworks = 127.0.0.0/8
inet_interfaces = all
alias_maps =
transport_maps = inline:{{example.com=smtp:[127.0.0.1]:{sink}}}
smtp_host_lookup = native
maillog_file = {log}
maillog_file_prefixes = {base}
smtpd_tls_cert_file = {certificate}
smtpd_tls_key_file = {key}
smtpd_sasl_type = dovecot
smtpd_sasl_path = {sasl}
{extra}
"""

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


@contextmanager
def postfix(base: Path, sink_port: int, hold: bool, certificate: Path, key: Path) -> Iterator[PostfixServer]:
    """Run Postfix under `base`. With `hold`, mail is only accepted: it goes to the hold queue, which nothing reads."""
    configuration, spool, data = base / "etc", base / "spool", base / "data"
    for directory in (configuration, spool, data, base / "dovecot"):
        directory.mkdir(parents=True)
    shutil.chown(data, "postfix")
    relay, submissions = free_port(), free_port()
    sasl = spool / "sasl"
    (base / "passwd").write_text("bench:{PLAIN}bench-password::::::\n")
    (base / "dovecot.conf").write_text(_DOVECOT.format(base=base, sasl=sasl))
    (configuration / "master.cf").write_text(_MASTER.format(relay=relay, submissions=submissions))
    extra = "defer_transports = smtp" if hold else ""
    (configuration / "main.cf").write_text(
        _MAIN.format(
            spool=spool,
            data=data,
            sink=sink_port,
            base=base,
            log=base / "maillog",
            sasl=sasl,
            certificate=certificate,
            key=key,
            extra=extra,
        )
    )
    with running(["dovecot", "-F", "-c", str(base / "dovecot.conf")], base / "dovecot.out"):
        _postfix(configuration, "start")
        try:
            wait_for_port(relay, 10)
            _wait_for(sasl, 10)
            yield PostfixServer(relay, submissions, int((spool / "pid/master.pid").read_text()), spool)
        finally:
            _postfix(configuration, "stop")


def _wait_for(path: Path, seconds: float) -> None:
    ends = time.monotonic() + seconds
    while not path.exists():
        if time.monotonic() > ends:
            raise BenchFailed(f"{path} does not appear")
        time.sleep(0.02)


def _postfix(configuration: Path, action: str) -> None:
    done = subprocess.run(
        ["/usr/sbin/postfix", "-c", str(configuration), action], capture_output=True, text=True, check=False
    )
    if done.returncode != 0 and action == "start":
        raise BenchFailed(f"postfix {action}: {done.stderr.strip()}")

"""Mail servers from packages that cannot be installed beside Postfix: unpacked into a directory and run from there.

`scripts/peers.sh` puts them into build/peers. Each runs in a mount namespace of its own with the accounts that it
wants and an empty /run, /var/lib and /var/spool.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final, Self

import pytest

from tests.lab.postfix import answers, free_ports, open_up
from tests.lab.waiting import until
from tests.peers import UNPACKED

_ACCOUNTS: Final = ("Debian-exim", "opensmtpd", "opensmtpq")
_ENTER: Final = """
set -e
mount --bind {base}/passwd /etc/passwd
mount --bind {base}/group /etc/group
mount --bind {base}/ld.so.cache /etc/ld.so.cache
mount -t tmpfs tmpfs /run
mkdir /run/unpacked
mount --bind {unpacked} /run/unpacked
for place in /var/lib /var/spool; do mount -t tmpfs tmpfs $place; done
mkdir -p /var/lib/opensmtpd/empty
exec "$@"
"""
_EXIM: Final = """
primary_hostname = mail.example.com
spool_directory = {base}/spool
log_file_path = {base}/log/%s
exim_user = Debian-exim
exim_group = Debian-exim
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port} : {submission} : {submissions}
tls_on_connect_ports = {submissions}
tls_advertise_hosts = *
tls_certificate = {chain}
tls_privatekey = {key}
auth_advertise_hosts = ${{if eq{{$tls_in_cipher}}{{}}{{}}{{*}}}}
acl_smtp_rcpt = check
keep_environment =
queue_only = true

begin acl
check:
  accept domains = example.com
  accept authenticated = *
  deny message = relay not permitted

begin routers
all:
  driver = accept
  transport = file

begin transports
file:
  driver = appendfile
  file = {base}/mail

begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${{if and{{{{eq{{$auth2}}{{{name}}}}}{{eq{{$auth3}}{{{word}}}}}}}{{1}}{{0}}}}
  server_set_id = $auth2
"""
# OpenSMTPD 6.8 with OpenSSL 3 cannot sign in a handshake here ("EVP lib"): it serves port 25 without TLS.
_OPENSMTPD: Final = """
listen on 127.0.0.1 port {port} hostname mail.example.com
action "keep" maildir "/var/spool/keep"
match from any for domain "example.com" action "keep"
"""


class Unpacked:
    """Exim ("exim4") or OpenSMTPD ("smtpd") while the `with` lasts: port 25, Exim 587 and 465 too, all on free ones."""

    def __init__(self, program: str, base: Path, certificate: tuple[Path, Path], name: str, password: str) -> None:
        if os.getuid() != 0:
            pytest.skip("Exim and OpenSMTPD are started by root only")
        self._program = Path("/run/unpacked/usr/sbin") / program
        self._base = base
        self._certificate = certificate
        self._name, self._password = name, password
        self.port, self.submission_port, self.submissions_port = free_ports(3)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._base.mkdir(parents=True, exist_ok=True)
        self._write_accounts()
        self._write_cache()
        config = self._base / "config"
        is_exim = self._program.name == "exim4"
        config.write_text(self._config(_EXIM if is_exim else _OPENSMTPD))
        config.chmod(0o600)
        program = str(self._program)
        daemon = (
            [program, "-C", str(config), "-bdf", "-oP", "/run/pid"] if is_exim else [program, "-d", "-f", str(config)]
        )
        script = _ENTER.format(base=self._base, unpacked=UNPACKED)
        command = ["unshare", "--mount", "sh", "-c", script, "sh", *daemon]
        with (self._base / "out").open("wb") as out:
            self._process = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True)
        ports = (self.port, self.submission_port, self.submissions_port) if is_exim else (self.port,)
        until(lambda: self._has_ended() or all(answers(port) for port in ports), self._program.name)
        assert not self._has_ended(), (self._base / "out").read_text()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)

    def _has_ended(self) -> bool:
        assert self._process is not None
        return self._process.poll() is not None

    def _write_accounts(self) -> None:
        passwd = Path("/etc/passwd").read_text()
        group = Path("/etc/group").read_text()
        for number, name in enumerate(_ACCOUNTS, 64_001):
            passwd += f"{name}:x:{number}:{number}::/nonexistent:/usr/sbin/nologin\n"
            group += f"{name}:x:{number}:\n"
        (self._base / "passwd").write_text(passwd)
        (self._base / "group").write_text(group)
        for folder in ("spool", "log"):
            (self._base / folder).mkdir()
            os.chown(self._base / folder, 64_001, 64_001)
        open_up(self._base)

    def _write_cache(self) -> None:
        """Where libraries are: an environment would not do, the programs clean theirs."""
        places = sorted({file.parent for file in UNPACKED.glob("**/lib/*/*.so*")})
        config = self._base / "ld.so.conf"
        inside = [str(Path("/run/unpacked") / place.relative_to(UNPACKED)) for place in places]
        config.write_text("\n".join(["include /etc/ld.so.conf", *inside]) + "\n")
        enter = f"mount -t tmpfs tmpfs /run && mkdir /run/unpacked && mount --bind {UNPACKED} /run/unpacked && "
        command = [*("unshare", "--mount", "sh", "-c"), enter + 'exec "$@"', "sh"]
        command += ["ldconfig", "-C", str(self._base / "ld.so.cache"), "-f", str(config)]
        subprocess.run(command, check=True, capture_output=True, timeout=30)

    def _config(self, template: str) -> str:
        chain, key = (self._base / one.name for one in self._certificate)
        for source, copy in zip(self._certificate, (chain, key), strict=True):
            shutil.copy(source, copy)
        if template is _EXIM:
            os.chown(key, 64_001, 64_001)
        key.chmod(0o600)
        return template.format(
            base=self._base,
            chain=chain,
            key=key,
            port=self.port,
            submission=self.submission_port,
            submissions=self.submissions_port,
            name=self._name,
            word=self._password,
        )

"""A real Dovecot with a private configuration: LMTP into Maildirs, and a SASL socket for Postfix."""

from __future__ import annotations

import os
import pwd
import subprocess
from pathlib import Path
from typing import Self

from tests.lab.postfix import answers, free_ports, open_up
from tests.lab.waiting import until
from tests.peers import find_program

_CONFIG = """
protocols = lmtp
base_dir = {base}/run
state_dir = {base}/state
log_path = {base}/log
ssl = no
auth_mechanisms = plain login
default_login_user = {user}
default_internal_user = {user}
default_internal_group = {group}
mail_location = maildir:{base}/mail/%n
mail_uid = {uid}
mail_gid = {gid}
first_valid_uid = 0
lmtp_save_to_detail_mailbox = no
postmaster_address = postmaster@example.org
passdb {{
  driver = passwd-file
  args = username_format=%n {base}/users
}}
userdb {{
  driver = passwd-file
  args = username_format=%n {base}/users
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
service auth {{
  unix_listener {base}/sasl {{
    mode = 0666
  }}
}}
service lmtp {{
  chroot =
  unix_listener {base}/lmtp {{
    mode = 0666
  }}
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {port}
  }}
}}
"""


_SUBMISSION = """
protocols = lmtp submission
ssl = required
ssl_cert = <{certificate}
ssl_key = <{key}
hostname = dovecot.example.com
submission_relay_host = 127.0.0.1
submission_relay_port = {relay}
service submission {{
  chroot =
}}
service submission-login {{
  chroot =
  inet_listener submission {{
    address = 127.0.0.1
    port = {port}
  }}
  inet_listener submissions {{
    address = 127.0.0.1
    port = {tls_port}
    ssl = yes
  }}
}}
"""


class Dovecot:
    """Runs while the `with` lasts; `users` are names with passwords.

    With `certificate` (a chain and its key) it is a submission server too, for what listens on port `relay`.
    """

    def __init__(
        self, base: Path, users: dict[str, str], certificate: tuple[Path, Path] | None = None, relay: int = 0
    ) -> None:
        self.base = base
        self.port, self.submission_port, self.submissions_port = free_ports(3)
        self._certificate = certificate
        self._relay = relay
        self.sasl = base / "sasl"
        self.lmtp = base / "lmtp"
        self._users = users
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        owner = pwd.getpwnam("nobody") if os.getuid() == 0 else pwd.getpwuid(os.getuid())
        group = subprocess.run(["id", "-gn", owner.pw_name], capture_output=True, text=True, check=True).stdout.strip()
        (self.base / "mail").mkdir(parents=True)
        (self.base / "users").write_text(
            "".join(f"{name}:{{PLAIN}}{word}::::::\n" for name, word in self._users.items())
        )
        open_up(self.base)
        if os.getuid() == 0:
            os.chown(self.base / "mail", owner.pw_uid, owner.pw_gid)
        config = self.base / "dovecot.conf"
        config.write_text(
            _CONFIG.format(
                base=self.base, user=owner.pw_name, group=group, uid=owner.pw_uid, gid=owner.pw_gid, port=self.port
            )
        )
        if self._certificate is not None:
            file, key = self._certificate
            with config.open("a") as more:
                more.write(
                    _SUBMISSION.format(
                        certificate=file,
                        key=key,
                        port=self.submission_port,
                        tls_port=self.submissions_port,
                        relay=self._relay,
                    )
                )
        program = find_program("dovecot")
        assert program is not None
        with (self.base / "out").open("wb") as out:
            self._process = subprocess.Popen([program, "-F", "-c", config], stdout=out, stderr=out)
        until(lambda: self.lmtp.exists() and self.sasl.exists() and answers(self.port), "Dovecot")
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.terminate()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def messages(self, user: str) -> list[bytes]:
        """What was delivered to a user so far."""
        new = self.base / "mail" / user / "new"
        return [path.read_bytes() for path in sorted(new.iterdir())] if new.is_dir() else []

    def wait_for_messages(self, user: str, count: int = 1) -> list[bytes]:
        """The same, once there are that many."""
        log = self.base / "log"
        until(
            lambda: len(self.messages(user)) >= count, f"{count} messages: {log.exists() and log.read_text()[-1500:]}"
        )
        return self.messages(user)

"""`serve --dev`: a server for this machine alone, ready to try within a second, whose mail never leaves it."""

from __future__ import annotations

import shlex
import shutil
import socket
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from postreeve import __version__
from postreeve.app.authority import Issued, holds_until, make_authority, make_certificate, write_private
from postreeve.app.binding import Bound
from postreeve.app.configuration import Installation, default_dev_directory, parse
from postreeve.app.startup import StartupError

ACCOUNT: Final = "dev"
PASSWORD: Final = "dev"
PORTS: Final = {"relay": 2525, "submission": 2587, "submissions": 2465}
_DAYS: Final = 365
_RENEW_BEFORE_SECONDS: Final = 30 * 86_400
_FROM: Final = "dev@example.org"
_TO: Final = "you@example.com"
_NAMES: Final = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Stand:
    """A development server about to run."""

    installation: Installation
    directory: Path
    has_ipv6: bool

    def announce(self, bound: tuple[Bound, ...]) -> None:
        """Print how to try it, on standard output; the log goes to standard error."""
        with suppress(OSError):  # nobody may be reading
            sys.stdout.write(introduction(self.directory, self.has_ipv6))
            sys.stdout.flush()


def prepare(directory: Path | None) -> Stand:
    """Make or reuse everything a development server needs. Raises StartupError when that cannot be."""
    place = (directory or default_dev_directory()).absolute()
    has_ipv6 = _has_ipv6()
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        make_certificates(place / "tls", time.time())
        text = config_text(place, has_ipv6)
        path = place / "postreeve.toml"
        path.write_text(text)
    except OSError as problem:
        raise StartupError(
            f"{problem.filename or place}: {problem.strerror}", "choose another place with --data"
        ) from None
    add_account(place)
    return Stand(parse(path, text), place, has_ipv6)


def make_certificates(directory: Path, now: float) -> None:
    """A CA and a certificate for this machine, made anew when they are missing, damaged or about to end."""
    paths = [directory / name for name in ("ca.pem", "ca-key.pem", "certificate.pem", "key.pem")]
    try:
        ends = min(holds_until(paths[0].read_bytes()), holds_until(paths[2].read_bytes()))
        if ends - now > _RENEW_BEFORE_SECONDS and all(path.stat().st_size for path in paths):
            return
    except (OSError, ValueError):
        pass
    directory.mkdir(mode=0o700, exist_ok=True)
    authority = make_authority("postreeve development CA", now, _DAYS)
    issued: Issued = make_certificate(_NAMES, now, _DAYS, authority)
    contents = (authority.certificate, authority.key, issued.certificate, issued.key)
    for path, content in zip(paths, contents, strict=True):
        path.unlink(missing_ok=True)
        write_private(path, content)


def config_text(directory: Path, has_ipv6: bool) -> str:
    """The configuration: no route leaves the machine."""
    addresses = '["127.0.0.1", "::1"]' if has_ipv6 else '["127.0.0.1"]'
    listeners = "".join(
        f'\n[[listener]]\nname = "{name}"\naddresses = {addresses}\nport = {port}\n'
        f'role = "{"relay" if name == "relay" else "submission"}"\n'
        f'tls = "{ {"relay": "starttls", "submission": "required", "submissions": "implicit"}[name] }"\n'
        for name, port in PORTS.items()
    )
    return f"""\
# Written by `postreeve serve --dev` at every start: changes here are lost.
hostname = "localhost"
data_dir = "."
user = ""
workers = 1

[tls]
certificate = "tls/certificate.pem"
key = "tls/key.pem"
{listeners}
[[domain]]
name = "localhost"

# Everything is kept here: nothing leaves this machine.
[[route]]
name = "dev"
domains = ["localhost", "*"]
via = "maildir"
path = "{{data_dir}}/mail"

[relay]
networks = ["127.0.0.0/8", "::1/128"]

[queue]
min_free = 0
"""


def add_account(directory: Path) -> None:
    """The account dev with the password dev, unless it is there."""
    from postreeve.app.accounts import ensure

    ensure(directory, ACCOUNT, PASSWORD, ("*",))


def introduction(directory: Path, has_ipv6: bool) -> str:
    """What to paste, and where the mail is then. One command each, on one line, for a POSIX shell."""
    ca, mail = directory / "tls" / "ca.pem", directory / "mail"
    ports = PORTS
    swaks = (
        f"swaks --server localhost:{ports['submission']} --tls --auth PLAIN --auth-user {ACCOUNT} "
        f"--auth-password {PASSWORD} --from {_FROM} --to {_TO} --header 'Subject: hello from swaks'"
    )
    head = f"From: {_FROM}\\r\\nTo: {_TO}\\r\\nSubject: hello from"
    curl = (
        f"printf '{head} curl\\r\\n\\r\\nIt works.\\r\\n' | curl --silent --show-error "
        f"--cacert {shlex.quote(str(ca))} --url smtps://localhost:{ports['submissions']} --user {ACCOUNT}:{PASSWORD} "
        f"--mail-from {_FROM} --mail-rcpt {_TO} --upload-file -"
    )
    code = (
        f"import smtplib, ssl; m = '{head} Python\\r\\n\\r\\nIt works.\\r\\n'; "
        f"c = ssl.create_default_context(cafile={str(ca)!r}); "
        f"s = smtplib.SMTP_SSL('localhost', {ports['submissions']}, context=c); s.login('{ACCOUNT}', '{PASSWORD}'); "
        f"s.sendmail('{_FROM}', ['{_TO}'], m); s.quit()"
    )
    where = "127.0.0.1 and ::1" if has_ipv6 else "127.0.0.1; ::1 is not there: IPv6 is switched off on this machine"
    queue = f"{_program()} queue list"
    if directory != default_dev_directory():
        queue += f" --config {shlex.quote(str(directory / 'postreeve.toml'))}"
    return f"""
postreeve {__version__} is ready on {where}
  {ports["relay"]} relay, {ports["submission"]} submission with STARTTLS, {ports["submissions"]} submission with TLS; \
account {ACCOUNT}, password {PASSWORD}
  nothing leaves this machine

Paste one of these:

{swaks}

{curl}

python3 -c {_quote(code)}

The mail is then in {mail}/new
What is still on its way: {queue}
Everything is kept in {directory}; end with Ctrl-C

"""


def _program() -> str:
    """How this program is called from a shell: it may be in an environment of its own."""
    if shutil.which("postreeve"):
        return "postreeve"
    script = Path(sys.executable).with_name("postreeve")
    return shlex.quote(str(script)) if script.exists() else f"{shlex.quote(sys.executable)} -m postreeve"


def _quote(code: str) -> str:
    """`code`, which has single quotes, as one word of a shell: in double quotes where they change nothing."""
    return shlex.quote(code) if set(code) & set('"$`!') else f'"{code}"'


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as one:
            one.bind(("::1", 0))
    except OSError:
        return False
    return True

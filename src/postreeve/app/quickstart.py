"""`postreeve quickstart`: a production configuration, keys, a first account, and what only the operator can do."""

from __future__ import annotations

import os
import secrets
import shlex
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Final

from postreeve.app.accounts import FILE_NAME, open_accounts
from postreeve.app.authority import make_certificate, write_private
from postreeve.app.configuration import SYSTEM_FILE, Installation, parse
from postreeve.app.privilege import Account, find_account, prepare_directory
from postreeve.app.startup import StartupError
from postreeve.config.reference import to_toml
from postreeve.mail.address import Mailbox, parse_mailbox
from postreeve.mail.domain import Domain, parse_domain
from postreeve.mail.error import PostreeveError

DEFAULT_DATA: Final = Path("/var/lib/postreeve")
_CERTIFICATE_DAYS: Final = 90
_ALPHABET: Final = "abcdefghjkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"
"""Without what is easily mistaken when it is read aloud or typed: 0 O, 1 l I."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be made, and where."""

    hostname: Domain
    address: Mailbox
    config_file: Path
    data_dir: Path
    user: str
    """The account that the server changes to; "" where it is not started as root."""

    @property
    def certificate(self) -> Path:
        """The certificate that the server begins with."""
        return self.data_dir / "tls" / "certificate.pem"

    @property
    def key(self) -> Path:
        """Its key."""
        return self.data_dir / "tls" / "key.pem"


@dataclass(frozen=True, slots=True)
class Made:
    """What was made. The password is kept nowhere else."""

    plan: Plan
    installation: Installation
    password: str


@dataclass(frozen=True, slots=True)
class Remaining:
    """Something that only the operator can do, and why."""

    what: str
    because: str
    lines: tuple[str, ...] = ()


def make_plan(hostname: str, address: str, config_file: Path, data_dir: Path, user: str) -> Plan:
    """Raises StartupError when the names are no names. Without the rights of root nobody else's account is used."""
    host, mailbox = parse_domain(hostname), parse_mailbox(address)
    if host is None or host.is_literal or "." not in host.ascii:
        raise StartupError(f"{hostname!r} is no fully qualified host name", "such as mail.example.org")
    if mailbox is None or mailbox.domain.is_literal or not mailbox.is_ascii:
        raise StartupError(f"{address!r} is no mail address", "such as jane@example.org")
    own = user if os.geteuid() == 0 else ""
    return Plan(host, mailbox, config_file.absolute(), data_dir.absolute(), own)


def carry_out(plan: Plan) -> Made:
    """Make everything. Raises StartupError, with nothing changed, when any of it is there already."""
    for path in (plan.config_file, plan.certificate.parent, plan.data_dir / FILE_NAME):
        if os.path.lexists(path):
            raise StartupError(f"{path} is there already", "nothing was changed; move it away to begin anew")
    text = config_text(plan)
    installation = parse(plan.config_file, text)
    account = find_account(installation.config.user)
    password = "".join(secrets.choice(_ALPHABET) for _ in range(20))
    missing = _missing(plan.config_file.parent, plan.certificate.parent)
    try:
        _make(plan, account, text, password)
    except (OSError, PostreeveError) as problem:
        _take_back(plan, missing)
        if not isinstance(problem, OSError):
            raise
        hint = "run it as root, or choose places with --config and --data; nothing was changed"
        raise StartupError(f"{problem.filename}: {problem.strerror}", hint) from None
    return Made(plan, installation, password)


def _make(plan: Plan, account: Account | None, text: str, password: str) -> None:
    plan.config_file.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    prepare_directory(plan.data_dir, account)
    plan.certificate.parent.mkdir(mode=0o700)
    issued = make_certificate((plan.hostname.ascii,), time.time(), _CERTIFICATE_DAYS)
    write_private(plan.key, issued.key)
    write_private(plan.certificate, issued.certificate)
    with open_accounts(plan.data_dir) as accounts:
        accounts.add(str(plan.address), password, (str(plan.address),), time.time())
    write_private(plan.config_file, text.encode())
    if account is not None:
        _give(plan, account)


def _missing(*directories: Path) -> list[Path]:
    """Which of the directories, and of those above them, are not there; the deepest first."""
    chain = {path for one in directories for path in (one, *one.parents) if not path.exists()}
    return sorted(chain, key=lambda path: len(path.parts), reverse=True)


def _take_back(plan: Plan, missing: Sequence[Path]) -> None:
    """None of the files was there before, nor were the directories in `missing`."""
    with suppress(OSError):
        for path in (plan.key, plan.certificate, plan.config_file, *plan.data_dir.glob(f"{FILE_NAME}*")):
            path.unlink(missing_ok=True)
        for path in missing:
            with suppress(FileNotFoundError):
                path.rmdir()


def _give(plan: Plan, account: Account) -> None:
    """The data belongs to the server's account; the configuration stays root's, and the account may read it."""
    for path in (
        plan.data_dir,
        plan.certificate.parent,
        plan.certificate,
        plan.key,
        *plan.data_dir.glob(f"{FILE_NAME}*"),
    ):
        os.chown(path, account.uid, account.gid, follow_symlinks=False)
    os.chown(plan.config_file, 0, account.gid, follow_symlinks=False)
    plan.config_file.chmod(0o640)


def config_text(plan: Plan) -> str:
    """The configuration: three ports, one domain, mail kept in Maildirs, the rest to the world."""
    return _TEMPLATE.substitute(
        hostname=plan.hostname.ascii,
        data_dir=to_toml(str(plan.data_dir)),
        user=to_toml(plan.user),
        address=to_toml(str(plan.address)),
        certificate=to_toml(str(plan.certificate)),
        key=to_toml(str(plan.key)),
        domain=plan.address.domain.ascii,
    )


_TEMPLATE: Final = Template("""\
# The configuration of postreeve, begun by `postreeve quickstart`.
# Every setting with its meaning and default: postreeve config default, docs/config.md
# After a change: postreeve config check && systemctl reload postreeve

# The name in the greeting, in EHLO and in Received. Its A and AAAA records lead here, and the PTR records back.
hostname = "$hostname"
# Queue, accounts and keys: what a backup must contain.
data_dir = $data_dir
# The account that the server changes to once it has its ports.
user = $user
postmaster = $address

# Made by quickstart so that the server can start; nobody else trusts it. Put the paths of a real certificate here.
# The files are watched: a renewed certificate is taken up by itself.
[tls]
certificate = $certificate
key = $key

# Other servers bring mail for our domains here. No login, and TLS for those who can (RFC 3207).
[[listener]]
name = "mx"
port = 25
role = "relay"
tls = "starttls"

# Our users send from here, after a login: TLS from the first octet (RFC 8314) …
[[listener]]
name = "submissions"
port = 465
role = "submission"
tls = "implicit"

# … or with STARTTLS, which is required before anything else (RFC 6409).
[[listener]]
name = "submission"
port = 587
role = "submission"
tls = "required"

# Mail for these domains is taken from anybody.
[[domain]]
name = "$domain"
recipients = "any"    # or the local parts that exist: ["info"]; postmaster always does

# Where it is kept: a Maildir for each recipient. For Dovecot: via = "lmtp" and socket = "/run/dovecot/lmtp".
[[route]]
name = "local"
domains = ["$domain"]
via = "maildir"
path = "{data_dir}/mail/{domain}/{local}"

# All other mail goes to the MX hosts of its domain. On a network that blocks port 25: via = "smarthost" with host,
# port, username and password_file, or keep this and add a fallback, which takes over when the direct way fails:
# fallback = { host = "smtp.provider.example", port = 465, tls = "implicit", username = "…", password_file = "…" }
[[route]]
name = "world"
domains = ["*"]
via = "mx"
""")


def remaining(plan: Plan) -> tuple[Remaining, ...]:
    """What is to be done before mail flows, in a sensible order."""
    host, domain = plan.hostname.ascii, plan.address.domain.ascii
    return (
        Remaining(
            "DNS: address records for the host",
            "other servers and mail programs find this machine by its name",
            (f"{host}.  A     <IPv4 address of this machine>", f"{host}.  AAAA  <IPv6 address, if it has one>"),
        ),
        Remaining(
            "DNS: MX record for the domain",
            "it tells other servers which host takes mail for the domain; without it they try the domain itself",
            (f"{domain}.  MX 10 {host}.",),
        ),
        Remaining(
            "DNS: PTR record for each address, at whoever gave you the address",
            "large providers refuse or distrust mail from addresses whose PTR does not name the sending host",
            (f"<address of this machine>  PTR  {host}.",),
        ),
        Remaining(
            "DNS: SPF record for the domain",
            "it says which hosts may send for the domain; without it much of your mail is taken for forged",
            (f'{domain}.  TXT  "v=spf1 mx -all"',),
        ),
        Remaining(
            "a real certificate",
            "the one made now is signed by nobody: other servers accept that, mail programs warn or refuse",
            (
                f"get one for {host} (by ACME, for instance), put its paths into [tls] of {plan.config_file}",
                "key and certificate must be readable by the server's account; renewals are noticed by themselves",
            ),
        ),
        Remaining(
            "firewall: incoming TCP 25, 465 and 587",
            "25 brings mail from other servers; 465 and 587 are where your users send from",
        ),
        Remaining(
            "firewall: outgoing TCP 25, and UDP and TCP 53",
            "mail to other servers leaves by 25, which many providers block until asked; 53 is for looking up names",
        ),
        Remaining(
            "check the configuration, start the server and look at it",
            "it was not started: its ports, once open, are for the world to see",
            (f"postreeve config check{option(plan)}", *_start(plan), f"postreeve status{option(plan)}"),
        ),
    )


def option(plan: Plan) -> str:
    """What commands need to find the configuration."""
    return "" if plan.config_file == SYSTEM_FILE else f" --config {shlex.quote(str(plan.config_file))}"


def _start(plan: Plan) -> tuple[str, ...]:
    serve = f"postreeve serve{option(plan)}"
    # The unit is for the usual places.
    if plan.config_file == SYSTEM_FILE and plan.data_dir == DEFAULT_DATA:
        return (f"systemctl enable --now postreeve, or without systemd: {serve}",)
    return (serve,)

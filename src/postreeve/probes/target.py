"""What the user wants probed: a host, a mail domain, a submission domain, or a settings file, however it was pasted."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import unquote

from postreeve.checks.facts import Intent, TargetKind
from postreeve.mail.domain import parse_domain
from postreeve.mail.error import PostreeveError

_MAX_TARGET: Final = 1_000
# RFC 3986, section 3.1; what people paste from settings: smtp, smtps, submission, submissions, ssl, tls …
_SCHEME: Final = re.compile(r"([a-z][a-z0-9+.-]{1,20})://(.*)", re.IGNORECASE | re.DOTALL)
_LABELLED: Final = re.compile(r"(mx|submission|host):(?!\d+$)(.+)", re.IGNORECASE)
_IMPLICIT_SCHEMES: Final = frozenset({"smtps", "ssl", "submissions", "smtp+ssl", "tls", "smtp+tls"})
_SCHEME_INTENT: Final = {"smtp+starttls": Intent.STARTTLS, "submission": Intent.STARTTLS}
_SCHEME_PORT: Final = {"smtps": 465, "submissions": 465, "ssl": 465, "submission": 587}
_MAIL_SCHEMES: Final = frozenset({"smtp", *_IMPLICIT_SCHEMES, *_SCHEME_INTENT})


class NoTarget(PostreeveError):
    """The text names nothing that could be probed; one line that says why."""


@dataclass(frozen=True, slots=True)
class Target:
    """`name` is a host name in A-labels, an IP address or a domain.

    `is_name_bare` is true when nobody said whether it is a host or a mail domain: the DNS decides. `understood` says
    what was made of a text that was not just a name, "" for nothing.
    """

    text: str
    kind: TargetKind
    name: str
    port: int | None = None
    intent: Intent = Intent.AUTO
    username: str = ""
    has_password: bool = False
    """A password stood in the text: it is not kept, and the user ought to know."""
    is_name_bare: bool = False
    understood: str = ""
    hello_name: str = ""
    sender: str = ""
    library: str = ""


def parse_target(text: str) -> Target:
    """The target that `text` names: `host`, `host:port`, `[v6]:port`, a domain, an address, `submission:DOMAIN`, a URL.

    Raises NoTarget for what is none. Never looks anything up, never reads a file.
    """
    wanted = text.strip().strip("'\"").strip()
    if not wanted:
        raise NoTarget("nothing to probe: name a host, host:port, mail domain, submission:DOMAIN or a settings file")
    if len(wanted) > _MAX_TARGET or not wanted.isprintable():
        raise NoTarget(f"{_shown(wanted)} is no host name: it is too long or has control characters")
    url = _SCHEME.fullmatch(wanted)
    if url is not None:
        return _parse_url(wanted, url[1].lower(), url[2])
    labelled = _LABELLED.fullmatch(wanted)
    if labelled is not None:
        return _parse_labelled(wanted, labelled[1].lower(), labelled[2])
    if "@" in wanted:
        return _parse_address(wanted)
    name, port = _split_port(wanted)
    host = _host(name, wanted)
    is_bare = port is None and not _is_address(host)
    return Target(wanted, TargetKind.HOST, host, port, is_name_bare=is_bare)


def _parse_url(text: str, scheme: str, rest: str) -> Target:
    """A connection string, as the settings of many programs hold it: `smtp://user:password@host:587/?opt=1`."""
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    userinfo, at, place = authority.rpartition("@")
    user, colon, _password = userinfo.partition(":")
    name, port = _split_port(place)
    host = _host(name, _masked(text))
    port = port or _SCHEME_PORT.get(scheme)
    if scheme not in _MAIL_SCHEMES:
        understood = f"only the host of this {scheme} address was used: {host}"
        return Target(_masked(text), TargetKind.HOST, host, port, is_name_bare=port is None, understood=understood)
    intent = Intent.IMPLICIT if scheme in _IMPLICIT_SCHEMES else _SCHEME_INTENT.get(scheme, Intent.AUTO)
    if scheme in ("tls", "smtp+tls") and port not in (None, 465, 2465):
        intent = Intent.STARTTLS  # "tls" means STARTTLS to PHP programs and implicit TLS to others; the port tells
    understood = f"host {host}" + (f", port {port}" if port else "")
    made = Target(_masked(text), TargetKind.HOST, host, port, intent, is_name_bare=False, understood=understood)
    return replace(made, username=unquote(user), has_password=bool(at and colon and _password))


def _parse_labelled(text: str, label: str, rest: str) -> Target:
    name, port = _split_port(rest.strip().removeprefix("//"))
    if label != "host" and "@" in name:
        name = name.rpartition("@")[2]
    host = _host(name, text)
    if label == "host":
        return Target(name, TargetKind.HOST, host, port)
    if _is_address(host):
        raise NoTarget(f"{_shown(text)}: {label}: wants a domain, not an address")
    if label == "mx":
        return Target(host, TargetKind.MAIL_DOMAIN, host, port)
    return Target(f"submission:{host}", TargetKind.SUBMISSION_DOMAIN, host, port)


def _parse_address(text: str) -> Target:
    """`user@example.com` stands for the mail domain; `user@host:587` for that host."""
    name, port = _split_port(text.rpartition("@")[2].rstrip(">"))
    host = _host(name, text)
    if port is not None or _is_address(host):
        user = text.rpartition("@")[0].lstrip("<").partition(":")[0]
        return Target(_masked(text), TargetKind.HOST, host, port, username=user, understood=f"host {host}")
    return Target(text, TargetKind.MAIL_DOMAIN, host, understood=f"the mail domain {host}")


def _split_port(text: str) -> tuple[str, int | None]:
    """Host and port of `host:port`, `host port`, `[v6]:port`, `v6`; NoTarget for a port that cannot be."""
    wanted = text.strip().rstrip("/")
    if wanted.startswith("["):
        inner, closed, rest = wanted[1:].partition("]")
        if not closed:
            raise NoTarget(f"{_shown(text)} lacks a closing bracket: write [2001:db8::7]:587")
        return inner.lower().removeprefix("ipv6:"), _port(rest.lstrip(": "), text) if rest.strip(": ") else None
    if wanted.count(":") > 1:
        return wanted, None
    for separator in (":", " ", ","):
        name, found, port = wanted.partition(separator)
        if found and (separator == ":" or port.strip().isdigit()):
            if not port.strip():
                raise NoTarget(f"{_shown(text)} lacks the port after {separator!r}")
            return name.strip(), _port(port.strip(), text)
    return wanted, None


def _port(digits: str, text: str) -> int:
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 6 and 1 <= int(digits) <= 65_535):
        raise NoTarget(f"{_shown(text)}: {_shown(digits)} is no port: it must be a number from 1 to 65535")
    return int(digits)


def _host(name: str, text: str) -> str:
    """The host name in A-labels, or the address in its usual form; NoTarget for what is neither."""
    plain, scope, zone = name.strip().partition("%")
    try:
        address = ipaddress.ip_address(plain)
    except ValueError:
        address = None
    if address is not None:
        mapped = getattr(address, "ipv4_mapped", None)
        return str(mapped or address) + scope + zone
    domain = parse_domain(name.strip()) if not scope else None
    if domain is None or domain.is_literal:
        raise NoTarget(f"{_shown(text)} is no host name: {_why(name.strip())}")
    return domain.ascii


def _why(name: str) -> str:
    if not name:
        return "there is no name in it"
    if " " in name:
        return "a name has no spaces"
    if re.fullmatch(r"[\d.]+", name):
        return "it looks like an IPv4 address but is none"
    if ":" in name:
        return "it looks like an IPv6 address but is none"
    if any(len(label) > 63 for label in name.split(".")) or len(name) > 253:
        return "a label has at most 63 characters, a name at most 253"
    if ".." in name or name.startswith("."):
        return "it has an empty label"
    return "names are of letters, digits, hyphens and dots"


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def _masked(text: str) -> str:
    """The text without the password in it."""
    return re.sub(r"(?<![^/\s]):(?!//)[^@\s]*@|(://[^:/@\s]*):[^@\s]*@", r"\1:****@", text)


def _shown(text: str) -> str:
    """Quoted, short and without a password."""
    short = _masked(text[:60]) + ("…" if len(text) > 60 else "")
    return ascii(short) if not short.isprintable() else f'"{short}"'

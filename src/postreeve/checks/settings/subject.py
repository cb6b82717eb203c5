"""One set of settings as the rules look at it, and what a rule that is broken says."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from typing import Final, TypeVar

from postreeve.checks.finding import Finding, Level
from postreeve.checks.settings.rule import Rule
from postreeve.clientconfig.settings import Edit, Kind, Span, SubmissionSettings, TlsMode, Value, Wanted

T = TypeVar("T")

_PLACEHOLDER: Final = re.compile(
    r"change.?(?:me|it|this)|your|example|placeholder|replace|insert|dummy|sample|todo|fixme|secret|passw|redacted"
    r"|mypass|xxx|\*\*\*|\.\.\.|^null$|^none$|^nil$|^test$|^foo|^bar$|^\W*$|<.*>|\{\{|\$\{|\$\(|__.*__|%\w+%|^enc\(|^enc\["
    r"|^vault:|^!|^@|^\$[a-z_]",
    re.IGNORECASE,
)
_ENV_LIKE: Final = re.compile(r"(?:\.env(?:\..*)?|.*\.env|\.envrc|.*\.local(?:\.\w+)?|.*secret.*)\Z", re.IGNORECASE)
_EXAMPLE: Final = re.compile(r"example|sample|dist|template|default", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Subject:
    """Settings with the kind that read them and the text that they stand in."""

    kind: Kind
    settings: SubmissionSettings
    text: str

    @property
    def host(self) -> str:
        """The host that is written, in lower case; "" where it comes from elsewhere."""
        return (said(self.settings.host) or "").strip().lower()

    @property
    def port(self) -> int | None:
        """The port that is in force, as far as the file says."""
        value = said(self.settings.port)
        return value if value is not None and 0 < value < 65_536 else None

    @property
    def mode(self) -> TlsMode | None:
        """The mode that is in force, as far as the file says."""
        return said(self.settings.mode)

    @property
    def is_near(self) -> bool:
        """True where the host is this machine, or a neighbour without a domain (a container's name)."""
        return is_near(self.host)

    @property
    def has_login(self) -> bool:
        """True where a user or a password is set."""
        password, user = self.settings.password, self.settings.username
        return any(one is not None and (one.is_reference or bool(one.value)) for one in (password, user))


@dataclass(frozen=True, slots=True)
class Problem:
    """A finding with its place, and what would mend it: a wish to the kind, or edits of the text."""

    finding: Finding
    span: Span | None
    line: int
    wanted: Wanted | None = None
    edits: tuple[Edit, ...] = field(default=())


def said(value: Value[T] | None) -> T | None:
    """What a value says, its default where it is a reference."""
    return None if value is None else value.value


def problem(
    subject: Subject,
    rule: Rule,
    place: Value[T] | None,
    because: str,
    fix: str,
    *,
    wanted: Wanted | None = None,
    edits: tuple[Edit, ...] = (),
    level: Level | None = None,
) -> Problem:
    """A broken rule at the place of a value, or of the settings where it stands nowhere."""
    span = place.span if place is not None else None
    line = span.line if span is not None else subject.settings.line
    finding = Finding(
        rule.id, level or rule.level, rule.title, f"{subject.settings.file}:{line}", tuple(because.split("\n")), fix
    )
    return Problem(finding, span, line, wanted, edits)


def is_near(host: str) -> bool:
    """True for this machine, and for a name without a dot, as containers and test sinks have."""
    name = host.strip("[]")
    if not name or name.endswith((".localhost", ".localdomain")):
        return bool(name)
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return "." not in name and ":" not in name


def is_placeholder(secret: str) -> bool:
    """True where a password is none: a word that asks to be replaced, a variable, an encrypted value."""
    return len(secret) < 4 or _PLACEHOLDER.search(secret) is not None


def may_hold_secrets(file: str) -> bool:
    """True for files that are kept out of version control: environment files, local ones, Secrets."""
    name = file.replace("\\", "/").rpartition("/")[2]
    return _ENV_LIKE.match(name) is not None and not is_example(name)


def is_example(file: str) -> bool:
    """True for a file that shows how another is filled in."""
    return _EXAMPLE.search(file.replace("\\", "/").rpartition("/")[2]) is not None

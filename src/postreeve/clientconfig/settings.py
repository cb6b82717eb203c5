"""What a program's mail settings say, whatever file they are in, and the face of everything that can read them.

A reader never executes anything and never fails on text that is not its own: what it cannot understand it leaves alone
and says so in `SubmissionSettings.unknown`. Values keep their place, so that findings name file and line and
corrections touch nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Generic, Protocol, TypeVar

T = TypeVar("T")


class TlsMode(Enum):
    """When TLS begins, as these settings make the library do it."""

    PLAIN = "plain"
    """Never."""
    OPPORTUNISTIC = "opportunistic"
    """STARTTLS if it is offered, plaintext otherwise: an attacker on the way decides."""
    STARTTLS = "starttls"
    """STARTTLS or nothing."""
    IMPLICIT = "implicit"
    """From the first octet."""
    BOTH = "both"
    """Implicit and STARTTLS at once: most libraries refuse or fail."""


@dataclass(frozen=True, slots=True)
class Span:
    """Characters [start, end) of the file's text; `line` is that of `start`, from 1."""

    start: int
    end: int
    line: int


@dataclass(frozen=True, slots=True)
class Value(Generic[T]):
    """A setting's value and where it stands; `span` covers the value as written, quotes included.

    `span` is None when the library's default applies. `key` is the name as the file writes it. `is_reference` is true
    when the text takes it from elsewhere (`${SMTP_HOST}`, `os.environ[...]`): then `value` is the default given there
    or None.
    """

    value: T | None
    key: str = ""
    span: Span | None = None
    is_reference: bool = False


@dataclass(frozen=True, slots=True)
class SubmissionSettings:
    """One set of mail settings in one file. A field is None when the file does not speak of it.

    `mode` is the effective mode after the library's own rules (nodemailer makes port 465 implicit …), its span that of
    the setting which decides it. `password` is kept as a place and a `has`-flag only where possible: never print it.
    """

    kind: str
    file: str
    line: int
    host: Value[str] | None = None
    port: Value[int] | None = None
    mode: Value[TlsMode] | None = None
    username: Value[str] | None = None
    password: Value[str] | None = field(default=None, repr=False)
    mechanism: Value[str] | None = None
    sender: Value[str] | None = None
    verifies_certificate: Value[bool] | None = None
    timeout_seconds: Value[float] | None = None
    hello_name: Value[str] | None = None
    extra: tuple[Value[str], ...] = ()
    """Settings of this kind that matter to rules of its own."""
    unknown: tuple[Value[str], ...] = ()
    """Keys that look like mail settings and are none of this kind's (misspelt)."""
    contradictions: tuple[str, ...] = ()
    """What the reader itself saw to be impossible together, one sentence each (USE_SSL and USE_TLS both true)."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the settings should become; None leaves a field as it is. A password is never written."""

    host: str | None = None
    port: int | None = None
    mode: TlsMode | None = None
    username: str | None = None
    sender: str | None = None
    verifies_certificate: bool | None = None
    timeout_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Edit:
    """Replace the characters [start, end) of the text; start == end inserts."""

    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class Server:
    """The server that a snippet is for. `password_variable` names the environment variable that holds the password."""

    host: str
    port: int
    mode: TlsMode
    username: str
    sender: str
    password_variable: str = "SMTP_PASSWORD"


class Kind(Protocol):
    """One kind of settings file. All methods are total: any text, whatever it is, gives a result."""

    @property
    def name(self) -> str:
        """The word of `postreeve snippet NAME`."""
        ...

    @property
    def title(self) -> str:
        """For people."""
        ...

    @property
    def modes(self) -> frozenset[TlsMode]:
        """The modes that this library can do."""
        ...

    def recognises(self, file: str, text: str) -> bool:
        """True when this file is of this kind and has mail settings in it. `file` is a path as text."""
        ...

    def read(self, file: str, text: str) -> tuple[SubmissionSettings, ...]:
        """Every set of mail settings in it, in order."""
        ...

    def correct(self, text: str, settings: SubmissionSettings, wanted: Wanted) -> tuple[Edit, ...] | None:
        """Edits (in order, not overlapping) that make it so, comments kept; None when it cannot be written."""
        ...

    def snippet(self, server: Server) -> str:
        """Correct settings for this server, ready to paste; ends with a line end."""
        ...

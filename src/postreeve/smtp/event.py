"""What the server core tells the session: one value per thing that happened in the conversation.

Events marked OWES want exactly one `ServerProtocol.reply()` before the next event is given out; the others are news.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from postreeve.mail.address import Mailbox
from postreeve.mail.envelope import MailParameters, RecipientParameters
from postreeve.mail.reply import Reply


class Need(Enum):
    """What `next_event()` returns when there is no event."""

    DATA = "data"
    """Feed bytes with `receive_data()`."""
    REPLY = "reply"
    """The session owes a reply."""


NEED_DATA = Need.DATA
NEED_REPLY = Need.REPLY


@dataclass(frozen=True, slots=True)
class Connected:
    """OWES 220 (go on), 554 (only QUIT is answered from here, RFC 5321, section 3.1) or 421 (closed)."""


@dataclass(frozen=True, slots=True)
class Hello:
    """OWES. EHLO or HELO with its argument as text; on 250 the core itself adds the capability lines."""

    name: str
    extended: bool


@dataclass(frozen=True, slots=True)
class StartTls:
    """OWES. On 220 the core wants `tls_started()` after the handshake and forgets all that came before."""


@dataclass(frozen=True, slots=True)
class Authenticate:
    """OWES 235 or 535/454/…. The SASL exchange is over; the credentials are the client's claim, unverified."""

    mechanism: str
    username: str
    password: str = field(repr=False)
    authorization_identity: str


@dataclass(frozen=True, slots=True)
class Mail:
    """OWES. MAIL FROM; None is the null reverse-path."""

    reverse_path: Mailbox | None
    parameters: MailParameters


@dataclass(frozen=True, slots=True)
class Recipient:
    """OWES. RCPT TO; the bare `<postmaster>` arrives as postmaster@ the server's own name."""

    mailbox: Mailbox
    parameters: RecipientParameters


@dataclass(frozen=True, slots=True)
class ContentStarted:
    """The first of DATA (354 already said) or BDAT; chunks follow."""

    chunking: bool


@dataclass(frozen=True, slots=True)
class ContentChunk:
    """Some content octets, dot-unstuffed; bulk pieces as they came, never cut per line."""

    data: bytes


@dataclass(frozen=True, slots=True)
class ContentEnd:
    """OWES 250 or a refusal. All content has arrived. `problem` is set when the core itself must refuse it
    (bare CR or LF, too large, too many octets in the header …): the session replies with `problem` then."""

    size_octets: int
    problem: Reply | None


@dataclass(frozen=True, slots=True)
class TransactionReset:
    """RSET, a new HELO/EHLO or a failed BDAT ended the mail transaction; the core has replied."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The core refused a command by itself (syntax, order, TLS or AUTH needed …) and has replied.

    `command` is the verb in upper case or "" where none could be read. `credentials` is True where a client tried
    AUTH on a port that takes none, or in plain text: a sign of a client set up wrongly, or of a compromise.
    """

    command: str
    reply: Reply
    credentials: bool = False


@dataclass(frozen=True, slots=True)
class Idled:
    """A command that moves no mail was answered: NOOP, RSET, VRFY, EXPN, HELP, a repeated EHLO. Counted as junk."""

    command: str


@dataclass(frozen=True, slots=True)
class WrongProtocol:
    """The first octets were no SMTP; `sniffed` says what: "tls", "http", "ssh", "proxy" …. The core has replied
    where that makes sense and is closed."""

    sniffed: str


@dataclass(frozen=True, slots=True)
class Quit:
    """QUIT; 221 is in the output: write it and close."""


@dataclass(frozen=True, slots=True)
class Closed:
    """The conversation is over (421, a fatal error, end of input); write what is left and close."""

    in_transaction: bool


Event = (
    Connected | Hello | StartTls | Authenticate | Mail | Recipient | ContentStarted | ContentChunk | ContentEnd
    | TransactionReset | Refused | Idled | WrongProtocol | Quit | Closed
)  # fmt: skip

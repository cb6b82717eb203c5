"""What one conversation shall do: how it opens, how far it goes, and what it may say on the way."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from postreeve.checks.conversation import Opening
from postreeve.checks.stage import Stage


class StartTls(Enum):
    """What to do about STARTTLS on a connection that opens in the clear."""

    NEVER = "never"
    IF_OFFERED = "if offered"
    REQUIRED = "required"
    """Without it the conversation ends in stage TLS."""
    ALWAYS = "always"
    """Ask for it even where it is not offered: a middlebox that masks the word may still let it through."""


@dataclass(frozen=True, slots=True)
class Login:
    """Credentials for the one AUTH. With a `token` only XOAUTH2 and OAUTHBEARER are used, else the password.

    `mechanisms` restricts the choice, best first; () leaves it to us. The representation shows no secret.
    """

    username: str
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    mechanisms: tuple[str, ...] = ()
    may_go_in_clear: bool = False
    """Send them without TLS too; False is what every sane client does."""
    may_go_to_strangers: bool = False
    """Send them to a server whose certificate is not trusted; False ends the conversation in stage CERT instead."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait, in seconds. A reply that drips in octet by octet must be complete within its time."""

    greeting: float = 10.0
    reply: float = 10.0
    handshake: float = 10.0
    content: float = 30.0
    """For the final dot's reply."""
    whole: float = 60.0
    """For the whole conversation, whatever happens."""
    authority: float = 3.0
    """For one question to a certificate authority over HTTP."""


@dataclass(frozen=True, slots=True)
class Script:
    """One conversation. `stop_after` is the last stage that may be walked; DATA is reached only with a `message`."""

    opening: Opening = Opening.CLEAR
    starttls: StartTls = StartTls.IF_OFFERED
    hello_name: str = "localhost"
    server_name: str = ""
    """For SNI; "" or an IP address names nobody."""
    reference_name: str = ""
    """The host name or IP address that the certificate must bear; "" means `server_name`."""
    login: Login | None = None
    mail_from: str | None = None
    """The reverse-path; "" is the null one, None ends the conversation before MAIL."""
    recipient: str = ""
    """"" ends the conversation before RCPT."""
    message: bytes | None = field(default=None, repr=False)
    """The content to send; None (the rule) sends none: RSET and QUIT follow the RCPT."""
    size_octets: int = 0
    """Declared in MAIL where the server offers SIZE; 0 declares the message's own, or nothing."""
    stop_after: Stage = Stage.RCPT
    is_lenient: bool = False
    """TLS 1.2 or older with weak ciphers and small keys allowed, to see what a server has that refuses all else."""
    patience: Patience = Patience()
    ca_file: Path | None = None
    """Trust these authorities instead of this machine's."""
    may_ask_authority: bool = False
    """Ask the certificate's authority over HTTP: OCSP, and the intermediate that the server does not send."""

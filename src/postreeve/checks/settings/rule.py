"""The rules: what each is called, how bad it is to break it, and why it is one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from postreeve.checks.finding import Level


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. `id` never changes once it was published; `why` is for people who ask."""

    id: str
    level: Level
    title: str
    why: str
    is_fixable: bool = False


_E, _W, _N = Level.ERROR, Level.WARNING, Level.NOTE

HOST_MISSING: Final = Rule(
    "host-missing", _E, "No mail host",
    "There is a port, a user or a TLS mode, but no host, and the library has no default that would do.",
)  # fmt: skip
HOST_NOT_A_NAME: Final = Rule(
    "host-not-a-name", _E, "The host is not a host name",
    "A scheme, a port, a path or a blank stands in the host; most libraries look the whole up in the DNS and fail.",
    True,
)  # fmt: skip
HOST_MISSPELT: Final = Rule(
    "host-misspelt", _E, "The host looks misspelt",
    "The name is one or two letters away from a well-known provider's, is a mail domain, or its host for reading mail.",
    True,
)  # fmt: skip
PORT_NOT_A_NUMBER: Final = Rule(
    "port-not-a-number", _E, "The port is not a number from 1 to 65535",
    "The library refuses it, or takes its default without a word.",
)  # fmt: skip
PORT_TLS_MISMATCH: Final = Rule(
    "port-tls-mismatch", _E, "Port and TLS mode contradict each other",
    "On 465 and its kin TLS begins with the first octet, on 587 and 25 after STARTTLS (RFC 8314, section 3.3); a "
    "client that does the other thing hangs or reports a wrong version number.",
    True,
)  # fmt: skip
PORT_25: Final = Rule(
    "port-25", _W, "Port 25 is for servers, not for submission",
    "Most networks block port 25 for clients (RFC 8314, section 3.3 has 465 and 587 for submission), and many servers "
    "offer no login on it.",
    True,
)  # fmt: skip
PROVIDER_PORT: Final = Rule(
    "provider-port", _E, "This provider does not serve this port",
    "The provider's own documentation lists other ports; a connection to this one times out.",
    True,
)  # fmt: skip
TLS_BOTH: Final = Rule(
    "tls-both", _E, "Implicit TLS and STARTTLS at once",
    "TLS can begin once only; libraries refuse the pair or fail in the second handshake.",
    True,
)  # fmt: skip
TLS_NEVER: Final = Rule(
    "tls-never", _E, "The password travels in plain text",
    "Without TLS everybody on the way reads the password and the mail (RFC 8314, section 3), and most providers refuse "
    "the login.",
    True,
)  # fmt: skip
TLS_OPPORTUNISTIC: Final = Rule(
    "tls-opportunistic", _W, "The password travels in plain text when somebody removes STARTTLS",
    "STARTTLS is used where it is offered, and whoever is on the way can take the offer out of the server's reply.",
    True,
)  # fmt: skip
TLS_NOT_SUPPORTED: Final = Rule(
    "tls-not-supported", _E, "This library cannot do what this port needs",
    "The port needs TLS from the first octet, which the library does not know.",
    True,
)  # fmt: skip
VERIFICATION_OFF: Final = Rule(
    "verification-off", _W, "Certificates are not verified",
    "Anybody on the way can show a certificate of their own and read the password.",
    True,
)  # fmt: skip
USER_FORM: Final = Rule(
    "user-form", _E, "The user name does not have the provider's form",
    "The provider answers 535 to every password.",
    True,
)  # fmt: skip
SENDER_MISSING: Final = Rule(
    "sender-missing", _W, "No sender address",
    "The program has no default sender, or one that no server accepts.",
)  # fmt: skip
SECRET_IN_FILE: Final = Rule(
    "secret-in-file", _W, "A password stands in a file that is committed",
    "What is in version control is read by everybody with a copy, for ever; change the password as well.",
)  # fmt: skip
KEY_MISSPELT: Final = Rule(
    "key-misspelt", _E, "A setting looks misspelt",
    "No program reads this name, so what it says has no effect.",
    True,
)  # fmt: skip
CONTRADICTION: Final = Rule(
    "contradiction", _W, "Settings that cannot work together",
    "One of them is ignored or makes the other fail.",
)  # fmt: skip
RELAYHOST_WITHOUT_BRACKETS: Final = Rule(
    "relayhost-without-brackets", _W, "Postfix looks up MX hosts for a submission server",
    "Without brackets relayhost is a domain whose MX hosts Postfix asks for, and those serve port 25, not submission.",
    True,
)  # fmt: skip
TIMEOUT_ENDLESS: Final = Rule(
    "timeout-endless", _N, "No time-out",
    "The library waits for ever (PHPMailer: five minutes), and with it the request or the worker that sends mail.",
)  # fmt: skip

RULES: Final = (
    HOST_MISSING, HOST_NOT_A_NAME, HOST_MISSPELT, PORT_NOT_A_NUMBER, PORT_TLS_MISMATCH, PORT_25, PROVIDER_PORT,
    TLS_BOTH, TLS_NEVER, TLS_OPPORTUNISTIC, TLS_NOT_SUPPORTED, VERIFICATION_OFF, USER_FORM, SENDER_MISSING,
    SECRET_IN_FILE, KEY_MISSPELT, CONTRADICTION, RELAYHOST_WITHOUT_BRACKETS, TIMEOUT_ENDLESS,
)  # fmt: skip
BY_ID: Final = {rule.id: rule for rule in RULES}

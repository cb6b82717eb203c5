"""Who is at the other end of a session, as Received, Origin and the log tell it."""

from __future__ import annotations

from postreeve.mail.trace import protocol_name
from postreeve.policy.facts import Account, Facts, IpAddress
from postreeve.policy.settings import Role
from postreeve.queue.model import Origin


class Peer:
    """Changes with EHLO, STARTTLS and AUTH; what follows from it is made once and kept until then."""

    __slots__ = (
        "_origins",
        "account",
        "address",
        "cipher",
        "extended",
        "facts",
        "hello",
        "is_listed",
        "listener",
        "role",
        "session",
        "text",
        "tls_version",
    )

    def __init__(self, session: str, listener: str, role: Role, address: IpAddress, is_listed: bool) -> None:
        """`is_listed`: we relay for the client's network."""
        self.session = session
        self.listener = listener
        self.role = role
        self.address = address
        self.text = str(address)
        self.is_listed = is_listed
        self.hello = ""
        self.extended = False
        self.tls_version = ""
        self.cipher = ""
        self.account: Account | None = None
        self.changed()

    def changed(self) -> None:
        """Call it after any attribute was set."""
        self.facts = Facts(self.role, self.address, self.is_listed, self.account)
        self._origins: dict[bool, Origin] = {}

    def forget(self) -> None:
        """TLS has begun: nothing that was said before it counts (RFC 3207, section 4.2)."""
        self.hello = ""
        self.extended = False
        self.account = None
        self.changed()

    def origin(self, smtputf8: bool) -> Origin:
        """Where a message from this peer comes from."""
        origin = self._origins.get(smtputf8)
        if origin is None:
            account = self.account.name if self.account is not None else ""
            protocol = protocol_name(
                extended=self.extended, tls=bool(self.tls_version), auth=bool(account), smtputf8=smtputf8
            )
            origin = Origin(self.listener, self.text, self.hello, account, protocol, self.session)
            self._origins[smtputf8] = origin
        return origin

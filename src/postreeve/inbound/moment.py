"""What a session does about each event of the core: ask policy, answer, keep what the next moment needs to know."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from postreeve.inbound.login import Claimed
from postreeve.inbound.receive import Transaction
from postreeve.mail.envelope import EnvelopeRecipient
from postreeve.policy import connect, limits, login, recipient, sender, tls
from postreeve.policy.facts import client_key
from postreeve.policy.hello import answer_hello
from postreeve.smtp.event import (
    Authenticate,
    Closed,
    Connected,
    ContentChunk,
    ContentEnd,
    ContentStarted,
    Hello,
    Idled,
    Mail,
    Quit,
    Recipient,
    Refused,
    StartTls,
    TransactionReset,
    WrongProtocol,
)
from postreeve.telemetry.event import (
    Authenticated,
    AuthenticationFailed,
    CommandRefused,
    CredentialsMisplaced,
    MessageRefused,
    WrongProtocolSeen,
)

if TYPE_CHECKING:
    from postreeve.inbound.session import Session


def _on_connected(session: Session, _: Connected) -> None:
    session.core.reply(connect.greet(session.protocol.hostname).reply)


def _on_hello(session: Session, event: Hello) -> None:
    session.peer.hello, session.peer.extended = event.name, event.extended
    session.peer.changed()
    session.answer(answer_hello(session.protocol.hostname), "EHLO")


def _on_starttls(session: Session, _: StartTls) -> None:
    context = session.services.tls_context()
    session.answer(tls.judge_starttls(context is not None), "STARTTLS")
    if context is not None:
        session.flush()
        session.connection.start_tls(context, session.listener.limits.tls_timeout_seconds)


def _on_authenticate(session: Session, event: Authenticate) -> None:
    session.run(_log_in(session, event))


async def _log_in(session: Session, event: Authenticate) -> None:
    peer, tell = session.peer, session.services.tell
    claimed = Claimed(event.username, event.password, event.authorization_identity, client_key(peer.address))
    logins = session.services.logins
    if logins is None:
        verdict, account = login.UNAVAILABLE, None
    else:
        verdict, account = await logins.check(claimed, session.listener.limits)
    if not session.connection.is_open:
        return
    if account is not None:
        peer.account = account
        peer.changed()
        tell(Authenticated(peer.session, peer.text, account.name, event.mechanism))
        session.answer(verdict, "AUTH")
        return
    tell(AuthenticationFailed(peer.session, peer.text, event.username, event.mechanism, verdict.reason))
    session.answer(
        verdict, "AUTH", limits.note_failed_login(session.tally, session.listener.limits, session.is_stressed())
    )


def _on_mail(session: Session, event: Mail) -> None:
    services, peer = session.services, session.peer
    verdict = sender.judge_sender(peer.facts, event.reverse_path, event.parameters.priority, services.room())
    if verdict.is_positive:
        session.transaction = Transaction(services, peer, session.listener.limits, event.reverse_path, event.parameters)
    session.answer(verdict, "MAIL")


def _on_recipient(session: Session, event: Recipient) -> None:
    services, transaction = session.services, session.transaction
    assert transaction is not None
    verdict = recipient.judge_recipient(session.peer.facts, event.mailbox, services.domains, services.policy.hostname)
    patience = None
    if verdict.is_positive:
        mailbox = recipient.forward_path(event.mailbox, services.domains, services.policy)
        route = services.route(mailbox.domain)
        if route is None:
            verdict = recipient.NO_ROUTE
        else:
            transaction.add_recipient(EnvelopeRecipient(mailbox, event.parameters), route)
    elif verdict is recipient.UNKNOWN:
        patience = limits.note_unknown_recipient(session.tally, session.listener.limits, session.is_stressed())
    session.answer(verdict, "RCPT", patience)


def _on_content_started(session: Session, _: ContentStarted) -> None:
    session.commands += 1
    session.rate_from = session.loop.time()


def _on_content_chunk(session: Session, event: ContentChunk) -> None:
    assert session.transaction is not None
    if session.transaction.add_content(event.data):
        session.run(session.transaction.write_out())


def _on_content_end(session: Session, event: ContentEnd) -> None:
    transaction, session.transaction = session.transaction, None
    assert transaction is not None
    session.rate_from = None
    session.run(_finish(session, transaction, event))


async def _finish(session: Session, transaction: Transaction, end: ContentEnd) -> None:
    verdict = await transaction.finish(end)
    if verdict.is_positive:
        session.messages += 1
        session.tally.note_message()
    else:
        peer = session.peer
        sender_text = str(transaction.reverse_path or "")
        session.services.tell(MessageRefused(peer.session, peer.text, sender_text, str(verdict.reply), end.size_octets))
    if session.connection.is_open:
        session.answer(verdict, "DATA")


def _on_transaction_reset(session: Session, _: TransactionReset) -> None:
    transaction, session.transaction = session.transaction, None
    session.rate_from = None
    if transaction is not None and transaction.is_spooled:
        session.run(transaction.discard())


def _on_refused(session: Session, event: Refused) -> None:
    session.commands += 1
    peer, tell = session.peer, session.services.tell
    if event.credentials:
        tell(CredentialsMisplaced(peer.session, session.listener.name, peer.text))
    tell(CommandRefused(peer.session, peer.text, event.command, str(event.reply), "protocol"))
    session.be_patient(limits.note_error(session.tally, session.listener.limits, session.is_stressed()))


def _on_idled(session: Session, _: Idled) -> None:
    session.commands += 1
    session.be_patient(limits.note_junk(session.tally, session.listener.limits, session.is_stressed()))


def _on_wrong_protocol(session: Session, event: WrongProtocol) -> None:
    peer = session.peer
    hint = _HINTS.get(event.sniffed, "a scanner, or a client set up for another port")
    session.services.tell(WrongProtocolSeen(peer.session, session.listener.name, peer.text, event.sniffed, hint))


def _on_quit(session: Session, _: Quit) -> None:
    session.commands += 1
    session.connection.write_last(session.core.data_to_send(), "quit")


def _on_closed(session: Session, _: Closed) -> None:
    session.flush()
    session.connection.close("eof" if session.connection.has_ended else "protocol", linger=True)


_HINTS: Final = {
    "tls": "the client expects TLS from the first octet: it should use port 465, or STARTTLS here",
    "http": "a web browser or scanner",
    "ssh": "an SSH client",
    "proxy": "a proxy that is not listed in proxy_from speaks the PROXY protocol",
}

HANDLERS: Final[dict[type, Callable[[Session, Any], None]]] = {
    Connected: _on_connected,
    Hello: _on_hello,
    StartTls: _on_starttls,
    Authenticate: _on_authenticate,
    Mail: _on_mail,
    Recipient: _on_recipient,
    ContentStarted: _on_content_started,
    ContentChunk: _on_content_chunk,
    ContentEnd: _on_content_end,
    TransactionReset: _on_transaction_reset,
    Refused: _on_refused,
    Idled: _on_idled,
    WrongProtocol: _on_wrong_protocol,
    Quit: _on_quit,
    Closed: _on_closed,
}

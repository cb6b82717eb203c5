"""Doing the commands, and what the session's replies to them do.

One function per command (`_mail`), called only where `order` allows the command, and beside it the function that
settles the reply (`_settle_mail`) where the session owes one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from postreeve.mail.reply import Reply
from postreeve.smtp import sasl
from postreeve.smtp.bdat import BAD_CHUNK, parse_chunk
from postreeve.smtp.command import parse_command
from postreeve.smtp.content import TOO_LARGE, DotReader, Inspection
from postreeve.smtp.conversation import EARLY, Conversation
from postreeve.smtp.error import LocalProtocolError
from postreeve.smtp.event import Authenticate, ContentStarted, Event, Hello, Idled, Quit, StartTls, TransactionReset
from postreeve.smtp.extension import ehlo_lines, is_binary, offer
from postreeve.smtp.order import AFTER_REFUSAL, COMMANDS, TRANSACTION, State, Turn, Verb
from postreeve.smtp.path import read_mail, read_recipient
from postreeve.smtp.sniff import sniff

OK: Final = Reply(250, "2.0.0", "OK")
GO_AHEAD: Final = b"354 end the content with <CRLF>.<CRLF>\r\n"
BYE: Final = Reply(221, "2.0.0", "bye")
CANNOT_VERIFY: Final = Reply(252, "2.0.0", "cannot VRFY, but will take messages and try")
NO_EXPANSION: Final = Reply(502, "5.5.1", "EXPN is not implemented")
HELP: Final = Reply(214, "2.0.0", "see RFC 5321; commands: " + " ".join(v for v in Verb if v is not Verb.UNKNOWN))
NO_ARGUMENT: Final = Reply(501, "5.5.4", "this command takes no argument")
BAD_HELLO: Final = Reply(501, "5.5.4", "syntax: EHLO hostname")
INJECTED: Final = Reply(554, "5.5.1", "nothing may follow STARTTLS before the TLS handshake")
NO_DATA_FOR_BINARY: Final = Reply(503, "5.5.1", "BINARYMIME needs BDAT")
TOO_MANY_RECIPIENTS: Final = Reply(452, "4.5.3", "too many recipients")
TOO_MANY_MESSAGES: Final = Reply(421, "4.7.0", "too many messages in one connection: connect again")
BAD_AUTH: Final = Reply(501, "5.5.4", "syntax: AUTH mechanism")
NO_MECHANISM: Final = Reply(504, "5.5.4", "unknown authentication mechanism")

# Looking up a member of an Enum costs more than all else that these settlements do.
_SENDER: Final = State.SENDER
_RECIPIENT: Final = State.RECIPIENT
_CONTENT: Final = State.CONTENT
_CONTENT_ENDED: Final = Turn.CONTENT_ENDED

_Obey = Callable[[Conversation, str], Event | None]


def obey(talk: Conversation, line: bytes) -> Event | None:
    """Do the command on `line`, or say why not: first what the situation closes, then what the order forbids."""
    command = parse_command(line)
    if isinstance(command, Reply):
        return talk.refuse("", command)
    verb, argument, name = command
    refusal = talk.offer.closed.get(verb)
    if refusal is None:
        move = COMMANDS[talk.state][verb]
        if isinstance(move, State):
            return _COMMANDS[verb](talk, argument)
        refusal = move
    if verb is Verb.BDAT:
        return _begin_chunk(talk, argument, refusal)
    if verb is Verb.UNKNOWN and (protocol := sniff(line)) is not None:
        return talk.meet_stranger(protocol)
    misplaced_login = verb is Verb.AUTH and verb in talk.offer.closed and not talk.authenticated
    return talk.refuse(name, refusal, credentials=misplaced_login)


def settle_greeting(talk: Conversation, reply: Reply) -> None:
    """The reply to `Connected`. Octets that are here already came too early, and may be no SMTP at all."""
    if reply.code == 220 and talk.has_buffered:
        if (protocol := sniff(talk.buffer)) is not None:
            talk.news.append(talk.meet_stranger(protocol))
            return
        if talk.spoke_early:
            talk.refuse_afterwards("", EARLY)
            return
    talk.say(reply)
    talk.turn(Turn.WELCOMED if reply.code == 220 else Turn.TURNED_AWAY)


def _ehlo(talk: Conversation, argument: str) -> Event:
    return _hello(talk, argument, Verb.EHLO)


def _helo(talk: Conversation, argument: str) -> Event:
    return _hello(talk, argument, Verb.HELO)


def _hello(talk: Conversation, argument: str, verb: Verb) -> Event:
    """RFC 5321, section 4.1.1.1. Whether the name is a good one is policy."""
    if not argument or " " in argument or not argument.isascii() or len(argument) > 255:
        return talk.refuse(verb, BAD_HELLO)
    talk.extended = verb is Verb.EHLO
    talk.owed = _settle_hello
    return Hello(argument, talk.extended)


def _settle_hello(talk: Conversation, reply: Reply) -> None:
    """RFC 5321, section 4.1.4: an accepted EHLO resets all that came before; a refused one changes nothing."""
    verb = Verb.EHLO if talk.extended else Verb.HELO
    if not reply.is_positive:
        talk.say(reply)
        return
    if talk.spoke_early:
        talk.refuse_afterwards(verb, EARLY)
        return
    first = Reply(250, "", reply.text.split("\n", 1)[0]).to_bytes()
    if talk.extended:
        now = talk.clock() if talk.settings.offer_future_release else 0.0
        first = b"250-" + first[4:] + ehlo_lines(talk.offer, talk.settings, now)
    talk.out.append(first)
    if talk.state in TRANSACTION:
        talk.news.append(TransactionReset())
    if talk.said_hello:
        talk.news.append(Idled(verb))
    talk.said_hello = True
    talk.state = State.READY


def _starttls(talk: Conversation, argument: str) -> Event:
    """RFC 3207, section 4. Octets behind the command were meant to be taken as if they had come inside TLS."""
    if argument:
        return talk.refuse(Verb.STARTTLS, NO_ARGUMENT)
    if talk.has_buffered:
        return talk.refuse_and_close(Verb.STARTTLS, INJECTED)
    talk.owed = _settle_starttls
    return StartTls()


def _settle_starttls(talk: Conversation, reply: Reply) -> None:
    if reply.code != 220:
        talk.say(reply)
    elif talk.has_buffered:
        talk.refuse_afterwards(Verb.STARTTLS, INJECTED)
    else:
        talk.say(reply)
        talk.state = State.HANDSHAKE


def _auth(talk: Conversation, argument: str) -> Event | None:
    """RFC 4954, section 4: "AUTH" SP mechanism [SP initial-response]; "=" is an empty initial response."""
    if not argument:
        return talk.refuse(Verb.AUTH, BAD_AUTH)
    mechanism, _, initial = argument.partition(" ")
    talk.mechanism = mechanism.upper() if mechanism.isascii() else ""
    talk.exchange = sasl.begin(talk.mechanism)
    if talk.exchange is None:
        return talk.refuse(Verb.AUTH, NO_MECHANISM)
    talk.state = State.SASL
    if not initial:
        return advance_exchange(talk, None)
    return advance_exchange(talk, b"" if initial == "=" else sasl.decode_response(initial.encode()))


def advance_exchange(talk: Conversation, response: bytes | Reply | None) -> Event | None:
    """One step of the SASL exchange; a Reply for `response` is a line that could not be read and ends it."""
    assert talk.exchange is not None
    step = response if isinstance(response, Reply) else talk.exchange.step(response)
    if isinstance(step, bytes):
        talk.out.append(sasl.encode_challenge(step))
        return None
    talk.exchange = None
    if isinstance(step, Reply):
        talk.turn(Turn.SASL_ENDED)
        return talk.refuse(Verb.AUTH, step)
    talk.owed = _settle_auth
    return Authenticate(talk.mechanism, step.username, step.password, step.authorization_identity)


def _settle_auth(talk: Conversation, reply: Reply) -> None:
    talk.say(reply)
    talk.turn(Turn.SASL_ENDED)
    if reply.code == 235:
        talk.authenticated = True
        talk.offer = offer(talk.settings, tls_active=talk.tls_active, authenticated=True)


def _mail(talk: Conversation, argument: str) -> Event:
    """RFC 5321, section 4.1.1.2; RFC 9422 for the bound on messages."""
    if talk.messages >= talk.settings.max_messages:
        return talk.refuse_and_close(Verb.MAIL, TOO_MANY_MESSAGES)
    mail = read_mail(argument, talk.offer, talk.settings, talk.clock)
    if isinstance(mail, Reply):
        return talk.refuse(Verb.MAIL, mail)
    talk.parameters = mail.parameters
    talk.owed = _settle_mail
    return mail


def _settle_mail(talk: Conversation, reply: Reply) -> None:
    talk.out.append(reply.to_bytes())
    if reply.is_positive:
        talk.state = _SENDER
        talk.messages += 1
        talk.recipients = 0


def _rcpt(talk: Conversation, argument: str) -> Event:
    """RFC 5321, section 4.1.1.3; section 4.5.3.1.10 for too many."""
    recipient = read_recipient(argument, talk.offer, talk.settings, smtputf8=talk.parameters.smtputf8)
    if not isinstance(recipient, Reply):
        if talk.recipients < talk.settings.max_recipients:
            talk.owed = _settle_rcpt
            return recipient
        recipient = TOO_MANY_RECIPIENTS
    _note_refused_recipient(talk)
    return talk.refuse(Verb.RCPT, recipient)


def _settle_rcpt(talk: Conversation, reply: Reply) -> None:
    talk.out.append(reply.to_bytes())
    if reply.is_positive:
        talk.state = _RECIPIENT
        talk.recipients += 1
    else:
        _note_refused_recipient(talk)


def _note_refused_recipient(talk: Conversation) -> None:
    talk.state = AFTER_REFUSAL[talk.state].get(Verb.RCPT, talk.state)


def _data(talk: Conversation, argument: str) -> Event:
    """RFC 5321, section 4.1.1.4; RFC 3030, section 3: no DATA for BINARYMIME."""
    if argument:
        return talk.refuse(Verb.DATA, NO_ARGUMENT)
    if is_binary(talk.parameters):
        return talk.refuse(Verb.DATA, NO_DATA_FOR_BINARY)
    if talk.spoke_early:
        return talk.refuse_and_close(Verb.DATA, EARLY)
    talk.out.append(GO_AHEAD)
    talk.state = _CONTENT
    talk.dots = DotReader()
    talk.inspection = Inspection(talk.settings, binary=False)
    return ContentStarted(chunking=False)


def settle_content(talk: Conversation, reply: Reply) -> None:
    """The reply to `ContentEnd`: the mail transaction is over, whatever it says."""
    problem = talk.inspection.problem if talk.inspection is not None else None
    if problem is not None and reply.is_positive:
        raise LocalProtocolError(f"content with a problem was accepted: {problem}")
    talk.say(reply)
    talk.turn(_CONTENT_ENDED)


def _bdat(talk: Conversation, argument: str) -> Event | None:
    return _begin_chunk(talk, argument, None)


def _begin_chunk(talk: Conversation, argument: str, refusal: Reply | None) -> Event | None:
    """RFC 3030, section 2. Where the length cannot be known, or is more than we are ready to read, we close."""
    chunk = parse_chunk(argument)
    if chunk is None:
        return talk.refuse_and_close(Verb.BDAT, BAD_CHUNK)
    limit = talk.settings.max_message_octets
    if chunk.octets > limit:
        return talk.refuse_and_close(Verb.BDAT, TOO_LARGE)
    talk.chunk = chunk
    chunk.refusal = refusal
    if refusal is None and talk.state is not State.CHUNKING:
        talk.state = State.CHUNKING
        talk.inspection = Inspection(talk.settings, is_binary(talk.parameters))
        return ContentStarted(chunking=True)
    if refusal is None and talk.inspection is not None and talk.inspection.size + chunk.octets > limit:
        chunk.refusal = TOO_LARGE
    return None


def _rset(talk: Conversation, argument: str) -> Event:
    """RFC 5321, section 4.1.1.5."""
    if argument:
        return talk.refuse(Verb.RSET, NO_ARGUMENT)
    talk.say(OK)
    if talk.state not in TRANSACTION:
        return Idled(Verb.RSET)
    talk.state = State.READY
    talk.news.append(Idled(Verb.RSET))
    return TransactionReset()


def _quit(talk: Conversation, argument: str) -> Event:
    """RFC 5321, section 4.1.1.10."""
    if argument:
        return talk.refuse(Verb.QUIT, NO_ARGUMENT)
    talk.say(BYE)
    talk.shut()
    return Quit()


def _idle(verb: Verb, reply: Reply) -> _Obey:
    """A command that moves no mail (RFC 5321, sections 3.5 and 4.1.1.6 to 4.1.1.9)."""

    def answer(talk: Conversation, _argument: str) -> Event:
        talk.say(reply)
        return Idled(verb)

    return answer


_COMMANDS: Final[Mapping[Verb, _Obey]] = MappingProxyType(
    {
        Verb.EHLO: _ehlo,
        Verb.HELO: _helo,
        Verb.STARTTLS: _starttls,
        Verb.AUTH: _auth,
        Verb.MAIL: _mail,
        Verb.RCPT: _rcpt,
        Verb.DATA: _data,
        Verb.BDAT: _bdat,
        Verb.RSET: _rset,
        Verb.NOOP: _idle(Verb.NOOP, OK),
        Verb.VRFY: _idle(Verb.VRFY, CANNOT_VERIFY),
        Verb.EXPN: _idle(Verb.EXPN, NO_EXPANSION),
        Verb.HELP: _idle(Verb.HELP, HELP),
        Verb.QUIT: _quit,
    }
)

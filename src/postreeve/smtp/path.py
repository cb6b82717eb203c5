"""MAIL and RCPT: from a command's argument to its event, or to the reply that refuses it.

RFC 5321, sections 4.1.1.2 and 4.1.1.3; RFC 6531, sections 3.3 and 3.5.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from postreeve.mail.address import parse_mailbox
from postreeve.mail.envelope import NO_MAIL_PARAMETERS, NO_RECIPIENT_PARAMETERS
from postreeve.mail.reply import Reply
from postreeve.smtp.event import Mail, Recipient
from postreeve.smtp.extension import Offer, parse_mail_parameters, parse_recipient_parameters
from postreeve.smtp.grammar import split_path, strip_source_route
from postreeve.smtp.parameter import Terms
from postreeve.smtp.settings import ServerSettings

MAIL_SYNTAX: Final = Reply(501, "5.5.4", "syntax: MAIL FROM:<address> [parameters]")
RCPT_SYNTAX: Final = Reply(501, "5.5.4", "syntax: RCPT TO:<address> [parameters]")
BAD_SENDER: Final = Reply(501, "5.1.7", "malformed sender address")
BAD_RECIPIENT: Final = Reply(501, "5.1.3", "malformed recipient address")
NEEDS_SMTPUTF8: Final = Reply(553, "5.6.7", "an address beyond ASCII needs SMTPUTF8")


def read_mail(argument: str, offered: Offer, settings: ServerSettings, clock: Callable[[], float]) -> Mail | Reply:
    """The event of MAIL; `<>` is the null reverse-path (RFC 5321, section 4.5.5)."""
    split = split_path(argument, "FROM:")
    if split is None:
        return MAIL_SYNTAX
    path, rest = split
    parameters = NO_MAIL_PARAMETERS
    if rest:
        parsed = parse_mail_parameters(offered, rest, Terms(settings, clock()))
        if isinstance(parsed, Reply):
            return parsed
        parameters = parsed
    if not path:
        return Mail(None, parameters)
    if not parameters.smtputf8 and not path.isascii():
        return NEEDS_SMTPUTF8
    mailbox = parse_mailbox(strip_source_route(path))
    return BAD_SENDER if mailbox is None else Mail(mailbox, parameters)


def read_recipient(argument: str, offered: Offer, settings: ServerSettings, *, smtputf8: bool) -> Recipient | Reply:
    """The event of RCPT; `smtputf8` says what MAIL asked for."""
    split = split_path(argument, "TO:")
    if split is None:
        return RCPT_SYNTAX
    path, rest = split
    parameters = NO_RECIPIENT_PARAMETERS
    if rest:
        parsed = parse_recipient_parameters(offered, rest, Terms(settings, 0.0, smtputf8))
        if isinstance(parsed, Reply):
            return parsed
        parameters = parsed
    if not smtputf8 and not path.isascii():
        return NEEDS_SMTPUTF8
    path = strip_source_route(path)
    mailbox = parse_mailbox(path)
    if mailbox is None:
        if path.lower() != "postmaster":
            return BAD_RECIPIENT
        mailbox = offered.postmaster
    return Recipient(mailbox, parameters)

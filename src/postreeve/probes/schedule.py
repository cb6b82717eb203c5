"""What to do next at one address and port, decided from what was seen there so far.

PURE. A client knows one way in; a probe must find out which way the server has, and must not behave like an attack
while it does: three connections are all it ever makes, each decided by the one before.

    seen so far                                     next connection
    nothing                                         as meant, else by the port's convention, else wait for a greeting
    in the clear: silence, or a TLS record          ClientHello first
    in the clear: STARTTLS, but no handshake        the same with old versions and weak ciphers allowed
    in the clear: STARTTLS masked by a middlebox    ask for STARTTLS all the same
    ClientHello: plain text, silence, hung up       wait for a greeting
    ClientHello: an alert, or another failure       the same with old versions and weak ciphers allowed
    ClientHello: hung up; in the clear: silence     ClientHello with old versions and weak ciphers allowed
    in the clear: silence; ClientHello: silence     wait for a greeting for longer
    TLS and a good end, soon; no host of that name  the same without SNI
    421, a rate limit, anything else                none
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from postreeve.checks.conversation import Conversation, Ending, Opening
from postreeve.checks.facts import Endpoint, Intent
from postreeve.checks.path import DialOutcome
from postreeve.checks.stage import Stage
from postreeve.ports.service import BY_PORT, Mode, convention
from postreeve.probes.script import StartTls

MAX_CONNECTIONS: Final = 3
PEEK_SECONDS: Final = 2.0
"""How long to wait for a greeting where neither user nor port say that there will be one."""
_SOON_SECONDS: Final = 2.0
"""A server that takes longer over one conversation is spared another that is only for the sake of knowledge."""
_RATE_WORDS: Final = re.compile(
    r"too many|rate.?limit|throttl|slow down|try again later|too fast|4\.7\.28", re.IGNORECASE
)
_MASKED: Final = re.compile(r"^[*\d ]*\*{8,}|^X{6,}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Step:
    """One connection. `is_patient`: wait three times as long for the greeting; `is_peek`: two seconds at most;
    `is_nameless`: without SNI.
    """

    opening: Opening
    starttls: StartTls = StartTls.IF_OFFERED
    is_lenient: bool = False
    is_peek: bool = False
    is_patient: bool = False
    is_nameless: bool = False


def next_step(port: int, intent: Intent, endpoint: Endpoint) -> Step | None:
    """The next connection to this endpoint, None when enough was seen or more would be rude."""
    talks = endpoint.conversations
    if not talks:
        return first_step(port, intent)
    if len(endpoint.dials) >= MAX_CONNECTIONS or any(is_limited(talk) for talk in talks):
        return None
    last = talks[-1]
    if last.dial.outcome is not DialOutcome.OPEN or any(_is_last(one) for one in talks):
        return None
    if _is_worth_asking_without_name(last):
        return Step(last.opening, _starttls(intent), is_nameless=True)
    return _after_clear(intent, talks) if last.opening is Opening.CLEAR else _after_tls(intent, talks)


def _is_last(talk: Conversation) -> bool:
    return talk.is_nameless or (talk.tls is not None and talk.tls.is_lenient)


def _is_worth_asking_without_name(talk: Conversation) -> bool:
    """Servers of many names choose by SNI: what is there for clients that send none, as Postfix and Exim do?"""
    tls = talk.tls
    if tls is None or not tls.server_name:
        return False
    if tls.alert == "unrecognized_name":
        return True
    is_well = tls.version and talk.ending is Ending.QUIT and talk.ended_at in (Stage.NONE, Stage.CERT)
    return bool(is_well) and tls.seconds + sum(said.seconds for said in talk.said) < _SOON_SECONDS


def first_step(port: int, intent: Intent) -> Step:
    """How a client that means `intent` begins on this port."""
    if intent is Intent.IMPLICIT or (intent is Intent.AUTO and convention(port) is Mode.IMPLICIT):
        return Step(Opening.TLS)
    is_peek = intent is Intent.AUTO and port not in BY_PORT
    return Step(Opening.CLEAR, _starttls(intent), is_peek=is_peek)


def _after_clear(intent: Intent, talks: Sequence[Conversation]) -> Step | None:
    talk, has_tried_tls = talks[-1], any(one.opening is Opening.TLS for one in talks)
    if talk.protocol == "tls" and not has_tried_tls:
        return Step(Opening.TLS)
    if _is_silent(talk):
        if not has_tried_tls:
            return Step(Opening.TLS)
        return Step(Opening.TLS, is_lenient=True) if _is_hung_up(talks[0]) else None
    if talk.tls is not None and not talk.tls.version and talk.ending is not Ending.QUIT:
        return Step(Opening.CLEAR, StartTls.IF_OFFERED, is_lenient=True)
    if intent is not Intent.PLAIN and talk.tls is None and is_masked(talk):
        return Step(Opening.CLEAR, StartTls.ALWAYS)
    return None


def _after_tls(intent: Intent, talks: Sequence[Conversation]) -> Step | None:
    talk, has_tried_clear = talks[-1], any(one.opening is Opening.CLEAR for one in talks)
    if talk.tls is None or talk.tls.version:
        return None
    if has_tried_clear and talk.protocol not in ("", "smtp", "tls", "tls-alert"):
        return None
    if talk.tls.alert:
        return Step(Opening.TLS, is_lenient=True)
    if not has_tried_clear:
        is_text = bool(talk.heard or talk.tls.heard) or talk.ending in (Ending.TIMED_OUT, Ending.NOT_SMTP)
        if is_text or _is_hung_up(talk):
            return Step(Opening.CLEAR, _starttls(intent))
        return Step(Opening.TLS, is_lenient=True)
    return Step(Opening.CLEAR, _starttls(intent), is_patient=True)


def _is_silent(talk: Conversation) -> bool:
    """Nothing came at all: the server waits for us to begin, is slow, or is no server."""
    return not talk.heard and talk.ending is Ending.TIMED_OUT and not any(said.code for said in talk.said)


def _is_hung_up(talk: Conversation) -> bool:
    """The server hung up on our ClientHello without a word: as old ones do, or those that hang up on everybody."""
    has_ended = talk.ending in (Ending.CLOSED, Ending.RESET) or (talk.tls is not None and "EOF" in talk.tls.error)
    return talk.opening is Opening.TLS and has_ended


def _starttls(intent: Intent) -> StartTls:
    match intent:
        case Intent.PLAIN:
            return StartTls.NEVER
        case Intent.STARTTLS:
            return StartTls.REQUIRED
        case _:
            return StartTls.IF_OFFERED


def is_limited(talk: Conversation) -> bool:
    """Whether the server asked us to come back later: then nobody should come at once."""
    if talk.ending is Ending.STOPPED and any(said.code == 421 for said in talk.said):
        return True
    return any(said.code == 421 or (400 <= said.code < 600 and _RATE_WORDS.search(said.text)) for said in talk.said)


def is_masked(talk: Conversation) -> bool:
    """Whether a firewall that inspects SMTP overwrote greeting or keywords with asterisks or Xs."""
    lines = [line for said in talk.said if said.stage in (Stage.BANNER, Stage.EHLO) for line in said.lines]
    return any(_MASKED.match(line) for line in lines)


def has_connected(endpoint: Endpoint) -> bool:
    """Whether any connect was answered."""
    return any(dial.outcome is DialOutcome.OPEN for dial in endpoint.dials)


def has_failed(endpoint: Endpoint, intent: Intent) -> bool:
    """Whether something went wrong that could be the path's doing rather than the server's."""
    if not has_connected(endpoint):
        return True
    talks = [talk for talk in endpoint.conversations if not talk.is_nameless]
    if not talks or any(talk.ending not in (Ending.QUIT, Ending.STOPPED) for talk in talks):
        return True
    last = talks[-1]
    if last.injected or is_masked(last):
        return True
    tls = last.tls
    if tls is not None and (not tls.version or tls.is_name_right is False or tls.troubles):
        return True
    hello = last.reply(Stage.EHLO, in_tls=False)
    offers = hello is not None and any(line.strip().upper() == "STARTTLS" for line in hello.lines[1:])
    lacks_tls = tls is None and not offers and last.opening is Opening.CLEAR and intent is not Intent.PLAIN
    return lacks_tls or any(
        said.code >= 400 for said in last.said if said.stage in (Stage.BANNER, Stage.EHLO, Stage.TLS)
    )

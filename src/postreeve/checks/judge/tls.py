"""TLS: the mode that is really spoken, STARTTLS offered, hidden, refused or tampered with, and handshakes that fail."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from postreeve.checks.conversation import Conversation, Ending, Opening, Said, Tls
from postreeve.checks.facts import Intent
from postreeve.checks.judge.banner import FOREIGN, silence
from postreeve.checks.judge.case import Case, capabilities, is_loopback, is_tls_server
from postreeve.checks.judge.certificate import usable
from postreeve.checks.judge.hello import is_masked_banner, masked_keywords
from postreeve.checks.judge.verdicts import found
from postreeve.checks.judge.wording import ended, quoted, shaken, shown, told
from postreeve.checks.stage import Stage
from postreeve.checks.verdict import Confidence, Verdict

_OLD: Final = ("SSLv3", "TLSv1", "TLSv1.0", "TLSv1.1")
_DEMANDS_TLS: Final = re.compile(r"starttls", re.IGNORECASE)
_CLIENT_CERTIFICATE: Final = ("certificate_required", "bad_certificate", "certificate_unknown", "no_certificate")
_TORN: Final = ("EOF", "ZERO_RETURN", "SYSCALL", "RESET", "CLOSED")


def judge_mode(case: Case) -> Iterator[Verdict]:
    """A TLS client where the server speaks SMTP in the clear first."""
    if case.mode is not Intent.IMPLICIT:
        return
    wrapped = [one for one in case.opened(Opening.TLS) if one.tls is not None]
    if not wrapped or any(one.tls is not None and is_tls_server(one.tls) for one in wrapped):
        return
    talk = wrapped[0]
    assert talk.tls is not None
    greeting = case.speaks_in_the_clear
    heard = talk.tls.heard or talk.heard
    if greeting is not None:
        evidence = (shaken(talk.tls), told(greeting))
        yield found(case, "tls-to-plain", Confidence.HIGH, Stage.TLS, *evidence)
    elif talk.protocol in ("", "smtp", "tls") and re.match(r"[2-5]\d\d[ -]", heard):
        yield found(
            case, "tls-to-plain", Confidence.HIGH, Stage.TLS, shaken(talk.tls), f"that is SMTP: {quoted(heard)}"
        )
    elif not any(one.protocol in FOREIGN for one in case.conversations):
        yield from _nothing_came(case, talk)


def _nothing_came(case: Case, talk: Conversation) -> Iterator[Verdict]:
    """To a ClientHello sent at once nothing came that we know."""
    clear = case.opened(Opening.CLEAR)
    lines = (ended(talk), *(ended(one) for one in clear))
    dead = {one.ending for one in clear}
    if not talk.heard and Ending.TIMED_OUT in (talk.ending, *dead) and dead <= {Ending.TIMED_OUT}:
        yield silence(case, *lines)
    elif dead and dead <= {Ending.CLOSED, Ending.RESET}:
        cause = "reset" if Ending.RESET in dead else "immediate-close"
        yield found(case, cause, Confidence.HIGH, Stage.BANNER, *lines)
    elif not clear and not talk.heard and talk.ending in (Ending.CLOSED, Ending.RESET):
        cause = "reset" if talk.ending is Ending.RESET else "immediate-close"
        maybe = "not one octet came: it hangs up at once, or at the ClientHello (starttls-eof)"
        yield found(case, cause, Confidence.MEDIUM, Stage.BANNER, *lines, maybe)
    elif talk.heard or (talk.tls is not None and talk.tls.heard):
        heard = talk.heard or (talk.tls.heard if talk.tls is not None else "")
        line = f"what came is neither TLS nor SMTP: {quoted(heard)}"
        yield found(case, "banner-not-smtp", Confidence.HIGH, Stage.BANNER, line, protocol="no SMTP")
    elif talk.tls is not None:
        yield from _handshake(case, talk, talk.tls)


def judge_starttls(case: Case) -> Iterator[Verdict]:
    """STARTTLS: not offered, masked on the way, refused, or followed by words that were injected."""
    if case.mode is Intent.IMPLICIT:
        return
    talk = case.main
    if talk is None or talk.opening is Opening.TLS:
        return
    if talk.injected:
        line = f"after the reply to STARTTLS came in the clear: {quoted(' '.join(talk.injected))}"
        yield found(case, "starttls-injected", Confidence.HIGH, Stage.TLS, line)
        return
    hello = talk.reply(Stage.EHLO, in_tls=False)
    greeting = talk.reply(Stage.BANNER)
    if hello is None or hello.code != 250 or greeting is None:
        return
    asked = next((said for said in talk.said if said.command.upper() == "STARTTLS"), None)
    if "STARTTLS" not in capabilities(hello):
        yield from _not_offered(case, talk, hello, greeting)
    elif asked is not None and asked.code and asked.code != 220:
        cause = "starttls-454" if asked.code < 500 else "starttls-refused"
        yield found(case, cause, Confidence.HIGH, Stage.TLS, told(hello), told(asked))
    elif asked is not None and not asked.code and talk.tls is None:
        yield found(case, "starttls-eof", Confidence.HIGH, Stage.TLS, told(hello), ended(talk))


def _not_offered(case: Case, talk: Conversation, hello: Said, greeting: Said) -> Iterator[Verdict]:
    masked = masked_keywords(hello)
    if is_masked_banner(greeting) or any(re.fullmatch("X{7}A", one.split()[0]) for one in masked):
        yield found(case, "asa-fixup", Confidence.HIGH, Stage.EHLO, told(greeting), told(hello))
        return
    if masked:
        line = f"where STARTTLS is due stands {quoted(masked[0])}: a device on the way has written over it"
        yield found(case, "starttls-stripped", Confidence.HIGH, Stage.TLS, told(hello), line)
        return
    asked = next((said for said in talk.said if said.command.upper() == "STARTTLS"), None)
    if asked is not None and asked.code == 220:
        line = "it is not offered, yet the server takes it: the offer was removed on the way"
        yield found(case, "starttls-stripped", Confidence.HIGH, Stage.TLS, told(hello), told(asked), line)
        return
    demands = next((one for one in talk.said if one.code >= 500 and _DEMANDS_TLS.search(one.text)), None)
    demands = demands if demands is not None and demands.command.upper() != "STARTTLS" else None
    if demands is not None and talk.tls is None and not mentions_refusal(demands):
        line = "the server demands STARTTLS and its offer does not reach us: something on the way removes it"
        maybe = "a server that cannot load its key behaves alike (starttls-missing): compare from another network"
        yield found(case, "starttls-stripped", Confidence.MEDIUM, Stage.TLS, told(hello), told(demands), line, maybe)
        return
    if case.mode is Intent.STARTTLS and case.asked.is_application:
        other = case.speaks_implicit_tls
        also = shaken(other.tls) if other is not None and other.tls is not None else ""
        yield found(case, "starttls-missing", Confidence.HIGH, Stage.TLS, told(hello), also)


def mentions_refusal(said: Said) -> bool:
    """True when the words about STARTTLS say that there is none, instead of asking for it."""
    return bool(
        re.search(r"not (available|supported|implemented|offered|enabled)|unknown|unrecogni", said.text, re.IGNORECASE)
    )


def judge_handshake(case: Case) -> Iterator[Verdict]:
    """Handshakes that were begun and failed."""
    talk = case.main
    if talk is None or talk.tls is None or (talk.tls.version and not _wants_certificate(talk)):
        return
    if (
        talk.opening is Opening.TLS
        and not talk.tls.alert
        and case.mode is Intent.IMPLICIT
        and not is_tls_server(talk.tls)
    ):
        return  # `judge_mode` has it
    yield from _handshake(case, talk, talk.tls)


def _wants_certificate(talk: Conversation) -> bool:
    """True when the server asked for a certificate of ours and hung up without one, right after the handshake."""
    assert talk.tls is not None
    inside = [said for said in talk.said if said.is_in_tls and said.code]
    return talk.tls.wants_client_certificate and not inside and talk.ending is not Ending.QUIT


def _handshake(case: Case, talk: Conversation, tls: Tls) -> Iterator[Verdict]:
    lenient = case.lenient
    lines = (shaken(tls), shaken(lenient) if lenient is not None else "")
    if (
        _wants_certificate(talk)
        or tls.alert == "certificate_required"
        or (tls.wants_client_certificate and tls.alert in (*_CLIENT_CERTIFICATE, "handshake_failure"))
    ):
        note = "the server asked for a client certificate" if tls.wants_client_certificate else ""
        yield found(case, "mtls", Confidence.HIGH, Stage.TLS, *lines, note, "it hung up when none came")
    elif tls.alert == "unrecognized_name":
        other = case.nameless
        seen = f"without SNI it shows {shown(other.chain[0])}" if other is not None else ""
        good = usable(other.chain[0]) if other is not None else ""
        yield found(case, "sni-unrecognized", Confidence.HIGH, Stage.TLS, *lines, seen, good=good)
    elif "DH_KEY_TOO_SMALL" in tls.error or (lenient is not None and is_small_dh(lenient)):
        yield found(case, "tls-dh", Confidence.HIGH, Stage.TLS, *lines)
    elif "EE_KEY_TOO_SMALL" in tls.error or "MD_TOO_WEAK" in tls.error or "CA_KEY_TOO_SMALL" in tls.error:
        yield found(case, "cert-weak", Confidence.HIGH, Stage.CERT, *lines)
    elif _is_version(tls, lenient):
        yield found(
            case, "tls-protocol", Confidence.HIGH, Stage.TLS, *lines, versions=lenient.version if lenient else ""
        )
    elif tls.alert in ("handshake_failure", "insufficient_security"):
        certain = Confidence.HIGH if lenient is not None else Confidence.MEDIUM
        yield found(case, "tls-cipher", certain, Stage.TLS, *lines)
    elif tls.alert:
        yield found(case, "tls-alert", Confidence.HIGH, Stage.TLS, *lines, alert=tls.alert)
    else:
        yield from _torn(case, talk, tls, lines)


def _is_version(tls: Tls, lenient: Tls | None) -> bool:
    if tls.alert == "protocol_version" or any(one in tls.error for one in ("UNSUPPORTED_PROTOCOL", "SIGALG")):
        return True
    return lenient is not None and lenient.version in _OLD


def _torn(case: Case, talk: Conversation, tls: Tls, lines: tuple[str, ...]) -> Iterator[Verdict]:
    """No alert: the connection went away, went silent, or something else came."""
    if talk.ending is Ending.TIMED_OUT or "TIMED_OUT" in tls.error or "TIMEOUT" in tls.error:
        if is_loopback(case.endpoint.address) or tls.heard:
            yield found(case, "tls-timeout", Confidence.HIGH, Stage.TLS, *lines, ended(talk))
            return
        small = "small packets (greeting, EHLO) came through, the large ones of the handshake did not"
        maybe = "the server may also have stopped: compare from another network"
        yield found(case, "mtu", Confidence.MEDIUM, Stage.TLS, *lines, ended(talk), small, maybe)
    elif tls.heard or any(
        one in tls.error for one in ("WRONG_VERSION", "RECORD", "UNEXPECTED_MESSAGE", "HTTP_REQUEST")
    ):
        yield found(case, "unexpected-record", Confidence.HIGH, Stage.TLS, *lines)
    elif talk.ending in (Ending.CLOSED, Ending.RESET) or any(mark in tls.error for mark in _TORN):
        yield found(case, "starttls-eof", Confidence.HIGH, Stage.TLS, *lines, ended(talk))
    else:
        yield found(case, "tls-alert", Confidence.MEDIUM, Stage.TLS, *lines, alert=tls.error or "none")


def is_small_dh(tls: Tls) -> bool:
    """True for a key exchange over a prime of fewer than 2048 bits, where `Tls.group` tells."""
    match = re.fullmatch(r"(?:DH|ffdhe|DHE)[ -]?(\d+)(?: bits?)?", tls.group, re.IGNORECASE)
    return match is not None and int(match[1]) < 2048

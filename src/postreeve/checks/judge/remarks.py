"""What is worth knowing though nothing fails by it now: findings of level warning and note about one endpoint."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from postreeve.checks.conversation import Conversation, Said, Tls
from postreeve.checks.facts import Facts, Intent
from postreeve.checks.finding import Finding, Level
from postreeve.checks.judge.banner import SLOW_SECONDS
from postreeve.checks.judge.case import Case, capabilities, is_loopback, is_private, mechanisms
from postreeve.checks.judge.certificate import certificate_faults, rsa_bits
from postreeve.checks.judge.fix import fix_for, fix_text
from postreeve.checks.judge.hello import is_masked_banner
from postreeve.checks.judge.login import MAY_BE_CLEAR
from postreeve.checks.judge.name import looked_up
from postreeve.checks.judge.tls import is_small_dh
from postreeve.checks.judge.wording import day, shaken, shown, told
from postreeve.checks.stage import Stage

_SOON_DAYS: Final = 14.0
_OLD: Final = ("SSLv3", "TLSv1", "TLSv1.0", "TLSv1.1")


def remark(case: Case) -> Iterator[Finding]:
    """The findings about one endpoint that answered."""
    talk = case.main or case.farthest
    if talk is None:
        return
    yield from _greeting(case, talk)
    yield from _offers(case, talk)
    if case.tls is not None and case.tls.chain:
        yield from _certificate(case, case.tls)
        yield from _default(case, case.tls)
    yield from _handshake(case, talk)


def remark_on_us(facts: Facts) -> Iterator[Finding]:
    """A relay that no reverse name belongs to is refused by many; private addresses have none, and need none."""
    local = {dial.local_address for endpoint in facts.endpoints for dial in endpoint.dials if dial.local_address}
    if facts.asked.is_application or any(is_private(one) for one in local):
        return
    for one in facts.vantage.ptr:
        if one.absence:
            title = "the address that we connect from has no reverse name: many MX hosts refuse it"
            fix = fix_text("ptr-missing", {})
            yield Finding("probe-no-ptr", Level.WARNING, title, one.name, (looked_up(one),), fix)


def _finding(case: Case, check: str, level: Level, title: str, fix: str, *because: str) -> Finding:
    return Finding(check, level, title, case.place, because, fix)


def _greeting(case: Case, talk: Conversation) -> Iterator[Finding]:
    greeting, hello = talk.reply(Stage.BANNER), talk.reply(Stage.EHLO)
    if greeting is None or not greeting.code:
        return
    if greeting.seconds >= SLOW_SECONDS:
        title = "the greeting is slow: programs with short time-outs give up"
        yield _finding(case, "probe-slow-banner", Level.WARNING, title, fix_for("slow-banner", case), told(greeting))
    if is_masked_banner(greeting):
        title = "the greeting is masked by a device on the way"
        yield _finding(case, "probe-masked-banner", Level.NOTE, title, fix_for("asa-fixup", case), told(greeting))
    elif hello is not None and hello.code == 250 and hello.lines:
        named, said = _first_word(greeting), _first_word(hello)
        if named and said and "." in named and "." in said and named != said:
            title = "greeting and EHLO reply name different hosts"
            yield _finding(case, "probe-names-differ", Level.NOTE, title, "", told(greeting), f"EHLO: {said}")


def _first_word(said: Said) -> str:
    words = said.lines[0].split() if said.lines else []
    return words[0].lower().rstrip(".") if words else ""


def _offers(case: Case, talk: Conversation) -> Iterator[Finding]:
    hello = talk.reply(Stage.EHLO, in_tls=False)
    if hello is None or hello.code != 250:
        return
    has_starttls = "STARTTLS" in capabilities(hello)
    clear = [one for one in mechanisms(hello) if one in MAY_BE_CLEAR]
    if clear and case.asked.intent is not Intent.PLAIN:
        title = "AUTH is offered before TLS: a misconfigured client sends its password for all to read"
        fix = "On the server: Postfix smtpd_tls_auth_only = yes; Dovecot disable_plaintext_auth = yes; Exim "
        fix += "auth_advertise_hosts = ${if eq{$tls_in_cipher}{}{}{*}}."
        # Dovecot takes a connection within the machine for safe and offers AUTH there.
        is_local = case.endpoint.address in (talk.dial.local_address, "::1") or is_loopback(case.endpoint.address)
        level = Level.NOTE if is_local else Level.WARNING
        yield _finding(case, "probe-auth-in-clear", level, title, fix, told(hello))
    if not has_starttls and case.mode is not Intent.IMPLICIT:
        title = "no STARTTLS: everything goes over the wire for all to read"
        yield _finding(case, "probe-no-starttls", Level.WARNING, title, fix_for("starttls-missing", case), told(hello))
    mail = talk.reply(Stage.MAIL, in_tls=False)
    if has_starttls and case.endpoint.port in (587, 2587, 588) and mail is not None and mail.code == 250:
        title = "STARTTLS is offered and not demanded: MAIL was taken in the clear"
        fix = "On the server: Postfix, in master.cf for the submission service: -o smtpd_tls_security_level=encrypt."
        yield _finding(case, "probe-starttls-optional", Level.WARNING, title, fix, told(mail))


def _certificate(case: Case, tls: Tls) -> Iterator[Finding]:
    leaf = tls.chain[0]
    left = (leaf.not_after - case.facts.at) / 86_400
    whole = (leaf.not_after - leaf.not_before) / 86_400
    if 0 <= left < min(_SOON_DAYS, whole / 4):
        title = f"the certificate expires in {left:.0f} days"
        fix = fix_for("cert-expired", case)
        yield _finding(case, "probe-expires-soon", Level.WARNING, title, fix, shown(leaf), f"at {day(leaf.not_after)}")
    for one in tls.chain[1:]:
        if not one.is_self_signed and one.signature.lower() in ("sha1", "md5"):
            title = f"an intermediate is signed with {one.signature.upper()}: newer clients refuse the chain"
            yield _finding(case, "probe-weak-chain", Level.WARNING, title, fix_for("cert-weak", case), shown(one))
    if len(tls.chain) > 1 and tls.chain[-1].is_self_signed and not tls.troubles:
        title = "the server sends its root certificate too, which nobody needs"
        yield _finding(case, "probe-root-sent", Level.NOTE, title, "", shown(tls.chain[-1]))
    if 2048 > rsa_bits(leaf) > 0:
        title = "the certificate's key is short"
        yield _finding(case, "probe-weak-key", Level.WARNING, title, fix_for("cert-weak", case), shown(leaf))
    if not case.asked.is_application:
        for fault in certificate_faults(case):
            title = f"a sender that verifies (MTA-STS) would refuse: {fault.cause}"
            yield _finding(case, f"probe-{fault.cause}", Level.WARNING, title, fault.fix, *fault.evidence)


def _default(case: Case, tls: Tls) -> Iterator[Finding]:
    """Which certificate clients get that name no host."""
    other = case.nameless
    if other is None or other.chain[0].fingerprint == tls.chain[0].fingerprint:
        return
    title = "the server chooses its certificate by SNI: clients that send none get another one"
    because = (f"with SNI {tls.server_name}: {shown(tls.chain[0])}", f"without SNI: {shown(other.chain[0])}")
    yield _finding(case, "probe-sni-differs", Level.NOTE, title, "", *because)


def _handshake(case: Case, talk: Conversation) -> Iterator[Finding]:
    lenient = case.lenient
    if lenient is not None and lenient.version in _OLD and talk.tls is not None and talk.tls.version:
        title = f"{lenient.version} is still switched on"
        yield _finding(case, "probe-old-tls", Level.WARNING, title, fix_for("tls-protocol", case), shaken(lenient))
    tls = case.tls
    if tls is not None and is_small_dh(tls):
        title = f"the key exchange uses a small prime ({tls.group})"
        yield _finding(case, "probe-weak-dh", Level.WARNING, title, fix_for("tls-dh", case), shaken(tls))
    if tls is not None and re.search(r"RC4|3DES|DES-CBC|NULL|EXP", tls.cipher):
        title = f"the cipher {tls.cipher} is weak"
        yield _finding(case, "probe-weak-cipher", Level.WARNING, title, fix_for("tls-cipher", case), shaken(tls))
    if tls is not None and tls.wants_client_certificate and tls.version:
        title = "the server asks for a client certificate, and does without"
        yield _finding(case, "probe-asks-certificate", Level.NOTE, title, "", shaken(tls))

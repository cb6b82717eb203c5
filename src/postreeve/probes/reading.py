"""From a conversation to what `ports.advise` compares: the same facts, boiled down to one endpoint."""

from __future__ import annotations

from typing import Final

from postreeve.checks.conversation import Conversation, Ending, Opening, Said, Tls
from postreeve.checks.path import Dial
from postreeve.checks.stage import Stage
from postreeve.ports.endpoint import Flaw, Measured, Reach
from postreeve.ports.service import Mode
from postreeve.ports.sniff import sniff
from postreeve.probes.errors import describe_icmp
from postreeve.smtp.capability import Capabilities, parse_capabilities

_SMTP_LIKE: Final = frozenset({"", "smtp", "ftp", "nntp", "tls"})
_WRONG_NAME: Final = frozenset({62, 64})
"""X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH: about the name, not about trust."""
_MAX_NAMES: Final = 4


def read(host: str, talked: Conversation, opening: Opening) -> Measured:
    """One conversation as a measurement; `host` is what the certificate must name."""
    dial = talked.dial
    reach = Reach(dial.outcome.value)
    bare = Measured(host, dial.address, dial.port, reach, dial.seconds, _reach_detail(dial))
    if reach is not Reach.OPEN:
        return bare
    tls = talked.tls
    greeting = talked.reply(Stage.BANNER)
    flaw, detail = _find_flaw(talked, greeting)
    before, after = _offers(talked, in_tls=False), _offers(talked, in_tls=True)
    has_tls = tls is not None and bool(tls.version)
    return Measured(
        host=host,
        address=dial.address,
        port=dial.port,
        reach=reach,
        connect_seconds=dial.seconds,
        flaw=flaw,
        flaw_detail=detail,
        protocol=_protocol(talked),
        greeting=greeting.text if greeting is not None else "",
        mode=_mode(opening, has_tls, before) if flaw in (Flaw.NONE, Flaw.TLS_FAILED, Flaw.STARTTLS_REFUSED) else None,
        tls_version=tls.version if tls is not None else "",
        is_trusted=_is_trusted(tls),
        is_name_right=tls.is_name_right if tls is not None and tls.chain else None,
        certificate_problem=_certificate_problem(tls, host),
        auth_before=_mechanisms(before),
        auth_after=_mechanisms(after),
    )


def _reach_detail(dial: Dial) -> str:
    if dial.icmp is not None:
        return describe_icmp(dial.icmp)
    return "" if dial.outcome.value == "open" else dial.error


def _protocol(talked: Conversation) -> str:
    """What was heard; the octets that came where a TLS record was due count as well."""
    if talked.protocol:
        return talked.protocol
    if talked.tls is not None and talked.tls.heard:
        return sniff(talked.tls.heard.encode("latin-1", "replace"))
    return ""


def _find_flaw(talked: Conversation, greeting: Said | None) -> tuple[Flaw, str]:
    tls = talked.tls
    if talked.ending is Ending.NOT_SMTP or _protocol(talked) not in _SMTP_LIKE:
        return Flaw.NOT_SMTP, talked.heard[:80]
    if talked.opening is Opening.TLS and tls is not None and not tls.version:
        return _tls_flaw(talked, tls)
    if greeting is None or greeting.code == 0:
        if talked.ending in (Ending.CLOSED, Ending.RESET):
            return Flaw.CLOSED, ""
        if talked.heard:
            return Flaw.NOT_SMTP, talked.heard[:80]
        return Flaw.SILENT, ""
    if greeting.code >= 400:
        return (Flaw.BUSY if greeting.code == 421 else Flaw.REJECTED), greeting.text[:120]
    return _later_flaw(talked, tls)


def _tls_flaw(talked: Conversation, tls: Tls) -> tuple[Flaw, str]:
    """A ClientHello at once, and no handshake came of it."""
    if talked.ending is Ending.TIMED_OUT and not tls.heard and not tls.alert:
        return Flaw.SILENT, ""
    if tls.heard and _protocol(talked) == "smtp":
        # It greeted in the clear, later than we waited: a slow greeting, and no TLS from the first octet.
        return Flaw.SILENT, ""
    return Flaw.TLS_FAILED, tls.alert or tls.error.replace("_", " ").lower()


def _later_flaw(talked: Conversation, tls: Tls | None) -> tuple[Flaw, str]:
    hello = talked.reply(Stage.EHLO, in_tls=talked.opening is Opening.TLS)
    if hello is None or not 200 <= hello.code < 300:
        return Flaw.EHLO_REFUSED, "" if hello is None else hello.text[:120]
    if talked.opening is Opening.TLS:
        return Flaw.NONE, ""
    asked = talked.reply(Stage.TLS)
    if asked is None:
        return Flaw.NONE, ""
    if asked.code != 220:
        return Flaw.STARTTLS_REFUSED, asked.text[:120]
    if tls is None or not tls.version:
        why = "" if tls is None else tls.alert or tls.error.replace("_", " ").lower()
        return Flaw.TLS_FAILED, why
    again = talked.reply(Stage.EHLO, in_tls=True)
    if again is None or not 200 <= again.code < 300:
        return Flaw.AFTER_TLS, "" if again is None else again.text[:120]
    return Flaw.NONE, ""


def _offers(talked: Conversation, *, in_tls: bool) -> Capabilities | None:
    hello = talked.reply(Stage.EHLO, in_tls=in_tls)
    if hello is None or not 200 <= hello.code < 300:
        return None
    return parse_capabilities(line.encode("latin-1", "replace") for line in hello.lines[1:])


def _mechanisms(offered: Capabilities | None) -> tuple[str, ...]:
    return tuple(sorted(offered.auth)) if offered is not None else ()


def _mode(opening: Opening, has_tls: bool, before: Capabilities | None) -> Mode | None:
    if opening is Opening.TLS:
        return Mode.IMPLICIT if has_tls else None
    if has_tls or (before is not None and before.starttls):
        return Mode.STARTTLS
    return Mode.PLAIN


def _is_trusted(tls: Tls | None) -> bool | None:
    if tls is None or not tls.chain:
        return None
    return not any(one.code not in _WRONG_NAME for one in tls.troubles)


def _certificate_problem(tls: Tls | None, host: str) -> str:
    if tls is None or not tls.chain:
        return ""
    problem = next((one.text for one in tls.troubles if one.code not in _WRONG_NAME), "")
    if problem:
        missing = f" (missing: {tls.missing_issuer})" if tls.missing_issuer else ""
        return problem + missing
    if tls.is_name_right is False:
        names = tls.chain[0].names or ((tls.chain[0].common_name,) if tls.chain[0].common_name else ())
        shown = ", ".join(names[:_MAX_NAMES]) + (", …" if len(names) > _MAX_NAMES else "")
        return f"it is for {shown or 'nobody'}, not for {host}"
    return ""

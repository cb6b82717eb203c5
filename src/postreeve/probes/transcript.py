"""A Conversation as text, for people: who said what, in which second, in the clear or within TLS.

PURE. Marks as other tools have them: `->` we say, `<-` the server says, `~>` and `<~` within TLS, `<**` what is no
acceptance, `===` what happened.
"""

from __future__ import annotations

from collections.abc import Iterator

from postreeve.checks.conversation import Conversation, Ending, Opening, Said, Tls
from postreeve.checks.path import DialOutcome
from postreeve.checks.stage import Stage


def transcript(conversation: Conversation) -> str:
    """The lines of one conversation, each with its end; secrets were masked before they got here."""
    return "".join(f"{line}\n" for line in _lines(conversation))


def _lines(talk: Conversation) -> Iterator[str]:
    dial = talk.dial
    where = f"[{dial.address}]:{dial.port}" if ":" in dial.address else f"{dial.address}:{dial.port}"
    yield f"=== {where} {dial.outcome.value} after {dial.seconds:.3f} s"
    if dial.outcome is not DialOutcome.OPEN:
        return
    if talk.opening is Opening.TLS and talk.tls is not None:
        yield from _tls_lines(talk.tls)
    for said in talk.said:
        yield from _said_lines(said)
        if said.stage is Stage.TLS and said.code == 220 and talk.tls is not None:
            for line in talk.injected:
                yield f"<** {line} (in the clear, before TLS)"
            yield from _tls_lines(talk.tls)
    if not talk.said and talk.heard and talk.tls is None:
        yield f"<** {talk.heard}"
    yield f"=== {_end(talk)}"


def _tls_lines(tls: Tls) -> Iterator[str]:
    kind = "lenient TLS" if tls.is_lenient else "TLS"
    name = f" for {tls.server_name}" if tls.server_name else ""
    if not tls.version:
        alert = f", the server's alert: {tls.alert}" if tls.alert else ""
        yield f"=== {kind}{name} failed after {tls.seconds:.3f} s: {tls.error}{alert}"
        if tls.heard:
            yield f"<** {tls.heard} (where TLS was due)"
    else:
        group = f" {tls.group}" if tls.group else ""
        yield f"=== {kind}{name}: {tls.version} {tls.cipher}{group} after {tls.seconds:.3f} s"
    for place, one in enumerate(tls.chain):
        yield f"=== certificate {place}: {one.subject}; issuer {one.issuer}; {one.key}, {one.signature or 'no hash'}"
    for trouble in tls.troubles:
        yield f"=== not trusted: {trouble.text} (code {trouble.code}, certificate {trouble.depth})"


def _said_lines(said: Said) -> Iterator[str]:
    if said.command:
        yield f"{'~' if said.is_in_tls else '-'}> {said.command}"
    if not said.code and not said.lines:
        yield f"=== nothing came in {said.seconds:.3f} s"
        return
    mark = "<**" if not 200 <= said.code < 400 else f"<{'~' if said.is_in_tls else '-'} "
    last = len(said.lines) - 1
    for place, line in enumerate(said.lines):
        head = f"{said.code}{' ' if place == last else '-'}" if said.code else ""
        yield f"{mark} {head}{line}".rstrip() + (f"  [{said.seconds:.3f} s]" if place == last else "")


def _end(talk: Conversation) -> str:
    where = f" in stage {talk.ended_at.value}" if talk.ended_at is not Stage.NONE else ""
    match talk.ending:
        case Ending.QUIT:
            return f"ended by QUIT{where}"
        case Ending.CLOSED:
            return f"the server closed the connection{where}"
        case Ending.RESET:
            return f"the connection was reset{where}"
        case Ending.TIMED_OUT:
            return f"no answer in time{where}"
        case Ending.TLS_FAILED:
            return f"TLS failed{where}"
        case Ending.NOT_SMTP:
            protocol = f": it looks like {talk.protocol}" if talk.protocol else ""
            return f"what came is no SMTP{protocol}{where}"
        case Ending.STOPPED:
            return f"we hung up{where}"

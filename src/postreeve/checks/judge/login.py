"""AUTH: what is offered where, and what the one attempt came to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from postreeve.checks.conversation import Said
from postreeve.checks.judge.case import Case, capabilities, mechanisms
from postreeve.checks.judge.fix import other_port
from postreeve.checks.judge.hello import cut_off
from postreeve.checks.judge.reply import read_reply
from postreeve.checks.judge.verdicts import found
from postreeve.checks.judge.wording import told
from postreeve.checks.stage import Stage
from postreeve.checks.verdict import Confidence, Verdict

PASSWORD_MECHANISMS: Final = frozenset(
    {
        "PLAIN",
        "LOGIN",
        "CRAM-MD5",
        "DIGEST-MD5",
        "SCRAM-SHA-1",
        "SCRAM-SHA-256",
        "SCRAM-SHA-1-PLUS",
        "SCRAM-SHA-256-PLUS",
    }
)
TOKEN_MECHANISMS: Final = frozenset({"XOAUTH2", "OAUTHBEARER"})
MAY_BE_CLEAR: Final = frozenset({"PLAIN", "LOGIN"})


def judge_login(case: Case) -> Iterator[Verdict]:
    """Nothing when nobody wanted to log in, or when it worked."""
    talk = case.main
    if talk is None:
        return
    said = talk.reply(Stage.AUTH)
    if said is not None:
        if said.code:
            yield from _answered(case, said, talk.auth_tried)
        else:
            yield from cut_off(case, talk, Stage.AUTH)
        return
    if not case.asked.has_credentials:
        return
    hello = talk.reply(Stage.EHLO)
    if hello is None or hello.code != 250 or (talk.tls is not None and not talk.tls.version):
        return
    offered = mechanisms(hello)
    if not offered:
        yield _not_offered(case, hello)
    elif not PASSWORD_MECHANISMS & set(offered):
        yield _no_password(case, hello, offered)
    elif not hello.is_in_tls:
        line = "it offers AUTH without TLS; a password would go over the wire for all to read, so none was sent"
        secured = "" if "STARTTLS" in capabilities(hello) else other_port(case)
        yield found(case, "auth-in-clear", Confidence.HIGH, Stage.AUTH, told(hello), line, secured=secured)
    elif talk.ended_at is Stage.AUTH:
        line = f"none of the mechanisms that it offers fits the credentials: {' '.join(offered)}"
        yield found(case, "auth-no-mech", Confidence.MEDIUM, Stage.AUTH, told(hello), line)


def _not_offered(case: Case, hello: Said) -> Verdict:
    if not hello.is_in_tls and "STARTTLS" in capabilities(hello):
        line = "the server offers STARTTLS and, before it, no AUTH"
        return found(case, "auth-before-tls", Confidence.HIGH, Stage.AUTH, told(hello), line)
    where = "inside TLS" if hello.is_in_tls else "in the clear"
    line = f"credentials were given and {where} no AUTH is offered"
    return found(case, "auth-not-offered", Confidence.HIGH, Stage.AUTH, told(hello), line)


def _no_password(case: Case, hello: Said, offered: tuple[str, ...]) -> Verdict:
    names = " ".join(offered)
    if TOKEN_MECHANISMS & set(offered):
        line = f"every mechanism it offers that is ours needs a token: {names}"
        return found(case, "oauth-only", Confidence.HIGH, Stage.AUTH, told(hello), line)
    line = f"none of the mechanisms that it offers takes a password: {names}"
    return found(case, "auth-no-mech", Confidence.HIGH, Stage.AUTH, told(hello), line, offered=names)


def _answered(case: Case, said: Said, tried: str) -> Iterator[Verdict]:
    if said.code < 400:
        return
    reading = read_reply(said.code, said.text, Stage.AUTH)
    assert reading is not None
    evidence = [told(said), f"tried once, with {tried or 'the given mechanism'}, and not again"]
    # A token that is refused is no want of OAuth.
    cause = "auth-535" if reading.cause == "oauth-only" and tried in TOKEN_MECHANISMS else reading.cause
    yield found(case, cause, reading.confidence, Stage.AUTH, *evidence, list=reading.name)

"""Reading a refusal by its meaning: code, enhanced status and words of a reply, in the stage it came in.

Rules are tried in order, the first that fits decides. The words are those that servers and providers are known to use;
a code alone decides only where the RFC gives it one meaning (RFC 4954, section 6; RFC 5321, section 4.2.2).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Final

from postreeve.checks.stage import Stage
from postreeve.checks.verdict import Confidence


@dataclass(frozen=True, slots=True)
class Reading:
    """What a refusal means. `name` is what it names: the block list."""

    cause: str
    confidence: Confidence
    name: str = ""


@dataclass(frozen=True, slots=True)
class _Rule:
    cause: str
    codes: str
    """A regular expression for the code, whole."""
    words: str
    """One for the text, without case; "" fits all. Compiled when first wanted: a healthy server refuses nothing."""
    stages: frozenset[Stage]
    confidence: Confidence


_HIGH, _MEDIUM, _LOW = Confidence.HIGH, Confidence.MEDIUM, Confidence.LOW
_BANNER, _EHLO, _AUTH = Stage.BANNER, Stage.EHLO, Stage.AUTH
_MAIL, _RCPT, _DATA = Stage.MAIL, Stage.RCPT, Stage.DATA


def _rule(
    cause: str, codes: str, words: str = "", stages: Iterable[Stage] = (), confidence: Confidence = _HIGH
) -> _Rule:
    return _Rule(cause, codes, words, frozenset(stages), confidence)


@cache
def _compiled(words: str) -> re.Pattern[str]:
    return re.compile(words, re.IGNORECASE)


_RULES: Final = (
    # Before all else: what names its own cause in any stage.
    _rule("dnsbl-open-resolver", "[45]..", r"open resolver|127\.255\.255\.25[245]|returnc/pub"),
    _rule(
        "dnsbl", "[45]..",
        r"blocked using|spamhaus|barracuda|sorbs|spamcop|dnsbl|\brbl\b|\bS31[45]\d|on our block list",
    ),
    _rule("dnsbl", "[45]..", r"5\.7\.(60[6-9]|6[1-4]\d)\b|banned sending ip|listed (at|in|by|on) \S+\.\w"),
    _rule("dnsbl", "[45]..", r"block ?list|blacklist", (), _MEDIUM),
    _rule(
        "sync-violation", "[45]..",
        r"synchroni[sz]ation|improper command pipelining|pregreet|talks? (too )?(soon|early)|"
        r"before (the )?greeting",
    ),
    _rule("tls-protocol", "[45]..", r"[45]\.7\.66\b|TLS ?1\.[01].{0,30}(not|no longer) (supported|accepted)"),
    # AUTH.
    _rule(
        "m365-smtpauth-disabled", "[45]..",
        r"SmtpClientAuthentication is disabled|smtp_auth_disabled|"
        r"basic authentication is (disabled|not supported)|5\.7\.139|5\.7\.30\b",
    ),
    _rule("oauth-only", "53[0-9]|50[0-9]", r"oauth|modern auth|bearer", (_AUTH,)),
    _rule(
        "auth-534-app-password", "53[45]",
        r"5\.7\.(9|14)\b|app(lication)?[- ]?specific|app(lication)? password|InvalidSecondFactor|web browser|"
        r"authori[sz]ation code",
        (_AUTH,),
    ),
    _rule(
        "account-disabled", "[45]..",
        r"(account|user|mailbox|login)\b.{0,40}\b(disabled|suspended|locked|deactivated|inactive|blocked|expired|closed)|"
        r"(disabled|suspended|locked|deactivated) (account|user|mailbox)|5\.7\.13\b",
        (_AUTH,),
    ),
    _rule(
        "esp-account", "[45]..",
        r"(account|plan|subscription).{0,40}(not (been )?activated|not active|payment|unpaid|upgrade|under review)",
        (_AUTH, _MAIL, _DATA),
    ),
    _rule(
        "brevo-525", "[45]..",
        r"unauthori[sz]ed ip|ip (address )?(is )?not (allowed|authori[sz]ed|permitted|whitelisted)|"
        r"authori[sz]ed ips",
        (_AUTH, _MAIL, _RCPT),
    ),
    _rule("brevo-525", "525", "", (_AUTH,)),
    _rule("auth-before-tls", "538", "", (_AUTH, _MAIL)),
    _rule(
        "auth-before-tls", "5..",
        r"must issue a starttls|starttls (command )?first|encryption (is )?required|"
        r"requires? (tls|encryption|a secure)|secure connection (is )?required|tls (is )?required|"
        r"over (a )?(tls|secure)|plaintext auth\w* (is )?(disallowed|disabled)",
    ),
    _rule("rate-limited", "421", "", (_AUTH,)),
    _rule("auth-no-mech", "504", "", (_AUTH,)),
    _rule(
        "auth-no-mech", "5..",
        r"(unrecogni[sz]ed|unsupported|invalid|unknown) auth\w* (type|mechanism|method)|"
        r"mechanism (is )?not (supported|available)|no (suitable|worthy) mech",
        (_AUTH,),
    ),
    _rule(
        "auth-not-offered", "50[0-3]",
        r"not enabled|not (implemented|recogni[sz]ed|available|supported|allowed)|unrecogni[sz]ed|"
        r"unknown command",
        (_AUTH,),
    ),
    _rule("auth-454", "4..", r"", (_AUTH,)),
    _rule("auth-535", "535", "", (_AUTH,)),
    _rule(
        "auth-535", "5..",
        r"credential|password|authenticat\w* (failed|unsuccessful|failure)|5\.7\.8\b|invalid (login|user)|"
        r"login (denied|incorrect|failed)",
        (_AUTH,),
    ),
    # The other end wants a login, or does not relay.
    _rule("m365-57-57", "5..", r"5\.7\.57\b|not authenticated to send"),
    _rule(
        "mail-530-auth", "530|550|553|554|503",
        r"auth\w* (is )?required|authenticat\w+ (is )?(required|needed|first)|"
        r"must (be )?(authenticate|log ?in)|need to authenticate|not logged in|sign in|not authenticated",
        (_MAIL, _RCPT, _DATA),
    ),
    _rule("mail-530-auth", "530", "", (_MAIL, _RCPT, _DATA)),
    _rule(
        "relay-denied", "[45]..",
        r"relay|5\.7\.54\b|not (one of )?our (customer|user)s|we do not (accept|handle) mail for|"
        r"isn't in my list of allowed rcpthosts|rcpthosts|non-accepted domain",
        (_MAIL, _RCPT, _DATA),
    ),
    _rule(
        "esp-throttle", "[45]..",
        r"(daily|hourly|monthly|sending).{0,25}(quota|limit)|message quota|maximum sending rate|throttling failure|"
        r"5\.4\.5\b|4\.3\.2.{0,20}concurrent|messages sent per",
        (_MAIL, _RCPT, _DATA),
    ),
    # Temporary by design.
    _rule(
        "greylist", "4..",
        r"gr[ea]y-?list|4\.7\.5\d\d|postgrey|delayed (for|because)|"
        r"(unknown|new|first).{0,20}(triplet|sender).{0,40}(try|retry)",
        (_BANNER, _MAIL, _RCPT, _DATA),
    ),
    _rule(
        "rate-limited", "4..",
        r"too many|rate ?limit|throttl|too (fast|frequent)|slow down|4\.7\.28\b|connections? (rate|limit)|"
        r"limit exceeded",
        (_EHLO, _MAIL, _RCPT, _DATA),
    ),
    # Who we say we are.
    _rule(
        "helo-fqdn", "4..|50[14]|55.",
        r"\b(helo|ehlo)\b|hello (name|command)|fully[- ]qualified|\bfqdn\b",
        (_EHLO, _MAIL, _RCPT, _DATA),
    ),
    _rule(
        "helo-fqdn", "50[14]|550|553|554",
        r"syntactically invalid|invalid (host|domain) ?name|host(name)? not found|bogus",
        (_EHLO,),
    ),
    _rule(
        "ptr-missing", "[45]..",
        r"reverse (dns|host|name|lookup)|\bptr\b|\brdns\b|client host rejected: cannot find|5\.7\.25\b|"
        r"4\.7\.23\b|hostname lookup|\bip (address )?(must|does not|doesn't|did not) (reverse[- ])?resolve",
    ),
    _rule("outlook-57515", "5..", r"5\.7\.515\b|5\.7\.509\b"),
    _rule(
        "dmarc-5726", "[45]..",
        r"dmarc|5\.7\.26\b|sender is unauthenticated|unauthenticated (email|mail)",
        (_MAIL, _RCPT, _DATA),
    ),
    _rule("spf-fail", "[45]..", r"\bspf\b|5\.7\.(23|27)\b|openspf", (_MAIL, _RCPT, _DATA)),
    _rule(
        "m365-57708", "5..",
        r"5\.7\.708\b|5\.7\.800\b|bad outbound sender|traffic not accepted from this ip",
    ),
    # The sender.
    _rule(
        "m365-sendas", "5..",
        r"sendas ?denied|5\.2\.252\b|5\.7\.60\b|not (allowed|permitted|authori[sz]ed) to send as|not owned by|"
        r"permissions? to send|same as auth|not allowed to use (this )?sender|sender address rejected: not",
        (_MAIL, _RCPT, _DATA),
    ),
    _rule(
        "esp-unverified", "5..",
        r"not verified|verified sender|unverified|ses:Send\w+|verify your (domain|sender|email)",
        (_MAIL, _RCPT, _DATA),
    ),
    _rule(
        "mailbox-full", "[45]..",
        r"(mailbox|quota|over|storage).{0,20}(full|exceeded|quota)|[45]\.2\.2\b|over quota",
        (_RCPT, _DATA),
    ),
    _rule("size", "552|523|554|452", r"size|too (big|large|long)|5\.3\.4\b", (_MAIL, _RCPT, _DATA)),
    _rule("smtputf8", "5..", r"smtputf8|5\.6\.7\b|non-?ascii|internationali[sz]ed", (_MAIL, _RCPT, _DATA)),
    _rule("null-mx", "5..", r"null ?mx|5\.1\.10\b|does not accept mail", (_MAIL, _RCPT, _DATA)),
    _rule("null-mx", "556", "", (_MAIL, _RCPT)),
    _rule(
        "sender-rejected", "[45]..",
        r"sender|from address|return[- ]path|domain of .{0,20}(does not|doesn't) (exist|resolve)|5\.1\.[78]\b",
        (_MAIL,),
    ),
    _rule(
        "sender-rejected", "[45]..",
        r"sender address rejected|sender (domain|verify)|callout|domain (not found|does not exist)",
        (_RCPT, _DATA),
    ),
    # The recipient.
    _rule(
        "recipient-unknown", "5..",
        r"(user|recipient|mailbox|address|account).{0,40}(unknown|not (found|exist)|does(n't| not) exist|"
        r"invalid|unavailable)|"
        r"unknown (user|recipient|mailbox)|no such|invalid (recipient|mailbox|user)|"
        r"5\.1\.1\b|5\.1\.[026]\b|user doesn't",
        (_RCPT, _DATA),
    ),
    _rule("recipient-unknown", "5..", r"recipient address rejected", (_RCPT, _DATA), _MEDIUM),
    _rule(
        "spam-content", "5..",
        r"spam|junk|content (rejected|refused)|virus|malware|5\.7\.1.{0,30}content",
        (_DATA,),
    ),
    _rule(
        "message-malformed", "5..",
        r"bare lf|bare <lf>|malformed|missing (a )?(valid )?(header|from|message-id)|5\.6\.0\b|header",
        (_DATA,),
    ),
    _rule(
        "server-local-error", "4..",
        r"local (error|problem)|disk|space|storage|4\.3\.\d|queue file|temporar\w* (lookup|server|internal)|"
        r"milter",
        (_EHLO, _MAIL, _RCPT, _DATA),
    ),
    _rule("rate-limited", "421", "", (_EHLO, _MAIL, _RCPT, _DATA), _MEDIUM),
    _rule("greylist", "45[01]", r"(try|come) (again|back)|retry|later", (_RCPT,), _MEDIUM),
    _rule(
        "policy-refused", "5..",
        r"policy|denied|blocked|refused|rejected|not allowed|5\.7\.\d",
        (_EHLO, _MAIL, _RCPT, _DATA), _MEDIUM,
    ),
    _rule("command-refused", "50[0-4]", "", (_EHLO, _MAIL, _RCPT, _DATA), _MEDIUM),
    _rule("reply-temporary", "4..", "", (), _LOW),
    _rule("reply-permanent", "5..", "", (), _LOW),
)  # fmt: skip

_REPLIED: Final = frozenset({_BANNER, _EHLO, _AUTH, _MAIL, _RCPT, _DATA})

_LIST_NAME: Final = re.compile(r"(?:blocked using|listed (?:at|in|by|on)|using) ((?:[\w-]+\.)+[\w-]+)", re.IGNORECASE)
_KNOWN_LISTS: Final = (
    ("spamhaus", "Spamhaus"),
    ("barracuda", "Barracuda"),
    ("spamcop", "SpamCop"),
    ("sorbs", "SORBS"),
    ("s314", "Microsoft (Outlook.com)"),
    ("s315", "Microsoft (Outlook.com)"),
    ("5.7.60", "Microsoft 365"),
)


def read_reply(code: int, text: str, stage: Stage) -> Reading | None:
    """What a refusal in this stage means; None for a reply that is none."""
    if code < 400:
        return None
    for rule in _RULES:
        if rule.stages and stage not in rule.stages:
            continue
        if not re.fullmatch(rule.codes, str(code)) or (rule.words and not _compiled(rule.words).search(text)):
            continue
        name = list_name(text) if rule.cause.startswith("dnsbl") else ""
        if rule.confidence is Confidence.LOW:
            break
        return Reading(rule.cause, rule.confidence, name)
    return _by_texts(text) or Reading("reply-permanent" if code >= 500 else "reply-temporary", Confidence.LOW)


def _by_texts(text: str) -> Reading | None:
    """What the patterns of error texts decide about words that no rule knows."""
    from postreeve.checks.explain.reason import explain  # which few replies need

    explanation = explain(text)
    if not explanation.is_decided:
        return None
    cause = explanation.candidates[0].cause
    if cause.stage not in _REPLIED or cause.id.startswith("reply-"):
        return None
    return Reading(cause.id, Confidence.MEDIUM)


def list_name(text: str) -> str:
    """The block list that a reply names, "" where it names none."""
    match = _LIST_NAME.search(text)
    if match is not None:
        return match[1].rstrip(".").lower()
    lower = text.lower()
    return next((name for mark, name in _KNOWN_LISTS if mark in lower), "")

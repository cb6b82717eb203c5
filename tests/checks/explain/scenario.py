"""The corpus of texts that clients printed in the face of planted faults, and what counts as right for each fault."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from postreeve.checks.explain.explanation import Explanation
from postreeve.checks.knowledge import causes
from postreeve.checks.verdict import Confidence

_ROOT = Path(__file__).resolve().parents[3]
FACTS = Path(os.environ.get("POSTREEVE_FACTS", _ROOT.parent / "shared" / "facts"))

# The fault that was planted → the causes that name it. A wider cause stands here only where it is true of the fault in
# its own words; `narrows` does the rest.
ACCEPTED: dict[str, set[str]] = {
    "conn_refused": {"tcp-refused"},
    "connect_timeout_blackhole": {"tcp-timeout"},
    "silent_no_banner": {"silent-greeting"},
    "immediate_close": {"immediate-close"},
    "immediate_rst": {"reset"},
    "banner_554": {"banner-554"},
    "banner_421": {"banner-421"},
    "plaintext client -> implicit TLS port": {"silent-greeting", "plain-to-tls"},
    "STARTTLS client -> implicit TLS port": {"silent-greeting", "plain-to-tls"},
    "starttls_not_offered": {"starttls-missing", "openssl-masks-454"},
    "starttls_454": {"starttls-454", "openssl-masks-454"},
    "starttls_then_close": {"starttls-eof"},
    "selfsigned": {"cert-selfsigned"},
    "expired": {"cert-expired"},
    "wronghost": {"cert-hostname"},
    "missing_intermediate": {"cert-missing-intermediate"},
    "root_in_chain_untrusted": {"cert-chain-root"},
    "notyet": {"cert-notyet"},
    "cnonly": {"cert-cn-only"},
    "weakkey1024": {"cert-weak"},
    "clientonly_eku": {"cert-purpose"},
    "tls10_only": {"tls-protocol"},
    "tls11_only": {"tls-protocol"},
    "no_shared_cipher": {"tls-cipher"},
    # A client that offers no finite-field exchange shares no suite with this server: both are true.
    "dh1024": {"tls-dh", "tls-cipher"},
    "mtls_required": {"mtls"},
    "auth_not_offered": {"auth-not-offered"},
    "auth_only_after_tls[client plain+auth]": {"auth-before-tls", "auth-not-offered"},
    "auth_535_578": {"auth-535"},
    "auth_534_579": {"auth-534-app-password"},
    # The server refuses the password of a client that tries PLAIN all the same, with a 535.
    "xoauth2_only": {"auth-no-mech"},
    "mail_530_auth_required": {"mail-530-auth"},
    "mail_530_starttls": {"auth-before-tls"},
    "rcpt_554_relay_denied": {"relay-denied"},
    "rcpt_554_dnsbl": {"dnsbl"},
    "rcpt_450_greylist": {"greylist"},
    "data_552_size": {"size"},
    "banner_ssh": {"banner-not-smtp"},
    "banner_imap": {"banner-not-smtp"},
    "banner_pop3": {"banner-not-smtp"},
    "banner_http400": {"banner-not-smtp"},
    "helo_rejected_504": {"helo-fqdn"},
    "close_after_ehlo": {"immediate-close"},
    "close_at_mail": {"close-mid"},
    "close_after_data": {"close-mid"},
    "close_in_auth": {"close-mid"},
    "asa_fixup": {"asa-fixup", "starttls-missing", "openssl-masks-454"},
    "o365_535_5.7.139": {"m365-smtpauth-disabled"},
    "data_550_sendas": {"m365-sendas"},
    "slow_banner_6s": {"silent-greeting"},
    "final_550_dmarc": {"dmarc-5726"},
    "implicit TLS client -> STARTTLS/plaintext port (wrong version number)": {"tls-to-plain"},
    "banner_ssh[implicit TLS client]": {"tls-to-plain", "banner-not-smtp"},
    "banner_imap[implicit TLS client]": {"tls-to-plain", "banner-not-smtp"},
    "banner_pop3[implicit TLS client]": {"tls-to-plain", "banner-not-smtp"},
    "banner_http400[implicit TLS client]": {"tls-to-plain", "banner-not-smtp"},
    "silent server [implicit TLS client]": {"silent-greeting"},
    # The client's ClientHello is unread when the server closes, so TCP says reset; either is what happened.
    "immediate close [implicit TLS client]": {"immediate-close", "reset", "starttls-eof"},
    "immediate rst [implicit TLS client]": {"reset"},
    "DNS: unknown host": {"dns-nxdomain"},
    "rcpt_unknown": {"recipient-unknown"},
    "spam": {"spam-content"},
    "host given as IP, cert has only DNS names": {"cert-ip", "cert-hostname"},
}


@dataclass
class Score:
    """How many texts were explained how.

    `alone`: the right cause comes first and nothing wrong is claimed beside it; what is listed with confidence LOW is
    a hint where to look and no claim. `strict`: nothing wrong is listed at all, not even as a hint.
    """

    texts: int = 0
    alone: int = 0
    strict: int = 0
    listed: int = 0
    only_wrong: int = 0
    silent: int = 0
    first: int = 0
    decided_wrong: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        def share(count: int) -> str:
            return f"{count}/{self.texts} = {100 * count / max(1, self.texts):.1f} %"

        return (
            f"alone {share(self.alone)}; first {share(self.first)}; listed {share(self.listed)}; "
            f"only wrong {share(self.only_wrong)}; nothing {share(self.silent)}; "
            f"decided wrongly {len(self.decided_wrong)}; strictly alone {share(self.strict)}"
        )


def accepted(scenario: str) -> set[str]:
    name = scenario.split(" | ")[0]
    return ACCEPTED.get(name) or ACCEPTED[name.removeprefix("starttls_").removeprefix("implicit_")]


def is_failure(text: str) -> bool:
    """Neither a success nor an output without any error in it."""
    quiet = text == "OK" or text.startswith(("OK ", "[exit ")) or "[exit 0]" in text
    handshake_only = text.startswith("CONNECTION ESTABLISHED") and "Requested Signature" not in text
    return not quiet and not handshake_only


def as_printed(text: str) -> str:
    """The corpus has words for what differs from run to run: addresses and ports come back."""
    text = text.replace("HOST:PORT", "127.0.0.1:40025").replace(" ⏎ ", "\n").replace(" / ", "\n")
    return re.sub(r"(?<=port )N\b|(?<=after )N\b", "40025", text.replace("HOST", "127.0.0.1"))


def own_texts() -> Iterator[tuple[str, str, str]]:
    """What ten other clients printed in full (tracebacks, debug output) in the face of the same kinds of faults."""
    for scenario, clients in json.loads(Path(__file__).with_name("texts.json").read_text()).items():
        for client, text in clients.items():
            yield scenario, client, text


def corpus() -> Iterator[tuple[str, str, str]]:
    """Scenario, client and text of every failure."""
    for scenario, clients in json.loads((FACTS / "failure-texts.json").read_text()).items():
        for client, text in clients.items():
            if is_failure(text):
                yield scenario, client, as_printed(text)


def measure(
    cases: Iterator[tuple[str, str, str]], right: Callable[[str], set[str]], explain: Callable[[str], Explanation]
) -> Score:
    score = Score()
    catalogue = causes()
    for scenario, client, text in cases:
        wanted = right(scenario)
        found = explain(text)
        ids = [one.cause.id for one in found.candidates]
        fits = [one in wanted or catalogue[one].narrows in wanted for one in ids]
        exact = [one in wanted for one in ids]
        score.texts += 1
        claimed = [fit for fit, one in zip(fits, found.candidates, strict=True) if one.confidence is not Confidence.LOW]
        is_alone = bool(ids) and fits[0] and all(claimed) and any(exact)
        score.alone += is_alone
        score.strict += bool(ids) and all(fits) and any(exact)
        score.first += bool(ids) and fits[0]
        score.listed += any(exact)
        score.only_wrong += bool(ids) and not any(exact)
        score.silent += not ids
        if found.is_decided and not fits[0]:
            score.decided_wrong.append(f"{scenario} [{client}] {ids}: {text[:150]!r}")
        if not is_alone:
            mark = "SILENT" if not ids else "beside" if any(exact) else "WRONG"
            score.notes.append(f"{mark} {scenario} [{client}] {ids}: {text[:150]!r}")
    return score

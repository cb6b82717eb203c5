"""RCPT: for whom. Here, and only here, is decided that postreeve is no open relay. RFC 5321, sections 3.6.2 and 7.9.

Two kinds of client exist. A trusted one (an account that logged in, or a listed network on a relay listener) may send
to anywhere. Everybody else may send to recipients that we know in domains of our own, and nowhere else.

Old ways to smuggle a second hop into the local part (`user%other@here`, `other!user@here`, `"user@other"@here`) are
refused from strangers, whatever a later hop would make of them: a next hop may still understand them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from postreeve.mail.address import Mailbox
from postreeve.policy.facts import Facts
from postreeve.policy.settings import PolicySettings
from postreeve.policy.verdict import Verdict, accept, refuse

ACCEPTED: Final = accept(250, "2.1.5", "OK")
POSTMASTER: Final = "postmaster"

_NO_RELAY: Final = refuse(550, "5.7.1", "relaying denied", "not one of our domains, and the client may not relay")
_NO_ROUTING: Final = refuse(550, "5.7.1", "relaying denied", "the local part carries a route (%, ! or @)")
NO_ROUTE: Final = refuse(451, "4.3.5", "cannot route to this domain now, try again later", "no route for the domain")
UNKNOWN: Final = refuse(550, "5.1.1", "no such recipient here", "not among the domain's recipients")

OwnDomains = Mapping[str, frozenset[str] | None]
"""Our domains in A-labels, with their known local parts in lower case, or None for any."""


def own_domains(settings: PolicySettings) -> OwnDomains:
    """The table that `judge_recipient` looks into; made once."""
    return {domain.name.lower(): domain.recipients for domain in settings.domains}


def judge_recipient(facts: Facts, mailbox: Mailbox, domains: OwnDomains, hostname: str) -> Verdict:
    """May this client send to `mailbox`? The open-relay invariant.

    postmaster is taken for every domain of ours and for `hostname` itself (RFC 5321, section 4.5.1).
    """
    domain = mailbox.domain.ascii
    is_own = domain in domains
    if is_own or domain == hostname:
        local = mailbox.local.lower()
        if local == POSTMASTER:
            return ACCEPTED
        if is_own:
            known = domains[domain]
            if known is None:
                return _NO_ROUTING if not facts.is_trusted and _is_routed(local) else ACCEPTED
            if local in known:
                return ACCEPTED
            return _NO_ROUTING if not facts.is_trusted and _is_routed(local) else UNKNOWN
    return ACCEPTED if facts.is_trusted else _NO_RELAY


def forward_path(mailbox: Mailbox, domains: OwnDomains, settings: PolicySettings) -> Mailbox:
    """Where a recipient that was accepted really goes: the host's own postmaster is the configured one."""
    if (
        mailbox.domain.ascii == settings.hostname
        and settings.hostname not in domains
        and mailbox.local.lower() == POSTMASTER
    ):
        return settings.postmaster
    return mailbox


def _is_routed(local: str) -> bool:
    return "%" in local or "!" in local or "@" in local

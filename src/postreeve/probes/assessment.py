"""From the certificates that a server sent to facts: described, judged, and where allowed asked about."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace

from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID

from postreeve.checks.conversation import Revocation, Tls, Trouble
from postreeve.probes.authority import Authorities, decode_pem_or_der, load_authorities
from postreeve.probes.certificate import access_url, describe, read_certificate
from postreeve.probes.chain import Judgement, judge, trouble
from postreeve.probes.fetch import fetch
from postreeve.probes.identity import NameMatch
from postreeve.probes.revocation import ask_revocation
from postreeve.probes.script import Script

_MAX_FETCHES = 2


async def assess(tls: Tls, ders: Sequence[bytes], script: Script) -> Tls:
    """`tls` with all that the chain says. Reads the trust store; asks authorities only if the script allows it."""
    if not ders:
        return tls
    facts = replace(tls, chain=tuple(describe(der) for der in ders))
    read = [read_certificate(der) for der in ders]
    if read[0] is None:
        return replace(facts, troubles=(trouble(1, 0),), is_name_right=False)
    chain = [one for one in read if one is not None]
    now = time.time()
    host = script.reference_name or script.server_name
    try:
        authorities = await asyncio.to_thread(load_authorities, script.ca_file)
        unknown: tuple[Trouble, ...] = ()
    except (OSError, ValueError) as problem:
        authorities = Authorities(())
        unknown = (Trouble(1, 0, f"the trusted authorities cannot be read: {problem}"),)
    judgement = judge(chain, authorities, host, now)
    facts = replace(
        facts,
        troubles=unknown or judgement.troubles,
        is_name_right=None if judgement.name_match is None else judgement.name_match is NameMatch.RIGHT,
        missing_issuer=judgement.missing_issuer,
    )
    return await _ask(facts, chain, judgement, authorities, script, now) if script.may_ask_authority else facts


async def _ask(
    facts: Tls,
    chain: list[x509.Certificate],
    judgement: Judgement,
    authorities: Authorities,
    script: Script,
    now: float,
) -> Tls:
    seconds = script.patience.authority
    issuer = judgement.issuer
    if judgement.missing_from is not None:
        completed, added = await _complete(chain, judgement, authorities, seconds, now)
        facts = replace(facts, is_completed_by_issuer=completed)
        issuer = issuer or next((one for one in added if one.subject == chain[0].issuer), None)
    url = access_url(chain[0], AuthorityInformationAccessOID.OCSP)
    if not url or issuer is None:
        return facts
    revocation = await ask_revocation(chain[0], issuer, url, now, seconds)
    return replace(facts, revocation=revocation) if revocation is not Revocation.UNKNOWN else facts


async def _complete(
    chain: list[x509.Certificate], judgement: Judgement, authorities: Authorities, seconds: float, now: float
) -> tuple[bool | None, list[x509.Certificate]]:
    """Does what the certificates name as their issuers lead to a trusted authority? None when nothing could be had."""
    added: list[x509.Certificate] = []
    for _ in range(_MAX_FETCHES):
        if judgement.missing_from is None:
            break
        url = access_url(judgement.missing_from, AuthorityInformationAccessOID.CA_ISSUERS)
        data = await fetch(url, seconds) if url else None
        found = read_certificate(decode_pem_or_der(data)) if data else None
        if found is None:
            return (False if added else None), added
        added.append(found)
        judgement = judge([*chain, *added], authorities, "", now)
    return judgement.is_anchored, added

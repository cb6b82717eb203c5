"""What EHLO offers where, what is closed where, and which parameters are known where."""

from __future__ import annotations

import pytest

from postreeve.mail.domain import Domain
from postreeve.mail.envelope import BodyType, MailParameters
from postreeve.mail.reply import Reply
from postreeve.smtp.extension import (
    AUTH_FIRST,
    AUTHENTICATED,
    ENCRYPTION_REQUIRED,
    NOT_IMPLEMENTED,
    TLS_ACTIVE,
    TLS_FIRST,
    ehlo_lines,
    offer,
    parse_mail_parameters,
)
from postreeve.smtp.order import Verb
from postreeve.smtp.parameter import MAIL_PARAMETERS, RECIPIENT_PARAMETERS, Terms, timestamp
from postreeve.smtp.settings import AuthOffer, TlsOffer
from tests.smtp.drive import NOW, settings

NEVER = Reply(503, "5.5.1", "no authentication on this port; use port 465 (TLS) or 587 (STARTTLS)")
TLS, AUTH = TlsOffer, AuthOffer


@pytest.mark.parametrize(
    ("tls", "auth", "tls_active", "authenticated", "verb", "reply"),
    [
        (TLS.NONE, AUTH.NEVER, False, False, Verb.STARTTLS, NOT_IMPLEMENTED),
        (TLS.NONE, AUTH.NEVER, False, False, Verb.AUTH, NEVER),
        (TLS.NONE, AUTH.NEVER, False, False, Verb.MAIL, None),
        (TLS.NONE, AUTH.REQUIRED, False, False, Verb.MAIL, AUTH_FIRST),
        (TLS.STARTTLS, AUTH.NEVER, False, False, Verb.STARTTLS, None),
        (TLS.STARTTLS, AUTH.NEVER, False, False, Verb.AUTH, NEVER),
        (TLS.STARTTLS, AUTH.NEVER, True, False, Verb.AUTH, NEVER),
        (TLS.STARTTLS, AUTH.NEVER, True, False, Verb.STARTTLS, TLS_ACTIVE),
        (TLS.STARTTLS, AUTH.OPTIONAL, False, False, Verb.AUTH, ENCRYPTION_REQUIRED),
        (TLS.STARTTLS, AUTH.OPTIONAL, True, False, Verb.AUTH, None),
        (TLS.STARTTLS, AUTH.OPTIONAL, True, False, Verb.MAIL, None),
        (TLS.STARTTLS, AUTH.REQUIRED, False, False, Verb.MAIL, AUTH_FIRST),
        (TLS.REQUIRED, AUTH.REQUIRED, False, False, Verb.MAIL, TLS_FIRST),
        (TLS.REQUIRED, AUTH.REQUIRED, False, False, Verb.AUTH, TLS_FIRST),
        (TLS.REQUIRED, AUTH.NEVER, False, False, Verb.AUTH, NEVER),
        (TLS.REQUIRED, AUTH.NEVER, False, False, Verb.BDAT, TLS_FIRST),
        (TLS.REQUIRED, AUTH.REQUIRED, True, False, Verb.MAIL, AUTH_FIRST),
        (TLS.REQUIRED, AUTH.REQUIRED, True, False, Verb.AUTH, None),
        (TLS.REQUIRED, AUTH.REQUIRED, True, True, Verb.MAIL, None),
        (TLS.REQUIRED, AUTH.REQUIRED, True, True, Verb.AUTH, AUTHENTICATED),
        (TLS.IMPLICIT, AUTH.REQUIRED, True, False, Verb.STARTTLS, TLS_ACTIVE),
        (TLS.IMPLICIT, AUTH.REQUIRED, True, False, Verb.RCPT, AUTH_FIRST),
    ],
    ids=str,
)
def test_offer_closes(
    tls: TlsOffer, auth: AuthOffer, tls_active: bool, authenticated: bool, verb: Verb, reply: Reply | None
) -> None:
    """RFC 3207, section 4; RFC 4954, sections 4 and 6."""
    offered = offer(settings(tls, auth), tls_active=tls_active, authenticated=authenticated)
    assert offered.closed.get(verb) == reply


@pytest.mark.parametrize("verb", [Verb.EHLO, Verb.HELO, Verb.NOOP, Verb.RSET, Verb.QUIT, Verb.STARTTLS])
@pytest.mark.parametrize("auth", AuthOffer)
def test_offer_never_closes_the_way_to_tls(verb: Verb, auth: AuthOffer) -> None:
    assert verb not in offer(settings(TLS.REQUIRED, auth), tls_active=False, authenticated=False).closed


@pytest.mark.parametrize("tls", TlsOffer)
@pytest.mark.parametrize("auth", AuthOffer)
@pytest.mark.parametrize("tls_active", [False, True])
def test_offer_names_auth_and_starttls_exactly_where_they_are_open(
    tls: TlsOffer, auth: AuthOffer, tls_active: bool
) -> None:
    offered = offer(settings(tls, auth), tls_active=tls_active, authenticated=False)
    keywords = {keyword.partition(" ")[0] for keyword in offered.keywords}
    assert ("AUTH" in keywords) == (Verb.AUTH not in offered.closed)
    assert ("AUTH" in keywords) == (auth is not AUTH.NEVER and tls_active)
    assert ("STARTTLS" in keywords) == (Verb.STARTTLS not in offered.closed and tls is not TLS.IMPLICIT)
    assert ("AUTH" in offered.mail) == ("AUTH" in keywords)


def test_offer_knows_a_parameter_only_with_its_extension() -> None:
    bare = settings(offer_chunking=False, offer_deliver_by=False, offer_mt_priority=False)
    offered = offer(bare, tls_active=False, authenticated=False)
    assert set(offered.mail) == {"SIZE", "BODY", "SMTPUTF8", "RET", "ENVID"}
    everything = settings(TLS.IMPLICIT, AUTH.REQUIRED, offer_future_release=True)
    full = offer(everything, tls_active=True, authenticated=False)
    assert set(full.mail) == {parameter.keyword for parameter in MAIL_PARAMETERS}
    assert set(full.recipient) == {parameter.keyword for parameter in RECIPIENT_PARAMETERS}


def test_offer_future_release_moves_with_the_clock() -> None:
    """RFC 4865, section 4."""
    config = settings(offer_future_release=True, max_hold_seconds=3600)
    offered = offer(config, tls_active=False, authenticated=False)
    assert ehlo_lines(offered, config, NOW).startswith(b"250-FUTURERELEASE 3600 2027-01-15T09:00:00Z\r\n")
    assert ehlo_lines(offered, config, NOW + 60).startswith(b"250-FUTURERELEASE 3600 2027-01-15T09:01:00Z\r\n")


def test_offer_holds_nothing_where_the_longest_hold_is_zero() -> None:
    config = settings(offer_future_release=True, max_hold_seconds=0)
    offered = offer(config, tls_active=False, authenticated=False)
    assert b"FUTURERELEASE" not in ehlo_lines(offered, config, NOW)
    assert "HOLDFOR" not in offered.mail


@pytest.mark.parametrize(("seconds", "text"), [(0.9, "1970-01-01T00:00:00Z"), (1e18, "9999-12-31T23:59:59Z")])
def test_timestamp(seconds: float, text: str) -> None:
    """RFC 3339, section 5.6."""
    assert timestamp(seconds) == text


def test_offer_names_the_postmaster() -> None:
    offered = offer(settings(), tls_active=False, authenticated=False)
    assert (offered.postmaster.local, offered.postmaster.domain) == ("postmaster", Domain("mx.example.com"))


def test_parameters_reach_the_envelope() -> None:
    config = settings()
    offered = offer(config, tls_active=False, authenticated=False)
    parsed = parse_mail_parameters(offered, "SIZE=7 BODY=BINARYMIME", Terms(config, NOW))
    assert parsed == MailParameters(size_octets=7, body=BodyType.BINARY_MIME)

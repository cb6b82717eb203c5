from __future__ import annotations

import pytest

from postreeve.mail.domain import Domain, parse_domain
from postreeve.queue.route import Identity, Router, fallback_key, loops
from postreeve.queue.settings import (
    Credentials,
    Discard,
    Fallback,
    Hold,
    Lmtp,
    Maildir,
    Mx,
    RouteSettings,
    Smarthost,
    Target,
)

PROVIDER = Smarthost("smtp.example.net", 465)


def _router(*routes: tuple[str, str, Target]) -> Router:
    return Router([RouteSettings(name, tuple(domains.split()), target) for name, domains, target in routes])


ROUTER = _router(
    ("local", "example.org EXAMPLE.com", Maildir("/mail/{domain}/{local}")),
    ("dovecot", ".example.org", Lmtp("127.0.0.1")),
    ("inner", ".inner.example.org", Hold()),
    ("trap", "trap.example.net [192.0.2.7]", Discard()),
    ("provider", "partner.example.net", PROVIDER),
    ("direct", "*", Mx()),
    ("late", "* example.org", Discard()),
)


def _domain(text: str) -> Domain:
    domain = parse_domain(text)
    assert domain is not None
    return domain


@pytest.mark.parametrize(
    ("domain", "destination"),
    [
        ("example.org", "maildir:local"),
        ("Example.Com", "maildir:local"),
        ("lists.example.org", "lmtp:dovecot"),
        ("a.b.example.org", "lmtp:dovecot"),
        ("x.inner.example.org", "hold:inner"),
        ("inner.example.org", "lmtp:dovecot"),
        ("notexample.org", "mx:notexample.org"),
        ("trap.example.net", "discard:trap"),
        ("[192.0.2.7]", "discard:trap"),
        ("[192.0.2.8]", "mx:[192.0.2.8]"),
        ("[IPv6:2001:db8::1]", "mx:[ipv6:2001:db8::1]"),
        ("partner.example.net", "smarthost:provider"),
        ("elsewhere.example", "mx:elsewhere.example"),
        ("example.org.", "maildir:local"),
        ("bücher.example", "mx:xn--bcher-kva.example"),
        ("org", "mx:org"),
    ],
    ids=str,
)
def test_route_goes_by_exact_name_then_longest_suffix_then_default(domain: str, destination: str) -> None:
    for _ in range(2):
        route = ROUTER.route(_domain(domain))
        assert route is not None
        assert route.destination == destination


def test_route_is_none_where_no_route_speaks_of_the_domain() -> None:
    router = _router(("local", "example.org", Maildir("/mail")))
    assert router.route(_domain("example.net")) is None
    assert router.route(_domain("sub.example.org")) is None


PAST_HOLD = {
    "a wider route": ("held.example.net", "smarthost:rest"),
    "a suffix between": ("a.held.example.com", "lmtp:suffix"),
    "a literal": ("[192.0.2.1]", "smarthost:rest"),
}


@pytest.mark.parametrize(("domain", "destination"), PAST_HOLD.values(), ids=PAST_HOLD)
def test_route_past_hold_is_the_next_that_fits(domain: str, destination: str) -> None:
    router = Router(
        (
            RouteSettings("held", ("held.example.net", ".held.example.com", "[192.0.2.1]"), Hold()),
            RouteSettings("suffix", (".example.com",), Lmtp("127.0.0.1")),
            RouteSettings("rest", ("*",), Smarthost("smart.example.net")),
        )
    )
    parsed = parse_domain(domain)
    assert parsed is not None
    route = router.route(parsed)
    assert route is not None
    assert route.is_held
    assert router.route_past_hold(parsed).destination == destination


def test_route_past_hold_leads_to_mx_hosts_where_nothing_else_fits() -> None:
    router = Router((RouteSettings("all", ("*",), Hold()),))
    assert router.route_past_hold(Domain("example.net")).destination == "mx:example.net"


def test_route_knows_whether_mail_is_held() -> None:
    held, direct = ROUTER.route(_domain("x.inner.example.org")), ROUTER.route(_domain("example.net"))
    assert held is not None
    assert direct is not None
    assert held.is_held
    assert not direct.is_held


def test_router_memory_is_bounded() -> None:
    router = _router(("direct", "*", Mx()))
    for number in range(40_000):
        assert router.route(Domain(f"d{number}.example")) is not None
    assert len(router._remembered) <= 16_384


IDENTITY = Identity(
    frozenset({Domain("mail.example.org")}),
    frozenset({("192.0.2.1", 25), ("0.0.0.0", 25), ("::", 25), ("192.0.2.1", 587)}),
)


@pytest.mark.parametrize(
    ("address", "port", "is_ours"),
    [
        ("192.0.2.1", 25, True),
        ("192.0.2.1", 26, False),
        ("192.0.2.2", 25, False),
        ("127.0.0.1", 25, True),
        ("127.3.2.1", 25, True),
        ("::1", 25, True),
        ("127.0.0.1", 2526, False),
        ("2001:db8::1", 25, False),
    ],
    ids=str,
)
def test_identity_knows_its_endpoints(address: str, port: int, is_ours: bool) -> None:
    assert IDENTITY.is_at(address, port) is is_ours


def test_identity_knows_its_names_in_any_form() -> None:
    assert IDENTITY.is_named("MAIL.example.org.")
    assert not IDENTITY.is_named("mail.example.com")
    assert not Identity().is_named("mail.example.org")


@pytest.mark.parametrize(
    ("target", "fallback", "is_loop"),
    [
        (Smarthost("smtp.example.net", 25), None, False),
        (Smarthost("mail.example.org", 587), None, True),
        (Smarthost("mail.example.org", 2525), None, False),
        (Smarthost("192.0.2.1", 25), None, True),
        (Lmtp("127.0.0.1", 25), None, True),
        (Lmtp("127.0.0.1", 24), None, False),
        (Lmtp(socket="/run/lmtp"), None, False),
        (Mx(), Fallback(Smarthost("mail.example.org", 25)), True),
        (Mx(), Fallback(PROVIDER), False),
    ],
    ids=str,
)
def test_loops_names_routes_that_lead_back_to_us(target: Target, fallback: Fallback | None, is_loop: bool) -> None:
    settings = RouteSettings("way", ("*",), target, fallback)
    assert bool(loops(settings, IDENTITY)) is is_loop
    if is_loop:
        assert "'way'" in loops(settings, IDENTITY)


def test_fallback_connections_have_a_key_of_their_own() -> None:
    route = Router([RouteSettings("direct", ("*",), Mx(), Fallback(PROVIDER))]).route(_domain("example.net"))
    assert route is not None
    assert fallback_key(route) == "fallback:direct"
    assert fallback_key(route) != route.destination


def test_credentials_never_show_their_password() -> None:
    assert "secret" not in repr(Smarthost("smtp.example.net", credentials=Credentials("user", "secret")))

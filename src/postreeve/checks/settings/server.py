"""Rules on host, port, user and sender."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from postreeve.checks.finding import Level
from postreeve.checks.settings import rule
from postreeve.checks.settings.subject import Problem, Subject, is_example, problem, said
from postreeve.clientconfig.settings import TlsMode, Value, Wanted
from postreeve.ports.provider import Provider, UserForm, by_domain, by_host, nearest, suggest_host

_PASTED: Final = re.compile(
    r"\s*(?:(?P<scheme>[a-z][a-z0-9+]{1,15})://)?(?:[^@/\s]{1,200}@)?(?P<host>\[[0-9a-f:.]+\]|[^\s:/\[\]@?#]+)"
    r"(?::(?P<port>\d{1,5}))?(?:/\S*)?\s*\Z",
    re.IGNORECASE,
)
_LOGIN: Final = re.compile(r"[^/@\s]*@")
_NAME: Final = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]{0,62})\.?){1,40}\Z|\[?[0-9a-f:.]{2,45}\]?\Z", re.IGNORECASE)
_UNREAL: Final = re.compile(r"your|<|\{|\$|%|placeholder|change|xxx", re.IGNORECASE)
_READING: Final = ("imap", "imaps", "pop", "pop3", "www", "mx")
NEEDS_SENDER: Final = frozenset({"flask-mail", "fastapi-mail"})
"""Kinds whose programs have no sender of their own; others have at least the mailbox of the user."""


@lru_cache(maxsize=4096)
def meant_host(host: str) -> str:
    """As `ports.provider.suggest_host`, for slips of the finger, mail domains and hosts for reading mail only.

    A provider's other names (`smtp.googlemail.com`) may well be served. It compares with every known host, and a tree
    of files has few that differ.
    """
    meant = suggest_host(host)
    label, _, rest = host.partition(".")
    is_sure = by_domain(host) is not None or (label in _READING and "." in rest)
    return meant if meant and (is_sure or nearest(host) == meant) else ""


def provider_of(subject: Subject) -> Provider | None:
    """Whose host this is, or would be without its misspelling, where it is a known provider's."""
    if not subject.host:
        return None
    return by_host(subject.host) or by_host(meant_host(subject.host))


def host(subject: Subject) -> Iterator[Problem]:
    """The host is there, is a host name, and is not a slip away from a known one."""
    place = subject.settings.host
    if place is None or (not place.value and not place.is_reference):
        if _has_own_user(subject) and not is_example(subject.settings.file):
            yield problem(subject, rule.HOST_MISSING, place, "no host is set", "set the host")
        return
    if not place.value:
        return
    written = place.value
    if _NAME.match(written) is None:
        yield from _pasted(subject, place, written)
        return
    meant = meant_host(written) if not _UNREAL.search(written) else ""
    if meant and "*" not in meant:
        fix = f"{place.key} = {meant}"
        yield problem(subject, rule.HOST_MISSPELT, place, f"{written} is not {meant}", fix, wanted=Wanted(host=meant))


def _has_own_user(subject: Subject) -> bool:
    user = subject.settings.username
    return user is not None and bool(user.value) and not user.is_reference and not _UNREAL.search(user.value or "")


def _pasted(subject: Subject, place: Value[str], written: str) -> Iterator[Problem]:
    if _UNREAL.search(written) or any(mark in written for mark in ";,"):
        return
    found = _PASTED.match(written)
    because = f"{place.key} is {_LOGIN.sub('***@', written)!r}"
    if found is None or _NAME.match(found["host"]) is None:
        yield problem(subject, rule.HOST_NOT_A_NAME, place, because, "write the host name alone")
        return
    port = int(found["port"]) if found["port"] else None
    has_port = subject.settings.port is not None and subject.settings.port.span is not None
    wanted = Wanted(host=found["host"], port=None if has_port else port)
    fix = f"{place.key} = {found['host']}" + ("" if port is None else f", port {port}")
    yield problem(subject, rule.HOST_NOT_A_NAME, place, because, fix, wanted=wanted)


def port_number(subject: Subject) -> Iterator[Problem]:
    """The port is a number from 1 to 65535."""
    place = subject.settings.port
    if place is None or place.span is None or place.is_reference:
        return
    if place.value is None or not 0 < place.value < 65_536:
        written = subject.text[place.span.start : place.span.end]
        yield problem(subject, rule.PORT_NOT_A_NUMBER, place, f"{place.key} is {written}", "write 465 or 587")


def port_of_provider(subject: Subject) -> Iterator[Problem]:
    """A known provider serves the port."""
    provider, port = provider_of(subject), subject.port
    if provider is None or port is None or provider.serves(port) is not None or not provider.is_confirmed:
        return
    best = best_port(subject)
    served = ", ".join(f"{one.port} ({one.mode.words})" for one in provider.ports)
    because = f"{provider.name} serves {served}; the port here is {port}"
    fix = f"port {best[0]} with {_words(best[1])}"
    wanted = Wanted(port=best[0], mode=None if subject.mode is best[1] else best[1])
    yield problem(subject, rule.PROVIDER_PORT, subject.settings.port, because, fix, wanted=wanted)


def port_25(subject: Subject) -> Iterator[Problem]:
    """A login goes to a submission port."""
    if subject.port != 25 or subject.is_near or not subject.host or not subject.has_login:
        return
    if (provider := provider_of(subject)) is not None and provider.serves(25) is None:
        return
    place = subject.settings.port
    because = "port 25 is what is set" if place and place.span else "no port is set, so the library takes port 25"
    port, mode = best_port(subject)
    wanted = Wanted(port=port, mode=None if subject.mode is mode else mode)
    yield problem(subject, rule.PORT_25, place, because, f"port {port} with {_words(mode)}", wanted=wanted)


def best_port(subject: Subject) -> tuple[int, TlsMode]:
    """The port and mode to go to: the provider's, in the mode that is set where it has one, else 587 or 465."""
    provider = provider_of(subject)
    able = [mode for mode in (TlsMode.STARTTLS, TlsMode.IMPLICIT) if mode in subject.kind.modes]
    preferred = subject.mode if subject.mode in able else (able[0] if able else TlsMode.OPPORTUNISTIC)
    if provider is not None:
        served = [(one.port, TlsMode(one.mode.value)) for one in provider.ports if one.port != 25]
        fitting = [one for one in served if one[1] is preferred] or [one for one in served if one[1] in able] or served
        if fitting:
            return fitting[0]
    return (465, TlsMode.IMPLICIT) if preferred is TlsMode.IMPLICIT else (587, preferred)


def _words(mode: TlsMode) -> str:
    return {TlsMode.IMPLICIT: "implicit TLS", TlsMode.STARTTLS: "STARTTLS"}.get(mode, mode.value)


def user_form(subject: Subject) -> Iterator[Problem]:
    """The user name has the form that the provider wants."""
    provider, place = provider_of(subject), subject.settings.username
    user = said(place) or ""
    if provider is None or place is None or place.is_reference or not user or _UNREAL.search(user):
        return
    wanted: Wanted | None = None
    match provider.user:
        case UserForm.FIXED if user != provider.user_name:
            wanted = Wanted(username=provider.user_name)
        case UserForm.ADDRESS if "@" not in user:
            pass
        case UserForm.LOCAL_PART if "@" in user:
            wanted = Wanted(username=user.partition("@")[0])
        case _:
            return
    if not provider.is_confirmed and provider.user is not UserForm.FIXED:
        return
    because = f"{provider.name} wants as user name {provider.user_words}; here it is {user!r}"
    fix = f"{place.key} = {wanted.username}" if wanted is not None else f"write {provider.user_words}"
    yield problem(subject, rule.USER_FORM, place, because, fix, wanted=wanted)


def sender(subject: Subject) -> Iterator[Problem]:
    """There is a sender where the program has none of its own."""
    if subject.settings.sender is not None or subject.kind.name not in NEEDS_SENDER:
        return
    yield problem(
        subject, rule.SENDER_MISSING, None, f"{subject.kind.title} has no sender unless one is set", "set the sender",
        level=Level.WARNING,
    )  # fmt: skip

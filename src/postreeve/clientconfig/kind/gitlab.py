"""GitLab: `gitlab_rails['smtp_…']` in gitlab.rb (also inside GITLAB_OMNIBUS_CONFIG).

GitLab 17 (omnibus `doc/settings/smtp.md`): `smtp_tls` (or `smtp_ssl`) together with `smtp_enable_starttls_auto` is an
error since 15.11. STARTTLS is only ever opportunistic, also by default. The certificate is verified unless
`smtp_openssl_verify_mode` is 'none'.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from postreeve.clientconfig.program.group import Group, group_of
from postreeve.clientconfig.program.notation import Changes, Notation, Wish, plain_text, quoted
from postreeve.clientconfig.program.program import Form, Program, fulfil, settings_of
from postreeve.clientconfig.scan.code import scan_code
from postreeve.clientconfig.scan.token import Language
from postreeve.clientconfig.scan.tree import as_scalar
from postreeve.clientconfig.settings import Server, SubmissionSettings, TlsMode, Value, Wanted
from postreeve.clientconfig.text import Entry, Scalar, Source

_TARGET: Final = re.compile(r"""gitlab_rails\[\s*:?["']?(smtp_\w+|gitlab_email_from|gitlab_email_enabled)["']?\s*\]""")


def _is_ruby(file: str, text: str) -> bool:
    return "gitlab_rails[" in text and "smtp_" in text and file.lower().endswith((".rb", ".rb.erb", ".template"))


def _scan(source: Source) -> Iterable[Group]:
    found: list[Entry] = []
    for assignment in scan_code(source, Language.RUBY).assignments:
        target = _TARGET.fullmatch(assignment.target)
        scalar = as_scalar(assignment.value)
        if target is not None and scalar is not None:
            found.append(Entry(target[1], scalar, assignment.target_span))
    return (group_of(source, found),) if found else ()


def _settle(group: Group) -> SubmissionSettings | None:
    if not group.has("smtp_address") or group.is_yes("smtp_enable") is False:
        return None
    if group.is_yes("gitlab_email_enabled") is False:
        return None
    contradictions = []
    if group.text("smtp_enable") is None:
        contradictions.append("smtp_enable is not set, so GitLab ignores these settings and uses sendmail")
    mechanism = group.text("smtp_authentication")
    if mechanism is not None and mechanism.value in ("none", "false"):
        mechanism = None
    return settings_of(
        group,
        host=group.text("smtp_address"),
        port=group.number("smtp_port", 25),
        mode=_mode(group),
        username=group.text("smtp_user_name"),
        password=group.text("smtp_password"),
        mechanism=mechanism,
        sender=group.text("gitlab_email_from"),
        verifies_certificate=group.decides(
            group.says("smtp_openssl_verify_mode") != "none", "smtp_openssl_verify_mode"
        ),
        hello_name=group.text("smtp_domain"),
        contradictions=tuple(contradictions),
    )


def _mode(group: Group) -> Value[TlsMode]:
    starttls = group.is_yes("smtp_enable_starttls_auto")
    for name in ("smtp_tls", "smtp_ssl"):
        if group.is_yes(name):
            return group.mode(TlsMode.BOTH if starttls else TlsMode.IMPLICIT, name)
    mode = TlsMode.PLAIN if starttls is False else TlsMode.OPPORTUNISTIC
    return group.mode(mode, "smtp_enable_starttls_auto")


def _change(group: Group, wanted: Wanted) -> Changes | None:
    changes = fulfil(
        wanted, host="smtp_address", port="smtp_port", username="smtp_user_name", sender="gitlab_email_from"
    )
    if changes is None or wanted.mode is TlsMode.BOTH:
        return None
    if wanted.mode is not None:
        is_implicit = wanted.mode is TlsMode.IMPLICIT
        name = "smtp_ssl" if group.has("smtp_ssl") and not group.has("smtp_tls") else "smtp_tls"
        changes[name] = is_implicit
        if not is_implicit and group.is_yes("smtp_ssl"):
            changes["smtp_ssl"] = False
        changes["smtp_enable_starttls_auto"] = wanted.mode in (TlsMode.STARTTLS, TlsMode.OPPORTUNISTIC)
    if wanted.verifies_certificate is not None:
        changes["smtp_openssl_verify_mode"] = "peer" if wanted.verifies_certificate else "none"
    if not group.has("smtp_enable"):
        changes["smtp_enable"] = True
    return changes


def _literal(wish: Wish, scalar: Scalar | None) -> str:
    if scalar is not None and scalar.quote in ("'", '"'):
        return quoted(plain_text(wish), scalar.quote)
    return plain_text(wish) if isinstance(wish, bool | int) else quoted(plain_text(wish), "'")


def _show(server: Server) -> str:
    is_implicit = server.mode is TlsMode.IMPLICIT
    is_starttls = server.mode in (TlsMode.STARTTLS, TlsMode.OPPORTUNISTIC)
    return (
        "gitlab_rails['smtp_enable'] = true\n"
        f"gitlab_rails['smtp_address'] = '{server.host}'\n"
        f"gitlab_rails['smtp_port'] = {server.port}\n"
        f"gitlab_rails['smtp_user_name'] = '{server.username}'\n"
        f"gitlab_rails['smtp_password'] = ENV['{server.password_variable}']\n"
        "gitlab_rails['smtp_authentication'] = 'plain'\n"
        f"gitlab_rails['smtp_tls'] = {str(is_implicit).lower()}\n"
        f"gitlab_rails['smtp_enable_starttls_auto'] = {str(is_starttls).lower()}\n"
        "gitlab_rails['smtp_openssl_verify_mode'] = 'peer'\n"
        f"gitlab_rails['gitlab_email_from'] = '{server.sender}'\n"
    )


_NOTATION: Final = Notation(
    line=lambda key, literal: f"{key} = {literal}", literal=_literal, spell=lambda name: f"gitlab_rails['{name}']"
)
_KNOWN: Final = frozenset({
    "smtp_enable", "smtp_address", "smtp_port", "smtp_user_name", "smtp_password", "smtp_domain",
    "smtp_authentication", "smtp_enable_starttls_auto", "smtp_tls", "smtp_ssl", "smtp_force_ssl",
    "smtp_openssl_verify_mode", "smtp_ca_path", "smtp_ca_file", "smtp_pool", "smtp_open_timeout",
    "smtp_read_timeout", "gitlab_email_from", "gitlab_email_enabled",
})  # fmt: skip
GITLAB: Final = Program(
    name="gitlab",
    title="GitLab (Omnibus)",
    modes=frozenset({TlsMode.PLAIN, TlsMode.OPPORTUNISTIC, TlsMode.IMPLICIT}),
    forms=(Form(_is_ruby, _scan, _NOTATION),),
    settle=_settle,
    change=_change,
    show=_show,
    known=_KNOWN,
)

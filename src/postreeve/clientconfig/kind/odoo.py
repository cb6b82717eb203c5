"""Odoo: section `[options]` of odoo.conf.

Odoo 17, `odoo/tools/config.py` and `odoo/addons/base/models/ir_mail_server.py`: `smtp_ssl` means STARTTLS, and mail
fails where it is not offered; implicit TLS exists only for servers set up in the program itself. `False` and `None`
are how Odoo writes an empty value.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from postreeve.clientconfig.program.form import ini_form
from postreeve.clientconfig.program.group import Group, group_of
from postreeve.clientconfig.program.notation import Changes
from postreeve.clientconfig.program.program import Program, basename, fulfil, settings_of
from postreeve.clientconfig.settings import Server, SubmissionSettings, TlsMode, Wanted


def _is_ini(file: str, text: str) -> bool:
    return "[options]" in text and ("smtp_server" in text or basename(file) in ("odoo.conf", "openerp-server.conf"))


def _settle(group: Group) -> SubmissionSettings | None:
    kept = (one for one in group.entries if str(one.scalar.value).lower() not in ("false", "none") or "ssl" in one.key)
    group = replace(group, last=group_of(group.source, kept).last)
    if not group.has("smtp_server"):
        return None
    is_ssl = group.is_yes("smtp_ssl") is True
    return settings_of(
        group,
        host=group.text("smtp_server"),
        port=group.number("smtp_port", 25),
        mode=group.mode(TlsMode.STARTTLS if is_ssl else TlsMode.PLAIN, "smtp_ssl"),
        username=group.text("smtp_user"),
        password=group.text("smtp_password"),
        sender=group.text("email_from"),
    )


def _change(group: Group, wanted: Wanted) -> Changes | None:
    changes = fulfil(wanted, host="smtp_server", port="smtp_port", username="smtp_user", sender="email_from")
    if changes is None or wanted.mode not in (None, TlsMode.PLAIN, TlsMode.STARTTLS):
        return None
    if wanted.verifies_certificate is not None:
        return None
    if wanted.mode is not None:
        changes["smtp_ssl"] = "True" if wanted.mode is TlsMode.STARTTLS else "False"
    return changes


def _show(server: Server) -> str:
    return (
        "[options]\n"
        f"smtp_server = {server.host}\n"
        f"smtp_port = {server.port}\n"
        f"smtp_ssl = {server.mode is TlsMode.STARTTLS}\n"
        f"smtp_user = {server.username}\n"
        f"; The password comes with the command line: --smtp-password=${server.password_variable}\n"
        f"email_from = {server.sender}\n"
    )


_KNOWN: Final = frozenset({
    "smtp_server", "smtp_port", "smtp_ssl", "smtp_user", "smtp_password", "smtp_ssl_certificate_filename",
    "smtp_ssl_private_key_filename", "email_from", "from_filter",
})  # fmt: skip
ODOO: Final = Program(
    name="odoo",
    title="Odoo",
    modes=frozenset({TlsMode.PLAIN, TlsMode.STARTTLS}),
    forms=(ini_form(_is_ini, "options", comments=";#"),),
    settle=_settle,
    change=_change,
    show=_show,
    known=_KNOWN,
)

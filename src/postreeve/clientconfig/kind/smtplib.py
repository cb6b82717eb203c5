"""Python programs that use smtplib: SMTP, SMTP_SSL, `starttls()` and `login()`.

CPython 3.14, `Lib/smtplib.py`: SMTP_SSL is implicit TLS (port 465 unless set), SMTP none (port 25); `starttls()` raises
where it is not offered. Without `context=` neither verifies the certificate (`ssl._create_stdlib_context`), and without
`timeout=` both wait for ever.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from postreeve.clientconfig.kind.python import python_literal
from postreeve.clientconfig.program.group import Group, group_of
from postreeve.clientconfig.program.notation import Changes, Notation
from postreeve.clientconfig.program.outline import ModeChanges, amend, outline
from postreeve.clientconfig.program.program import Form, Program
from postreeve.clientconfig.scan.smtplib import Connection, scan_smtplib
from postreeve.clientconfig.settings import Server, SubmissionSettings, TlsMode, Value, Wanted
from postreeve.clientconfig.text import Entry, Scalar, Source, unnamed

NO_CONTEXT: Final = "no context="
"""The key of verification that is off because nothing switches it on."""


def _is_mine(file: str, text: str) -> bool:
    return file.endswith(".py") and "smtplib" in text


def _scan(source: Source) -> Iterable[Group]:
    for one in scan_smtplib(source.text):
        entries = [*one.entries, *_marks(source, one)]
        yield group_of(source, entries)


def _marks(source: Source, one: Connection) -> Iterable[Entry]:
    """The class's name as an entry of its own, and what is known of TLS."""
    end = one.call.end
    start = end - (8 if one.is_implicit else 4)
    name = source.span(start, end)
    yield unnamed("class", Scalar(source.written(name), name, name))
    starts = {True: "yes", False: "no", None: "maybe"}[one.starts_tls]
    yield Entry("starttls", Scalar(starts, one.tls_call or name, None), one.tls_call or name)
    if not one.has_context:
        yield Entry("unverified", Scalar(True, one.tls_call or name, None), one.tls_call or name)


def _settle(group: Group) -> SubmissionSettings | None:
    if not group.has("host"):
        return None
    is_implicit = group.written("class") == "SMTP_SSL"
    starts = group.says("starttls")
    mode = TlsMode.IMPLICIT if is_implicit else {"yes": TlsMode.STARTTLS, "no": TlsMode.PLAIN}.get(starts)
    if is_implicit and starts == "yes":
        mode = TlsMode.BOTH
    verifies = None
    if "unverified" in group.last and mode not in (None, TlsMode.PLAIN):
        verifies = Value(False, NO_CONTEXT, group.last["unverified"].scalar.span)
    both = ("starttls() is called on a connection that SMTP_SSL has encrypted already",)
    return outline(
        group,
        None if mode is None else group.mode(mode, "class"),
        default_port=465 if is_implicit else 25,
        verifies_certificate=verifies,
        mechanism=None,
        hello_name=None,
        contradictions=both if mode is TlsMode.BOTH else (),
    )


_MODES: Final[ModeChanges] = {TlsMode.IMPLICIT: {"class": "SMTP_SSL"}}


def _change(group: Group, wanted: Wanted) -> Changes | None:
    """STARTTLS is a call, which is not written or taken out here."""
    if wanted.sender is not None or wanted.timeout_seconds is not None or wanted.verifies_certificate is not None:
        return None
    if wanted.mode is TlsMode.IMPLICIT and group.says("starttls") != "no":
        return None
    changes = amend(group, wanted, _MODES)
    return changes if changes is None or all(name in group.last for name in changes) else None


_NOTATION: Final = Notation(
    line=lambda key, literal: f"{key}={literal}",
    literal=lambda wish, scalar: (
        str(wish) if scalar is not None and scalar.value in ("SMTP", "SMTP_SSL") else _literal(wish, scalar)
    ),
    joint=",",
    removes=False,
)


def _literal(wish: object, scalar: Scalar | None) -> str:
    is_part = scalar is not None and not scalar.quote and isinstance(scalar.value, str)
    return str(wish) if is_part else python_literal(wish, scalar)  # type: ignore[arg-type]


def _show(server: Server) -> str:
    is_implicit = server.mode is TlsMode.IMPLICIT
    context = ", context=context" if is_implicit else ""
    starttls = "        server.starttls(context=context)\n" if server.mode is TlsMode.STARTTLS else ""
    name = "SMTP_SSL" if is_implicit else "SMTP"
    needs_context = server.mode in (TlsMode.IMPLICIT, TlsMode.STARTTLS)
    return (
        "import os\nimport smtplib\n"
        + ("import ssl\n" if needs_context else "")
        + "from email.message import EmailMessage\n\n\n"
        "def send(message: EmailMessage) -> None:\n"
        f'    message["From"] = "{server.sender}"\n'
        + ("    context = ssl.create_default_context()\n" if needs_context else "")
        + f'    with smtplib.{name}("{server.host}", {server.port}, timeout=30{context}) as server:\n'
        f"{starttls}"
        f'        server.login("{server.username}", os.environ["{server.password_variable}"])\n'
        "        server.send_message(message)\n"
    )


SMTPLIB: Final = Program(
    name="smtplib",
    title="Python (smtplib)",
    modes=frozenset({TlsMode.PLAIN, TlsMode.STARTTLS, TlsMode.IMPLICIT}),
    forms=(Form(_is_mine, _scan, _NOTATION),),
    settle=_settle,
    change=_change,
    show=_show,
)

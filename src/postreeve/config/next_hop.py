"""The [[route]] tables: where mail for a domain goes, and the fallback when the direct way fails."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

from pydantic import BaseModel, Field

from postreeve.config.kind import Count, Duration, OptionalPath, Pattern, Port, Switch, setting
from postreeve.config.limit import STRICT
from postreeve.queue.settings import TlsMode


class Via(Enum):
    """How mail of a route travels on."""

    MAILDIR = "maildir"
    LMTP = "lmtp"
    MX = "mx"
    SMARTHOST = "smarthost"
    HOLD = "hold"
    DISCARD = "discard"


class FallbackTable(BaseModel):
    """A smarthost that takes over when direct delivery keeps failing, as on networks that block port 25."""

    model_config = STRICT

    host: str = setting("", "Name or address of the smarthost.")
    port: Port = setting(465, "Its port.")
    tls: Annotated[TlsMode, Field(strict=False)] = setting(
        "implicit", "`none`, `opportunistic`, `required` (STARTTLS) or `implicit`; the last two verify the certificate."
    )
    verify: Switch = setting(True, "Verify the certificate with `required` and `implicit`.")
    username: str = setting("", "Account at the smarthost.")
    password: str = setting("", "Its password; better kept in `password_file`.")
    password_file: OptionalPath = setting("", "File whose first line is the password.")
    after_attempts: Count = setting(3, "Takes over after this many failed attempts …")
    after: Duration = setting("1h", "… or once the message has waited this long, whichever comes first.")


class RouteTable(BaseModel):
    """Where mail for some domains goes. The most precise pattern wins: a domain, then ".example.org", then "*"."""

    model_config = STRICT

    name: str = setting("", "Shown as destination in the queue and the log; default: `via` and the first domain.")
    domains: Annotated[tuple[Pattern, ...], Field(strict=False)] = Field(
        description='Domains that take this route: "example.org", ".example.org" (all below it), "*" (every other).'
    )
    via: Annotated[Via, Field(strict=False)] = Field(
        description="`maildir`, `lmtp`, `mx` (look up the MX hosts), `smarthost`, `hold` (until released) or `discard`."
    )
    path: str = setting(
        "",
        "maildir: where, with `{data_dir}`, `{domain}` and `{local}` filled in; "
        "default: `{data_dir}/mail/{domain}/{local}`.",
    )
    host: str = setting("", "lmtp, smarthost: name or address of the next hop.")
    port: Annotated[int, Field(ge=0, le=65535)] = setting(
        0, "lmtp, smarthost: its port; default 24 for lmtp, 465 with `implicit` TLS, 587 otherwise."
    )
    socket: OptionalPath = setting("", "lmtp: path of a Unix socket in place of `host` and `port`.")
    tls: Annotated[TlsMode | None, Field(strict=False)] = setting(
        None, "smarthost: as in a fallback; default `implicit` on port 465, `required` otherwise."
    )
    verify: Switch = setting(True, "smarthost: verify the certificate with `required` and `implicit`.")
    username: str = setting("", "smarthost: account there.")
    password: str = setting("", "smarthost: its password; better kept in `password_file`.")
    password_file: OptionalPath = setting("", "smarthost: file whose first line is the password.")
    fallback: FallbackTable | None = setting(
        None, "mx, smarthost: a smarthost that takes over when this way keeps failing."
    )

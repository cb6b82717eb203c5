"""Mailboxes: local-part @ domain, as SMTP paths carry them.

    Mailbox        = Local-part "@" ( Domain / address-literal )      RFC 5321, section 4.1.2
    Local-part     = Dot-string / Quoted-string

One parser serves paths, policy, configuration and headers' addr-specs: two parsers that disagree are how relays are
opened and senders are spoofed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from postreeve.mail.domain import Domain, parse_domain

MAX_LOCAL_PART_OCTETS: Final = 64
MAX_PATH_OCTETS: Final = 256
"""RFC 5321, section 4.5.3.1.3: with the angle brackets."""
_MAX_MAILBOX_OCTETS: Final = MAX_PATH_OCTETS - 2

# Departs from RFC 6531, section 3.3: of UTF8-non-ascii the C1 controls, the line separators and the surrogates (octets
# that were no UTF-8) are left out, since they break lines and terminals wherever an address is shown.
_NON_ASCII: Final = r"\xa0-\u2027\u202a-\ud7ff\ue000-\U0010ffff"
# Dot-string = Atom *("." Atom); atext of RFC 5322 plus, with SMTPUTF8, UTF8-non-ascii (RFC 6531, section 3.3).
_ATEXT: Final = rf"[A-Za-z0-9!#$%&'*+/=?^_`{{|}}~{_NON_ASCII}-]"
_DOT_STRING: Final = re.compile(rf"{_ATEXT}+(?:\.{_ATEXT}+)*")
# Quoted-string = DQUOTE *QcontentSMTP DQUOTE; qtextSMTP = %d32-33 / %d35-91 / %d93-126; quoted-pairSMTP = "\" %d32-126
_QUOTED_STRING: Final = re.compile(rf'"((?:[ !#-\[\]-~{_NON_ASCII}]|\\[ -~])*)"')
_QUOTED_PAIR: Final = re.compile(r"\\(.)")


@dataclass(frozen=True, slots=True)
class Mailbox:
    """One mailbox. `local` is the local part's meaning (unquoted); `domain` its comparable domain.

    `str()` gives the canonical wire form: quoted only where the local part needs it.
    """

    local: str
    domain: Domain

    def __str__(self) -> str:
        return f"{quote_local_part(self.local)}@{self.domain.ascii}"

    @property
    def is_ascii(self) -> bool:
        """True when the local part needs no SMTPUTF8 (the domain never does: it is kept in A-labels)."""
        return self.local.isascii()


def quote_local_part(local: str) -> str:
    """The local part as it stands on the wire, quoted only if it is no Dot-string."""
    if _DOT_STRING.fullmatch(local):
        return local
    return '"' + local.replace("\\", "\\\\").replace('"', '\\"') + '"'


def parse_mailbox(text: str) -> Mailbox | None:
    """The mailbox that `text` spells, or None when it spells none; never a truncated or repaired one.

    Control characters, bad quoting, empty parts, over-long parts (local part over 64 octets, whole over 254) give None.
    """
    # Before the cache: it must never hold what a stranger made long.
    return None if len(text) > MAX_PATH_OCTETS else _parse(text)


@lru_cache(maxsize=8192)
def _parse(text: str) -> Mailbox | None:
    raw_local, at, raw_domain = text.rpartition("@")
    if not at:
        return None
    local = _parse_local_part(raw_local)
    domain = None if local is None else parse_domain(raw_domain)
    if local is None or domain is None:
        return None
    wire_octets = len(quote_local_part(local).encode())
    if wire_octets > MAX_LOCAL_PART_OCTETS or wire_octets + 1 + len(domain.ascii) > _MAX_MAILBOX_OCTETS:
        return None
    return Mailbox(local, domain)


def _parse_local_part(raw: str) -> str | None:
    if raw[:1] == '"':
        quoted = _QUOTED_STRING.fullmatch(raw)
        return None if quoted is None else _QUOTED_PAIR.sub(r"\1", quoted[1])
    return raw if _DOT_STRING.fullmatch(raw) else None

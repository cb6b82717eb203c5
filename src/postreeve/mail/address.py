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

# Dot-string = Atom *("." Atom); atext of RFC 5322 plus, with SMTPUTF8, any UTF8-non-ascii (RFC 6531, section 3.3).
_ATEXT: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x80-\U0010ffff-]"
_DOT_STRING: Final = re.compile(rf"{_ATEXT}+(?:\.{_ATEXT}+)*")
# Quoted-string = DQUOTE *QcontentSMTP DQUOTE; qtextSMTP = %d32-33 / %d35-91 / %d93-126; quoted-pairSMTP = "\" %d32-126
_QUOTED_STRING: Final = re.compile(r'"((?:[ !#-\[\]-~\x80-\U0010ffff]|\\[ -~])*)"')
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


@lru_cache(maxsize=8192)
def parse_mailbox(text: str) -> Mailbox | None:
    """The mailbox that `text` spells, or None when it spells none; never a truncated or repaired one.

    Control characters, bad quoting, empty parts, over-long parts (local part over 64 octets, whole over 256) give None.
    """
    if len(text) > MAX_PATH_OCTETS:
        return None
    raw_local, at, raw_domain = text.rpartition("@")
    if not at or not raw_local:
        return None
    if raw_local[0] == '"':
        quoted = _QUOTED_STRING.fullmatch(raw_local)
        if quoted is None:
            return None
        local = _QUOTED_PAIR.sub(r"\1", quoted[1])
    else:
        if _DOT_STRING.fullmatch(raw_local) is None:
            return None
        local = raw_local
    if len(local.encode("utf-8", "surrogatepass")) > MAX_LOCAL_PART_OCTETS or _has_surrogates(local):
        return None
    domain = parse_domain(raw_domain)
    return None if domain is None else Mailbox(local, domain)


def _has_surrogates(text: str) -> bool:
    return not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text)

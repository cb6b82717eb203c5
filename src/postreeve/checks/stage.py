"""How far a client got: the stages of a submission, in the order in which they are walked."""

from __future__ import annotations

from enum import Enum
from typing import Final


class Stage(Enum):
    """One step on the way of a message; the value is the word of the JSON contract."""

    DNS = "dns"
    TCP = "tcp"
    BANNER = "banner"
    EHLO = "ehlo"
    TLS = "tls"
    CERT = "cert"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    PROTO = "proto"
    CLIENT = "client"
    NONE = "none"
    """Nothing is wrong."""


EXIT_CODES: Final[dict[Stage, int]] = {
    Stage.NONE: 0,
    Stage.DNS: 10,
    Stage.TCP: 20,
    Stage.BANNER: 30,
    Stage.EHLO: 40,
    Stage.TLS: 50,
    Stage.CERT: 60,
    Stage.AUTH: 70,
    Stage.MAIL: 80,
    Stage.RCPT: 90,
    Stage.DATA: 100,
    Stage.PROTO: 110,
    Stage.CLIENT: 120,
}
"""What `postreeve probe` exits with: the first stage that failed. 1 stays for a probe that could not be made, 2 for
wrong usage."""

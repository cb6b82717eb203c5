"""AUTH: what a login is answered with. RFC 4954, section 6.

One text for an unknown name, a wrong password and a disabled account: what differs is told to the operator only.
"""

from __future__ import annotations

from typing import Final

from postreeve.policy.verdict import Verdict, accept, refuse

ACCEPTED: Final = accept(235, "2.7.0", "authentication succeeded")
MAX_PASSWORD_OCTETS: Final = 1_024
"""Longer ones are wrong without hashing."""

_INVALID: Final = "authentication credentials invalid"
UNKNOWN: Final = refuse(535, "5.7.8", _INVALID, "unknown")
WRONG_PASSWORD: Final = refuse(535, "5.7.8", _INVALID, "password")
DISABLED: Final = refuse(535, "5.7.8", _INVALID, "disabled")
NO_PROXY: Final = refuse(535, "5.7.8", _INVALID, "authorization identity of somebody else")
THROTTLED: Final = refuse(454, "4.7.0", "too many failed logins, try again later", "throttled")
BUSY: Final = refuse(454, "4.7.0", "cannot check logins now, try again later", "too many logins at once")
UNAVAILABLE: Final = refuse(454, "4.7.0", "cannot check logins now, try again later", "accounts are unavailable")


def is_failure(verdict: Verdict) -> bool:
    """True for a verdict on the credentials themselves: it counts towards the throttles."""
    return verdict.reply.code == 535

"""STARTTLS: yes, unless there is no certificate now. RFC 3207, section 4."""

from __future__ import annotations

from typing import Final

from postreeve.policy.verdict import Verdict, accept, refuse

READY: Final = accept(220, "2.0.0", "ready to start TLS")
_NOT_AVAILABLE: Final = refuse(454, "4.7.0", "TLS not available due to temporary reason", "no certificate is loaded")


def judge_starttls(has_certificate: bool) -> Verdict:
    """May the handshake begin?"""
    return READY if has_certificate else _NOT_AVAILABLE

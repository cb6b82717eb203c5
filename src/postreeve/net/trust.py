"""Would this chain have been trusted? Answered after a handshake that did not ask, for the record only.

OpenSSL tells Python nothing about a chain it was not asked to verify, so the chain is looked at afterwards. Delivery
never depends on the answer: where it must, the context itself verifies (`certificate.verified_context`).
"""

from __future__ import annotations

import ipaddress
import re
import ssl
import warnings
from collections import OrderedDict
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.x509 import verification

_MAX_REMEMBERED: Final = 1_024
_REMEMBER_SECONDS: Final = 3_600.0


_PEM: Final = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


class TrustRecorder:
    """Judges chains by the system's authorities; remembers answers for an hour."""

    __slots__ = ("_ca_file", "_remembered", "_store")

    def __init__(self, ca_file: Path | None = None) -> None:
        self._ca_file = ca_file
        self._store: verification.Store | None = None
        self._remembered: OrderedDict[tuple[str, bytes], tuple[float, bool]] = OrderedDict()

    def would_verify(self, chain_der: tuple[bytes, ...], name: str, now: float) -> bool:
        """True when the chain leads to an authority and its leaf names `name` (a host name or an IP address)."""
        if not chain_der:
            return False
        key = (name, chain_der[0])
        known = self._remembered.get(key)
        if known is not None and now - known[0] < _REMEMBER_SECONDS:
            return known[1]
        answer = self._verify(chain_der, name, now)
        self._remembered[key] = (now, answer)
        if len(self._remembered) > _MAX_REMEMBERED:
            self._remembered.popitem(last=False)
        return answer

    def _verify(self, chain_der: tuple[bytes, ...], name: str, now: float) -> bool:
        try:
            leaf, *others = [x509.load_der_x509_certificate(one) for one in chain_der[:10]]
            builder = verification.PolicyBuilder().store(self._authorities()).time(datetime.fromtimestamp(now, UTC))
            builder.build_server_verifier(_subject(name)).verify(leaf, others)
        except (verification.VerificationError, ValueError, OSError):
            return False
        return True

    def _authorities(self) -> verification.Store:
        if self._store is None:
            path = self._ca_file or ssl.get_default_verify_paths().cafile
            self._store = verification.Store(_certificates(Path(path).read_bytes()) if path else [])
        return self._store


def _certificates(bundle: bytes) -> list[x509.Certificate]:
    """Those of `bundle` that can be read. Systems ship authorities that break the rules (a serial number of nought)."""
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for pem in _PEM.findall(bundle):
            try:
                found.append(x509.load_pem_x509_certificate(pem))
            except ValueError:
                continue
    return found


def _subject(name: str) -> x509.DNSName | x509.IPAddress:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)

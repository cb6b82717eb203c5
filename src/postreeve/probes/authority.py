"""The authorities that this machine trusts, found by name without reading all of them."""

from __future__ import annotations

import base64
import binascii
import re
import ssl
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from postreeve.probes.certificate import read_certificate

_PEM: Final = re.compile(rb"-----BEGIN (?:TRUSTED )?CERTIFICATE-----(.+?)-----END", re.DOTALL)
_MAX_FILES: Final = 1_000


class Authorities:
    """A trust store. Reading 150 roots takes longer than a whole conversation, so only those asked for are read."""

    __slots__ = ("_ders",)

    def __init__(self, ders: Iterable[bytes]) -> None:
        self._ders = tuple(dict.fromkeys(ders))

    def __len__(self) -> int:
        return len(self._ders)

    def named(self, subject: x509.Name) -> tuple[x509.Certificate, ...]:
        """Those of this very name."""
        name = subject.public_bytes()
        found = (read_certificate(der) for der in self._ders if name in der)
        return tuple(one for one in found if one is not None and one.subject == subject)

    def hold(self, certificate: x509.Certificate) -> bool:
        """True when it is one of them."""
        return certificate.public_bytes(Encoding.DER) in self._ders


def load_authorities(ca_file: Path | None = None) -> Authorities:
    """Those in `ca_file`, or this machine's. Reads files. Raises OSError, or ValueError for one without certificates.

    The machine's are what OpenSSL takes by default, SSL_CERT_FILE and SSL_CERT_DIR included.
    """
    if ca_file is not None:
        authorities = _read((ca_file,), (ca_file.stat().st_mtime_ns,))
        if not len(authorities):
            raise ValueError(f"{ca_file}: holds no PEM certificate")
        return authorities
    paths = ssl.get_default_verify_paths()
    if paths.cafile:
        files = [Path(paths.cafile)]
    else:
        files = sorted(Path(paths.capath).iterdir())[:_MAX_FILES] if paths.capath else []
    files = [one for one in files if one.is_file()]
    return _read(tuple(files), tuple(one.stat().st_mtime_ns for one in files))


@lru_cache(maxsize=8)
def _read(files: tuple[Path, ...], _changed: tuple[int, ...]) -> Authorities:
    ders: list[bytes] = []
    for file in files:
        for body in _PEM.findall(file.read_bytes()):
            try:
                ders.append(binascii.a2b_base64(body))
            except binascii.Error:
                continue
    return Authorities(ders)


def decode_pem_or_der(data: bytes) -> bytes:
    """One certificate as DER, whichever way it came; b"" for neither."""
    found = _PEM.search(data)
    if found is None:
        return data
    try:
        return base64.b64decode(found[1])
    except binascii.Error:
        return b""

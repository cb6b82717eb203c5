"""The authorities by which chains are judged after the fact."""

from __future__ import annotations

import time
import warnings
from pathlib import Path

from bench.certificate import make_certificate
from postreeve.net.trust import TrustRecorder, _certificates

BROKEN = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"


def test_certificates_pass_over_what_cannot_be_read(tmp_path: Path) -> None:
    good = make_certificate(tmp_path)[0].read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(_certificates(BROKEN + good + BROKEN + good)) == 2
        assert _certificates(b"no bundle at all") == []


def test_recorder_without_the_authority_answers_no(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(BROKEN)
    assert not TrustRecorder(bundle).would_verify((b"no certificate",), "mx.example.com", time.time())

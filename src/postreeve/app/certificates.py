"""The server's certificates in use: loaded at the start, taken up anew when their files change."""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from pathlib import Path
from typing import Any, Final

from postreeve.app.startup import StartupError
from postreeve.net.certificate import CertificateFinding, ServerContexts, ServerTls, TlsSettings, load_contexts
from postreeve.telemetry.event import CertificateLoaded, Tell

POLL_SECONDS: Final = 5.0

_State = tuple[tuple[int, int, int] | None, ...]


class Certificates:
    """What `inbound` asks for a context. `watch` runs as a task until cancelled."""

    __slots__ = ("_settings", "_state", "_tell", "_tls")

    def __init__(self, settings: TlsSettings | None, tell: Tell) -> None:
        """Reads the files. Raises StartupError when they cannot be used."""
        self._settings = settings
        self._tell = tell
        self._tls: ServerTls | None = None
        self._state: _State = ()
        if settings is None:
            return
        self._state = _look(settings)
        made = load_contexts(settings, time.time())
        if not isinstance(made, ServerContexts):
            raise StartupError("; ".join(str(finding) for finding in made))
        self._tls = ServerTls(made)
        self._report(made.findings)

    def context(self) -> ssl.SSLContext | None:
        """For the next handshake; None without a certificate."""
        return None if self._tls is None else self._tls.context

    def describe(self) -> list[dict[str, Any]]:
        """The certificates in use, for the tools."""
        loaded = () if self._tls is None else self._tls.current.loaded
        return [{"path": str(one.path), "names": list(one.names), "not_after": one.not_after} for one in loaded]

    async def change(self, settings: TlsSettings | None) -> str:
        """Use other files from now on; returns what is wrong with them, the old certificates staying, or ""."""
        if settings is None:
            self._settings, self._tls = None, None
            return ""
        self._state = _look(settings)
        if self._tls is None:
            made = await asyncio.to_thread(load_contexts, settings, time.time())
            if not isinstance(made, ServerContexts):
                return "; ".join(str(finding) for finding in made)
            self._tls = ServerTls(made)
            self._report(made.findings)
        else:
            problem = await self._reload(settings)
            if problem:
                return problem
        self._settings = settings
        return ""

    async def watch(self) -> None:
        """Look at the files every few seconds. A renewal writes several: it is taken up once they have settled."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            settings = self._settings
            if settings is None:
                continue
            state = _look(settings)
            if state == self._state:
                continue
            await asyncio.sleep(min(1.0, POLL_SECONDS))
            if _look(settings) != state:
                continue
            self._state = state
            await self._reload(settings)

    async def _reload(self, settings: TlsSettings) -> str:
        assert self._tls is not None
        findings = await asyncio.to_thread(self._tls.reload, settings, time.time())
        fatal = [finding for finding in findings if finding.is_fatal]
        if fatal:
            for finding in fatal:
                problem = f"{_words(finding)}; the old certificate stays in use"
                self._tell(CertificateLoaded(str(finding.path), "", "", problem))
            return "; ".join(str(finding) for finding in fatal)
        self._report(findings)
        return ""

    def _report(self, findings: tuple[CertificateFinding, ...]) -> None:
        assert self._tls is not None
        for loaded in self._tls.current.loaded:
            notes = "; ".join(_words(finding) for finding in findings if finding.path == loaded.path)
            self._tell(CertificateLoaded(str(loaded.path), " ".join(loaded.names), loaded.not_after_text, notes))


def _words(finding: CertificateFinding) -> str:
    return f"{finding.problem} ({finding.hint})" if finding.hint else finding.problem


def _look(settings: TlsSettings) -> _State:
    """What tells one version of the files from another."""
    files = [path for one in (settings.default, *settings.extra) for path in (one.certificate, one.key)]
    return tuple(_state_of(path) for path in files)


def _state_of(path: Path) -> tuple[int, int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size

"""The server looks at itself: `postreeve doctor` on a schedule, changes as events, and a mail when something changed.

The look is a process of its own, so that no name server or firewall that does not answer ever holds up mail. What was
found last is kept in the data directory: a restart tells nothing twice.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from postreeve.app.configuration import Installation
from postreeve.checks.doctor.change import Change, compare, confirm, read_findings
from postreeve.checks.finding import Finding, Level
from postreeve.config.assemble import postmaster
from postreeve.mail.domain import Domain
from postreeve.mail.envelope import Envelope, EnvelopeRecipient, MailParameters
from postreeve.mail.ident import to_text
from postreeve.queue.model import NewMessage, NewRecipient, Origin, RecipientState
from postreeve.queue.route import Route
from postreeve.report.summary import Item, make_summary
from postreeve.store.face import Store, StoreError
from postreeve.telemetry.event import FindingAppeared, FindingGone, InternalError, Tell

FILE_NAME: Final = "doctor.json"
FIRST_SECONDS: Final = 300.0
AGAIN_SECONDS: Final = 60.0
_PATIENCE_SECONDS: Final = 120.0
_MAX_OCTETS: Final = 1_048_576

Look = Callable[[Installation], Awaitable[tuple[Finding, ...]]]
RouteOf = Callable[[Domain], Route | None]


class LookFailed(Exception):
    """The look itself came to nothing."""


class SelfCheck:
    """One server's self-check; runs in one worker only."""

    __slots__ = ("_again_seconds", "_first_seconds", "_installation", "_look", "_route", "_store", "_task", "_tell")

    def __init__(
        self,
        installation: Installation,
        store: Store,
        route: RouteOf,
        tell: Tell,
        look: Look | None = None,
        first_seconds: float = FIRST_SECONDS,
        again_seconds: float = AGAIN_SECONDS,
    ) -> None:
        self._installation = installation
        self._store = store
        self._route = route
        self._tell = tell
        self._look = look or look_by_process
        self._first_seconds = first_seconds
        self._again_seconds = again_seconds
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, if the configuration wants it."""
        if self._installation.config.doctor.enabled:
            self._task = asyncio.create_task(self._run(), name="self-check")

    def reload(self, installation: Installation) -> None:
        """Use another configuration from the next look on."""
        was, self._installation = self._installation.config.doctor, installation
        if installation.config.doctor != was:
            self.stop()
            self.start()

    def stop(self) -> None:
        """No more looks."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _run(self) -> None:
        await asyncio.sleep(self._first_seconds)
        while True:
            try:
                await self.look()
            except LookFailed as problem:
                self._tell(InternalError("self-check", "", str(problem)))
            await asyncio.sleep(self._installation.config.doctor.every)

    async def look(self) -> Change:
        """One look: tell and mail what has changed since the last. Raises LookFailed."""
        file = self._installation.data_dir / FILE_NAME
        before = await asyncio.to_thread(_read, file)
        now = await self._look(self._installation)
        change = compare(before, now)
        if change:
            # A network that hiccups is no news: only what is so a minute later is.
            await asyncio.sleep(self._again_seconds)
            now = confirm(change, before, await self._look(self._installation))
            change = compare(before, now)
        for one in change.appeared:
            because = "; ".join(one.because)
            self._tell(FindingAppeared(one.check, one.level.value, one.subject, because, one.fix))
        for one in change.gone:
            self._tell(FindingGone(one.check, one.subject))
        if change and self._installation.config.doctor.summary:
            await self._mail(change)
        if change:
            await asyncio.to_thread(_write, file, now)
        return change

    async def _mail(self, change: Change) -> None:
        """To the postmaster; notes alone are not worth a mail."""
        worth = [one for one in (*change.appeared, *change.gone) if one.level is not Level.NOTE]
        if not worth:
            return
        moment = time.time()
        config = self._installation.config
        mailbox = postmaster(config)
        ident = self._store.new_ident(moment)
        content = make_summary(
            _items(change.appeared),
            _items(change.gone),
            _items(change.still),
            hostname=config.hostname.ascii,
            recipient=str(mailbox),
            ident=to_text(ident),
            now=moment,
        )
        recipient = EnvelopeRecipient(mailbox)
        route = self._route(mailbox.domain)
        state = RecipientState.HELD if route is not None and route.is_held else RecipientState.QUEUED
        destination = f"mx:{mailbox.domain.ascii}" if route is None else route.destination
        message = NewMessage(
            ident=ident,
            accepted_at=moment,
            envelope=Envelope(None, (recipient,), MailParameters()),
            recipients=(NewRecipient(recipient, destination, moment, state),),
            origin=Origin("report"),
            size_octets=len(content),
            content=content,
        )
        with suppress(StoreError):  # which has told of its trouble itself
            await self._store.accept(message)


def _items(findings: Sequence[Finding]) -> list[Item]:
    return [Item(one.level.value, one.title, one.subject, one.because, one.fix) for one in findings]


async def look_by_process(installation: Installation) -> tuple[Finding, ...]:
    """The findings of `postreeve doctor` in a process of its own. Raises LookFailed."""
    command = (sys.executable, "-m", "postreeve", "doctor", "--json", "--config", str(installation.path))
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
    except OSError as problem:
        raise LookFailed(f"doctor cannot be started: {problem}") from None
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            out, error = await process.communicate()
    except TimeoutError:
        raise LookFailed(f"doctor took more than {_PATIENCE_SECONDS:g} s") from None
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
    try:
        document = json.loads(out[:_MAX_OCTETS])
    except ValueError:
        raise LookFailed(f"doctor ended with {process.returncode}: {error.decode(errors='replace')[-300:]}") from None
    return read_findings(document.get("findings") if isinstance(document, Mapping) else None)


def _read(file: Path) -> tuple[Finding, ...]:
    try:
        return read_findings(json.loads(file.read_bytes()))
    except (OSError, ValueError):
        return ()


def _write(file: Path, findings: Sequence[Finding]) -> None:
    documents = [
        {
            "check": one.check,
            "level": one.level.value,
            "title": one.title,
            "subject": one.subject,
            "because": list(one.because),
            "fix": one.fix,
        }
        for one in findings
    ]
    draft = file.with_suffix(".new")
    with suppress(OSError):
        draft.write_text(json.dumps(documents), "utf-8")
        draft.replace(file)

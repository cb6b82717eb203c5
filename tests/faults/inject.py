"""System calls of a running process that fail, or kill it, at a chosen count: strace attached for one acceptance."""

from __future__ import annotations

import selectors
import smtplib
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tests.faults.sink import MARK

ATTACH_SECONDS: Final = 20.0
DETACH_SECONDS: Final = 1.0
REPLY_SECONDS: Final = 30.0


class Injection:
    """While the `with` lasts, call number `when` of each thread to one of `calls` meets `fault`.

    `fault` is strace's word: `error=EIO`, `signal=KILL`. `path` confines it to one file.
    """

    def __init__(self, pid: int, calls: str, fault: str, when: int, file: Path, path: str = "") -> None:
        self._file = file
        self._command = ["strace", "-f", "-p", str(pid), "-e", f"trace={calls}", "-o", str(file)]
        self._command += ["-e", f"inject={calls}:{fault}:when={when}"]
        self._command += ["-P", path] if path else []

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stderr=subprocess.PIPE)
        assert self._process.stderr is not None
        said = b""
        deadline = time.monotonic() + ATTACH_SECONDS
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stderr, selectors.EVENT_READ)
            while b" attached" not in said:
                assert selector.select(deadline - time.monotonic()), f"strace did not attach: {said!r}"
                piece = self._process.stderr.read1(4096)  # type: ignore[attr-defined]
                assert piece, f"strace did not attach: {said!r}"
                said += piece
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.terminate()
        assert self._process.stderr is not None
        self._process.stderr.close()
        try:
            self._process.wait(DETACH_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()  # it waits at times for a thread that the fault has killed
            self._process.wait(ATTACH_SECONDS)

    @property
    def has_happened(self) -> bool:
        """True when a call met the fault; ask after the `with`."""
        text = self._file.read_text(errors="replace")
        return "(INJECTED)" in text or "killed by SIGKILL" in text


def try_to_send(port: int, ident: str, domain: str = "example.org") -> tuple[int, str]:
    """Send one message on port 25; the last reply, or code 0 when the connection ended without one."""
    content = MARK + f"{ident}\r\nSubject: one acceptance\r\n\r\ntext of {ident}\r\n".encode()
    try:
        with smtplib.SMTP("127.0.0.1", port, timeout=REPLY_SECONDS) as client:
            client.ehlo()
            client.sendmail("sender@example.com", [f"box.{ident}@{domain}"], content)
        return 250, ""
    except smtplib.SMTPRecipientsRefused as refused:
        return next(iter(refused.recipients.values()))[0], str(refused)
    except smtplib.SMTPResponseException as refused:
        return refused.smtp_code, str(refused.smtp_error)
    except (smtplib.SMTPServerDisconnected, OSError) as error:
        return 0, str(error)

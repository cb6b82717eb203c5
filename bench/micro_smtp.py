"""How long the server core takes for one message, the transport and the session's decisions left out.

    python bench/micro_smtp.py [rounds]

Prints the best and the median of several rounds, in microseconds of processor time per message, for a 4-KB message in
the shapes a busy client sends it: one reply at a time, pipelined, and in one BDAT. The loop that drives the core costs
a few microseconds of these.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

from postreeve.mail.reply import Reply
from postreeve.smtp.event import NEED_DATA, Connected, ContentEnd, Event, Hello, Mail, Need, Recipient
from postreeve.smtp.server import ServerProtocol
from postreeve.smtp.settings import AuthOffer, ServerSettings, TlsOffer

MESSAGES = 2_000
LINE = b"The quick brown fox jumps over the lazy dog, again and again, all day.\r\n"
CONTENT = b"From: <a@example.org>\r\nTo: <b@example.com>\r\nSubject: bench\r\nDate: x\r\n\r\n" + LINE * 55
MAIL = b"MAIL FROM:<sender@example.org> SIZE=4096 BODY=8BITMIME\r\n"
RCPT = b"RCPT TO:<recipient@example.com>\r\n"

REPLIES: dict[type[Event | Need], Reply] = {
    Connected: Reply(220, "", "mx.example.com ESMTP"),
    Hello: Reply(250, "", "mx.example.com"),
    Mail: Reply(250, "2.1.0", "OK"),
    Recipient: Reply(250, "2.1.5", "OK"),
    ContentEnd: Reply(250, "2.0.0", "queued"),
}


def step(core: ServerProtocol, data: bytes) -> None:
    core.receive_data(data)
    while (event := core.next_event()) is not NEED_DATA:
        if (reply := REPLIES.get(type(event))) is not None:
            core.reply(reply)
    core.data_to_send()


def greeted() -> ServerProtocol:
    settings = ServerSettings("mx.example.com", TlsOffer.STARTTLS, AuthOffer.NEVER, max_messages=1 << 30)
    core = ServerProtocol(settings, lambda: 0.0)
    step(core, b"")
    step(core, b"EHLO client.example\r\n")
    return core


def stepwise(core: ServerProtocol) -> None:
    step(core, MAIL)
    step(core, RCPT)
    step(core, b"DATA\r\n")
    step(core, CONTENT + b".\r\n")


def pipelined(core: ServerProtocol) -> None:
    step(core, MAIL + RCPT + b"DATA\r\n")
    step(core, CONTENT + b".\r\n")


def chunked(core: ServerProtocol) -> None:
    step(core, MAIL + RCPT + b"BDAT %d LAST\r\n" % len(CONTENT) + CONTENT)


def without_parameters(core: ServerProtocol) -> None:
    step(core, b"MAIL FROM:<sender@example.org>\r\n")
    step(core, RCPT)
    step(core, b"DATA\r\n")
    step(core, CONTENT + b".\r\n")


def session(_core: ServerProtocol) -> None:
    """One connection per message, greeting to QUIT."""
    core = greeted()
    stepwise(core)
    core.receive_data(b"QUIT\r\n")
    core.next_event()
    core.data_to_send()


def measure(message: Callable[[ServerProtocol], None]) -> float:
    core = greeted()
    begin = time.process_time()
    for _ in range(MESSAGES):
        message(core)
    return (time.process_time() - begin) / MESSAGES * 1e6


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    for message in (stepwise, without_parameters, pipelined, chunked, session):
        figures = [measure(message) for _ in range(rounds)]
        print(f"{message.__name__:20} best {min(figures):6.1f} µs   median {statistics.median(figures):6.1f} µs")


if __name__ == "__main__":
    main()

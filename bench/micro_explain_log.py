"""How many lines a second `postreeve explain-log` reads: one process, a Postfix log as a busy relay writes it.

    python bench/micro_explain_log.py [lines] [share]

Seven messages in eight are delivered, or all but `share`; the others fail for the reasons that failing mail has,
towards some hundred domains, each text with names, addresses and identifiers of its own. Prints lines a second, best
and median of five.
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from collections.abc import Iterator

from postreeve.checks.explain.logformat import FORMATS, recognise
from postreeve.checks.explain.logmoment import LogClock
from postreeve.checks.explain.logtally import LogTally

LINES = 1_000_000
CHUNK = 4 << 20
SAID = "host mx{n}.example.net[192.0.2.{n}] said: "
RCPT = "(in reply to RCPT TO command)"
REASONS = (
    "connect to mx{n}.example.net[192.0.2.{n}]:25: Connection timed out",
    "connect to mx{n}.example.net[192.0.2.{n}]:25: Connection refused",
    f"{SAID}550 5.1.1 <user{{m}}@d{{n}}.example.net>: Recipient address rejected: User unknown in mailbox table {RCPT}",
    f"{SAID}450 4.2.0 <user{{m}}@d{{n}}.example.net>: Recipient address rejected: Greylisted, see /help/d{{n}} {RCPT}",
    f"{SAID}550-5.7.26 This mail has been blocked because the sender is unauthenticated. {{id}}-20020a170 - gsmtp",
    "Host or domain name not found. Name service error for name=d{n}.example.net type=MX: Host not found, try again",
    "lost connection with mx{n}.example.net[192.0.2.{n}] while receiving the initial server greeting",
    f"{SAID}554 5.7.1 Service unavailable; Client host [198.51.100.7] blocked using zen.spamhaus.org {RCPT}",
)


def log_lines(wanted: int, share: float = 0.125) -> Iterator[str]:
    """A log of about that many lines."""
    chance = random.Random(25)
    for number in range(wanted // 6):
        seconds = number // 40
        stamp = (
            f"Nov {1 + seconds // 86400:2d} {seconds // 3600 % 24:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d} mx1"
        )
        ident = "".join(chance.choices("BCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz0123456789", k=15))
        n, m = chance.randrange(1, 120), chance.randrange(10_000)
        yield f"{stamp} postfix/smtpd[{900 + n}]: connect from app{n}.example.com[198.51.100.{n}]\n"
        yield f"{stamp} postfix/smtpd[{900 + n}]: {ident}: client=app{n}.example.com[198.51.100.{n}]\n"
        yield f"{stamp} postfix/cleanup[77]: {ident}: message-id=<{number}.{m}@app{n}.example.com>\n"
        yield f"{stamp} postfix/qmgr[78]: {ident}: from=<news@example.com>, size={2000 + m}, nrcpt=1 (queue active)\n"
        to = f"{stamp} postfix/smtp[{300 + n}]: {ident}: to=<user{m}@d{n}.example.net>, relay="
        if chance.random() < share:
            reason = REASONS[(m + n) % len(REASONS)].format(n=n, m=m, id=ident)
            yield f"{to}none, delay=30, delays=0.1/0/30/0, dsn=4.4.1, status=deferred ({reason})\n"
        else:
            yield (
                f"{to}mx{n}.example.net[192.0.2.{n}]:25, delay=0.8, delays=0.1/0/0.3/0.4, dsn=2.0.0, "
                f"status=sent (250 2.0.0 Ok: queued as {ident[::-1]})\n"
            )
        yield f"{stamp} postfix/qmgr[78]: {ident}: removed\n"


def read(data: bytes) -> LogTally:
    """As the command does it: in chunks of whole lines."""
    tally = LogTally(FORMATS[recognise(data[:262_144])], LogClock(1_795_000_000.0, 0.0))
    at = 0
    while at < len(data):
        end = data.rfind(b"\n", at, at + CHUNK) + 1
        tally.add(data[at:end])
        at = end
    return tally


def main() -> None:
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else LINES
    share = float(sys.argv[2]) if len(sys.argv) > 2 else 0.125
    data = "".join(log_lines(wanted, share)).encode()
    speeds = []
    for _ in range(5):
        began = time.process_time()
        tally = read(data)
        speeds.append(tally.lines / (time.process_time() - began))
    print(f"{tally.lines:,} lines, {len(data) >> 20} MiB, {tally.failures:,} failures, {len(tally.groups)} groups")
    print(f"{max(speeds):,.0f} lines/s best, {statistics.median(speeds):,.0f} lines/s median, one core")


if __name__ == "__main__":
    main()

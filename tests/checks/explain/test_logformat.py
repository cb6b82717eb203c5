"""Which lines of a log fail, why and where to, in each format; and what they add up to."""

import pytest

from postreeve.checks.explain.logformat import FORMATS, failing_lines, recognise
from postreeve.checks.explain.logmoment import LogClock
from postreeve.checks.explain.logtally import MOST_GROUPS, OTHERS, LogTally

NOW = 1_795_478_400.0  # 2026-11-24 00:00:00 UTC
POSTFIX = b"""\
Nov 23 10:00:00 mx postfix/smtp[1]: 4Xy: to=<a@d1.example.com>, relay=none, delay=30, dsn=4.4.1, status=deferred (connect to mx.example.com[192.0.2.25]:25: Connection timed out)
Nov 23 10:00:01 mx postfix/smtp[1]: 4Xz: to=<b@d2.example.com>, relay=mx[192.0.2.2]:25, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as 4Xw)
Nov 23 10:00:02 mx postfix/smtp[1]: 4Xa: to=<c@d1.example.com>, relay=none, delay=30, dsn=4.4.1, status=deferred (connect to mx.example.com[192.0.2.26]:25: Connection timed out)
Nov 23 10:00:03 mx postfix/smtpd[2]: NOQUEUE: reject: RCPT from x.example.net[192.0.2.9]: 554 5.7.1 <e@f.example.org>: Relay access denied; from=<g@example.net> to=<e@f.example.org> proto=ESMTP helo=<x>
Nov 23 10:00:04 mx postfix/smtpd[2]: warning: x.example.net[192.0.2.9]: SASL LOGIN authentication failed: UGFzc3dvcmQ6
"""  # noqa: E501
EXIM = b"""\
2026-11-23 10:00:00 1abcde-0001ab-AB <= me@example.org H=x [192.0.2.1] P=esmtp S=900
2026-11-23 10:00:01 1abcde-0001ab-AB == a@d1.example.com R=dnslookup T=remote_smtp defer (110): Connection timed out H=mx.example.com [192.0.2.25]:25
2026-11-23 10:00:02 1abcde-0001ab-AB ** b@d2.example.com R=dnslookup T=remote_smtp H=mx.example.com [192.0.2.25]: SMTP error from remote mail server after RCPT TO:<b@d2.example.com>: 550 5.1.1 User unknown
2026-11-23 10:00:03 H=x [192.0.2.9] F=<g@example.net> rejected RCPT <e@f.example.org>: relay not permitted
"""  # noqa: E501
HARAKA = b"""\
2026-11-23T10:00:00.000Z [INFO] [7B6260E0-240F-4AAD-9E52-1188B0D14DC5.1.1] [outbound] Looking up A records for: mx.example.com
2026-11-23T10:00:01.000Z [NOTICE] [7B6260E0-240F-4AAD-9E52-1188B0D14DC5.1.1] [outbound] recipient <b@d2.example.com> rejected: 550 5.1.1 User unknown
2026-11-23T10:00:02.000Z [ERROR] [-] [core] [outbound] Failed to get pool entry: Outbound connection error: Error: connect ETIMEDOUT 192.0.2.25:25
"""  # noqa: E501
OURS = b"""\
time=2026-11-23T10:00:00.000Z level=info event=recipient_delivered message=1 recipient=a@d1.example.com reply="250 Ok"
time=2026-11-23T10:00:01.000Z level=info event=recipient_deferred message=1 recipient=a@d1.example.com destination=mx:d1.example.com host=mx stage=rcpt reply="450 4.2.0 Greylisted, come back" attempts=1 due=1
time=2026-11-23T10:00:02.000Z level=info event=recipient_failed message=1 recipient=b@d2.example.com destination=mx:d2.example.com host=mx stage=rcpt reply="550 5.1.1 User unknown" outcome=bounced dsn=x
{"time":"2026-11-23T10:00:03.000Z","level":"info","event":"recipient_failed","recipient":"b@d2.example.com","reply":"550 5.1.1 User unknown"}
"""  # noqa: E501
APPLICATION = b"""\
2026-11-23 10:00:00,123 INFO app sending mail to a@d1.example.com
Traceback (most recent call last):
  File "/usr/lib/python3.11/smtplib.py", line 398, in getreply
smtplib.SMTPAuthenticationError: (535, b'5.7.8 Error: authentication failed')
{"time":"2026-11-23T10:00:03.000Z","level":"error","msg":"mail failed","error":"dial tcp 192.0.2.25:587: connect: connection refused"}
[2026-11-23 10:00:04] production.ERROR: Swift_TransportException: getaddrinfo for smtp.example.invalid failed: Name or service not known
2026-11-23 10:00:05 GET /cart 500 error
"""  # noqa: E501


def tally(name: str, log: bytes, since: float | None = None) -> LogTally:
    made = LogTally(FORMATS[name], LogClock(NOW, 0.0), since)
    made.add(log)
    return made


@pytest.mark.parametrize(
    ("name", "log", "found"),
    [
        pytest.param(
            "postfix",
            POSTFIX,
            {
                ("port-25-blocked", "d1.example.com"): 2,
                ("relay-denied", "(this server)"): 1,
                ("auth-535", "(this server)"): 1,
            },
            id="postfix",
        ),
        pytest.param(
            "exim",
            EXIM,
            {
                ("port-25-blocked", "d1.example.com"): 1,
                ("recipient-unknown", "d2.example.com"): 1,
                ("relay-denied", "(this server)"): 1,
            },
            id="exim",
        ),
        pytest.param(
            "haraka",
            HARAKA,
            {("recipient-unknown", "d2.example.com"): 1, ("port-25-blocked", "192.0.2.25"): 1},
            id="haraka",
        ),
        pytest.param(
            "postreeve",
            OURS,
            {("greylist", "d1.example.com"): 1, ("recipient-unknown", "d2.example.com"): 2},
            id="ours",
        ),
        pytest.param(
            "application",
            APPLICATION,
            {("auth-535", "(unknown)"): 1, ("tcp-refused", "192.0.2.25"): 1, ("dns-nxdomain", "(unknown)"): 1},
            id="application",
        ),
    ],
)
def test_log_is_recognised_and_grouped(name: str, log: bytes, found: dict[tuple[str, str], int]) -> None:
    assert recognise(log) == name
    assert {(one.cause, one.destination): one.count for one in tally(name, log).groups} == found


def test_groups_tell_first_and_last_and_an_example() -> None:
    group = tally("postfix", POSTFIX).groups[0]
    assert group.first == NOW - 14 * 3_600
    assert group.last == NOW - 14 * 3_600 + 2
    assert group.example.startswith("Nov 23 10:00:00 mx postfix/smtp[1]: 4Xy")
    assert group.is_decided


def test_since_leaves_out_what_was_before() -> None:
    assert tally("postfix", POSTFIX, NOW - 14 * 3_600 + 2.5).failures == 2


def test_addresses_of_both_families_are_explained_apart() -> None:
    head = b"Nov 23 10:00:00 mx postfix/smtp[1]: 4: to=<a@x.example>, status=deferred "
    line = head + b"(connect to mx[%s]:25: Network is unreachable)\n"
    found = tally("postfix", line % b"192.0.2.1" + line % b"2001:db8::1")
    assert {one.cause for one in found.groups} == {"tcp-unreachable", "tcp-unreachable-v6"}


def test_an_application_that_fails_at_something_else_is_left_alone() -> None:
    assert tally("application", b"postgres: connection refused\nGET / 500 error\n" * 3).failures == 0


def test_lines_without_end_and_without_sense_are_borne() -> None:
    for name in FORMATS:
        for log in (
            b"",
            b"\n\n\n",
            b"\xff\xfe\x00 status=deferred (",
            b"reject: " * 1_000,
            b'{"msg":"error smtp',
            b" == x",
        ):
            assert tally(name, log).failures <= 1


def test_groups_are_bounded() -> None:
    line = b"Nov 23 10:00:00 mx postfix/smtp[1]: 4: to=<a@d%d.example>, status=deferred (Connection refused)\n"
    found = tally("postfix", b"".join(line % number for number in range(MOST_GROUPS + 50)))
    assert len(found.groups) == MOST_GROUPS + 1
    assert {one.destination: one.count for one in found.groups}[OTHERS] == 50


def test_failing_lines_are_found_once_and_in_order() -> None:
    chunk = b"a x y\nb\nc y x\nd x"
    assert [chunk[start:end] for start, end in failing_lines(chunk, (b"y", b"x"))] == [b"a x y", b"c y x", b"d x"]


@pytest.mark.parametrize(
    ("line", "moment"),
    [
        (b"Nov 23 10:00:00 mx postfix", NOW - 14 * 3_600),
        (b"Dec 31 10:00:00 mx postfix", NOW - 327 * 86_400 - 14 * 3_600),
        (b"2026-11-23T10:00:00.5+02:00 mx", NOW - 16 * 3_600),
        (b"[2026-11-23 10:00:00] production.ERROR", NOW - 14 * 3_600),
        (b"2026-11-23 10:00:00,123 INFO", NOW - 14 * 3_600),
        (b'{"level":30,"time":1795478400123}', NOW),
        (b"Feb 30 10:00:00 mx", None),
        (b"no stamp", None),
    ],
    ids=["syslog", "last-year", "zone", "brackets", "comma", "epoch", "no-such-day", "none"],
)
def test_clock_reads_stamps(line: bytes, moment: float | None) -> None:
    assert LogClock(NOW, 0.0).moment(line) == moment


def test_clock_takes_stamps_without_zone_as_local() -> None:
    assert LogClock(NOW, 3_600.0).moment(b"2026-11-23 10:00:00 x") == NOW - 15 * 3_600

"""Counters, gauges and histograms fed by events: one `Metrics` for each worker, snapshots merged for the whole server.

A snapshot is plain JSON: {"postreeve_deliveries_total": [[["delivered"], 12]], …}; a histogram's value is
[counts by bucket, sum]. Labels whose values come from outside are bounded, so no peer can make series at will.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from typing import Any, Final, assert_never

from postreeve.queue.model import QueueStats
from postreeve.telemetry import event as e
from postreeve.telemetry import family as f
from postreeve.telemetry.family import FAMILIES, Family, Kind, Merge

MAX_SERIES: Final = 500
_MAX_LABEL: Final = 128
_VERBS: Final = frozenset(
    ["AUTH", "BDAT", "DATA", "EHLO", "ETRN", "EXPN", "HELO", "HELP", "LHLO", "MAIL", "NOOP", "QUIT", "RCPT", "RSET"]
) | {"STARTTLS", "VRFY", "XCLIENT", "XFORWARD"}

# A worker's own processor time begins anew with it.
_LASTING: Final = tuple(one.name for one in FAMILIES if one.kind is not Kind.GAUGE and "worker" not in one.labels)

Snapshot = dict[str, list[list[Any]]]
Labels = tuple[str, ...]


class Metrics:
    """Counts what it is told. No method blocks or raises for any event."""

    __slots__ = ("_series",)

    def __init__(self) -> None:
        self._series: dict[str, dict[Labels, Any]] = {family.name: {} for family in FAMILIES}
        self._set(f.STORE_HEALTHY, (), 1)
        self._set(f.ACCOUNTS_HEALTHY, (), 1)

    def tell(self, event: e.TelemetryEvent) -> None:
        """Count one event."""
        match event:
            case e.MessageAccepted(listener=listener):
                labels = (listener,)
                self._add(f.MESSAGES_ACCEPTED, labels)
                self._add(f.RECIPIENTS_ACCEPTED, labels, event.recipients)
                self._add(f.OCTETS_ACCEPTED, labels, event.octets)
                self._observe(f.ACCEPT_SECONDS, labels, event.seconds)
            case e.RecipientDelivered():
                self._add(f.DELIVERIES, ("delivered",))
                self._add(f.DELIVERIES_TLS, (event.tls.partition(" ")[0] or "none",))
                self._observe(f.QUEUED_SECONDS, (), event.queued_seconds)
            case e.SessionOpened(listener=listener):
                self._add(f.SESSIONS, (listener,))
                self._add(f.SESSIONS_OPEN, (listener,))
            case e.SessionClosed(listener=listener):
                self._add(f.SESSIONS_OPEN, (listener,), -1)
                self._add(f.SESSIONS_CLOSED, (listener, event.reason))
                self._observe(f.SESSION_SECONDS, (listener,), event.seconds)
            case e.RecipientDeferred():
                self._add(f.DELIVERIES, ("deferred",))
                self._add(f.DEFERRALS, (event.stage, _code(event.reply)))
            case e.RecipientFailed():
                self._add(f.DELIVERIES, (event.outcome,))
                self._add(f.FAILURES, (event.stage, _code(event.reply)))
            case e.MessageRefused():
                self._add(f.MESSAGES_REFUSED, (_code(event.reply),))
            case e.MessageSpawned():
                self._add(f.MESSAGES_SPAWNED, (event.kind,))
            case e.CommandRefused(command=command):
                self._add(f.COMMANDS_REFUSED, (command if command in _VERBS else "other", _code(event.reply)))
            case _:
                self._tell_rare(event)

    def _tell_rare(
        self,
        event: (
            e.TlsEstablished | e.TlsFailed | e.WrongProtocolSeen | e.Authenticated | e.AuthenticationFailed
            | e.CredentialsMisplaced | e.AddressBanned | e.ConnectionRefused | e.DestinationChanged | e.QueueChanged
            | e.RecordQuarantined | e.StoreTrouble | e.AccountsTrouble | e.StressChanged | e.ConfigReloaded
            | e.CertificateLoaded | e.FindingAppeared | e.FindingGone | e.ServerStarted | e.ServerStopping
            | e.ServerStopped | e.WorkerExited | e.InternalError
        ),
    ) -> None:  # fmt: skip
        match event:
            case e.TlsEstablished():
                self._add(f.TLS_ESTABLISHED, (event.version,))
            case e.TlsFailed():
                self._add(f.TLS_FAILURES, ())
            case e.WrongProtocolSeen():
                self._add(f.WRONG_PROTOCOL, (event.listener, event.sniffed))
            case e.Authenticated():
                self._add(f.AUTHENTICATIONS, (event.mechanism,))
            case e.AuthenticationFailed():
                self._add(f.AUTHENTICATION_FAILURES, (event.reason,))
            case e.CredentialsMisplaced():
                self._add(f.CREDENTIALS_MISPLACED, (event.listener,))
            case e.AddressBanned():
                self._add(f.BANS, ("problem" if event.problem else "ok",))
            case e.ConnectionRefused():
                self._add(f.CONNECTIONS_REFUSED, (event.listener, event.reason))
            case e.DestinationChanged():
                self._add(f.DESTINATION_CHANGES, (event.state,))
            case e.QueueChanged():
                self._add(f.QUEUE_CHANGES, (event.change,), event.recipients)
            case e.RecordQuarantined():
                self._add(f.RECORDS_QUARANTINED, ())
            case e.StoreTrouble():
                self._add(f.STORE_TROUBLES, (event.state,))
                self._set(f.STORE_HEALTHY, (), int(event.state == "recovered"))
            case e.AccountsTrouble():
                self._set(f.ACCOUNTS_HEALTHY, (), int(event.state == "recovered"))
            case e.StressChanged():
                self._set(f.STRESS, (event.listener,), int(event.on))
            case e.ConfigReloaded():
                self._add(f.CONFIG_RELOADS, (_result(event.problem),))
            case e.CertificateLoaded():
                self._add(f.CERTIFICATE_LOADS, (_result(event.problem),))
            case e.ServerStarted():
                self._set(f.BUILD_INFO, (event.version,), 1)
            case e.FindingAppeared():
                self._add(f.FINDINGS, (event.check,))
            case e.FindingGone():
                self._add(f.FINDINGS_GONE, (event.check,))
            case e.WorkerExited():
                self._add(f.WORKER_EXITS, ())
            case e.InternalError():
                self._add(f.INTERNAL_ERRORS, ())
            case e.ServerStopping() | e.ServerStopped():
                pass
            case _:
                assert_never(event)

    def set_queue(self, stats: QueueStats, now: float) -> None:
        """Set the queue's gauges. Of several workers on one queue only one may do so: merging adds them up."""
        self._set(f.QUEUE_MESSAGES, (), stats.messages)
        self._set(f.QUEUE_OCTETS, (), stats.octets)
        self._set(f.QUEUE_DUE, (), stats.due_now)
        self._set(f.QUEUE_QUARANTINED, (), stats.quarantined)
        oldest = stats.oldest_accepted_at
        self._set(f.QUEUE_OLDEST, (), 0.0 if oldest is None else max(0.0, now - oldest))
        self._series[f.QUEUE_RECIPIENTS.name] = {(state,): count for state, count in stats.recipients.items()}
        self._series[f.QUEUE_DESTINATIONS.name] = {
            (name[:_MAX_LABEL],): count for name, count in list(stats.destinations.items())[:MAX_SERIES]
        }

    def snapshot(self) -> Snapshot:
        """What was counted so far, independent of later counting and fit for JSON."""
        return {
            name: [[list(labels), _copy(value)] for labels, value in series.items()]
            for name, series in self._series.items()
            if series
        }

    def _key(self, series: dict[Labels, Any], labels: Labels) -> Labels:
        """The labels of a new series: bounded in length and number."""
        if len(series) >= MAX_SERIES:
            return ("other",) * len(labels)
        return tuple([label[:_MAX_LABEL] for label in labels])

    def _add(self, family: Family, labels: Labels, amount: float = 1) -> None:
        series = self._series[family.name]
        if labels not in series:
            labels = self._key(series, labels)
        series[labels] = series.get(labels, 0) + amount

    def _set(self, family: Family, labels: Labels, value: float) -> None:
        series = self._series[family.name]
        if labels not in series:
            labels = self._key(series, labels)
        series[labels] = value

    def _observe(self, family: Family, labels: Labels, value: float) -> None:
        series = self._series[family.name]
        if labels not in series:
            labels = self._key(series, labels)
        histogram = series.get(labels)
        if histogram is None:
            histogram = series[labels] = [[0] * (len(family.buckets) + 1), 0.0]
        histogram[0][bisect_left(family.buckets, value)] += 1
        histogram[1] += value


def merge(snapshots: Iterable[Snapshot]) -> Snapshot:
    """Several workers' snapshots as one; names that this version does not know are left out."""
    taken = list(snapshots)
    merged: Snapshot = {}
    for family in FAMILIES:
        series: dict[Labels, Any] = {}
        for snapshot in taken:
            for labels, value in snapshot.get(family.name, ()):
                key = tuple(labels)
                series[key] = _copy(value) if key not in series else _combine(family, series[key], value)
        if series:
            merged[family.name] = [[list(labels), value] for labels, value in series.items()]
    return merged


def keep_counts(snapshot: Snapshot) -> Snapshot:
    """What of a worker's snapshot outlives the worker: counters and histograms, but no gauges."""
    return {name: snapshot[name] for name in _LASTING if name in snapshot}


def never_less(before: Snapshot, now: Snapshot) -> Snapshot:
    """`now`, with no counter and no histogram below what it was `before`: that would look like a restart to Prometheus.

    What a worker counted between its last word and its sudden end is lost; this hides the step down, not the loss.
    """
    result = dict(now)
    for name in _LASTING:
        values = {tuple(labels): value for labels, value in before.get(name, ())}
        for labels, value in now.get(name, ()):
            key = tuple(labels)
            values[key] = _greater(values[key], value) if key in values else value
        if values:
            result[name] = [[list(labels), value] for labels, value in values.items()]
    return result


def _greater(one: Any, other: Any) -> Any:
    if not isinstance(one, list):
        return max(one, other)
    # As a whole: buckets and sum of one moment belong together.
    return one if sum(one[0]) > sum(other[0]) else other


def _combine(family: Family, one: Any, other: Any) -> Any:
    if family.kind is Kind.HISTOGRAM:
        if len(one[0]) != len(other[0]):
            return one
        return [[left + right for left, right in zip(one[0], other[0], strict=True)], one[1] + other[1]]
    match family.merge:
        case Merge.SUM:
            return one + other
        case Merge.MAX:
            return max(one, other)
        case Merge.MIN:
            return min(one, other)


def _copy(value: Any) -> Any:
    return [list(value[0]), value[1]] if isinstance(value, list) else value


def _code(reply: str) -> str:
    """The three digits that a reply begins with; "none" where there was no reply."""
    code = reply[:3]
    return code if code.isdecimal() and code.isascii() and len(code) == 3 and code[0] in "12345" else "none"


def _result(problem: str) -> str:
    return "problem" if problem else "ok"

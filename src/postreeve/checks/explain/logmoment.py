"""When a log line happened: the stamps of syslog, of ISO 8601 and of JSON lines."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

_ISO: Final = re.compile(
    rb"(?P<day>\d{4}-\d\d-\d\d)[T ](?P<time>\d\d:\d\d:\d\d)(?:[.,]\d+)? ?(?P<zone>Z|[+-]\d\d:?\d\d)?"
)
_SYSLOG: Final = re.compile(rb"^(?:<\d+>)?(?P<month>[A-Z][a-z]{2}) (?P<day>[ \d]\d) (?P<time>\d\d:\d\d:\d\d)")
_EPOCH: Final = re.compile(rb'"(?:time|ts|timestamp)": ?(?P<seconds>\d{10})(?P<rest>\d{3})?')
_MONTHS: Final = {
    name: number
    for number, name in enumerate(
        (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"), 1
    )
}
_HEAD: Final = 64


class LogClock:
    """Reads stamps; `now` (POSIX seconds) gives syslog its year, `offset` (seconds east of UTC) local stamps a zone."""

    def __init__(self, now: float, offset: float) -> None:
        self._now = now
        self._offset = offset
        self._read = lru_cache(maxsize=4_096)(self._parse)

    def moment(self, line: bytes) -> float | None:
        """POSIX seconds of a line; None where it has no stamp at its beginning (JSON: anywhere)."""
        syslog = _SYSLOG.match(line)
        if syslog is not None:
            return self._read(syslog[0])
        is_object = line[:1] == b"{"
        iso = _ISO.search(line, 0, 2_048 if is_object else _HEAD)
        if iso is not None:
            return self._read(iso[0])
        epoch = _EPOCH.search(line, 0, 2_048) if is_object else None
        return float(epoch["seconds"]) if epoch else None

    def _parse(self, stamp: bytes) -> float | None:
        try:
            return self._syslog(stamp) if not stamp[:4].isdigit() else self._iso(stamp)
        except (ValueError, KeyError):  # the 30th of February, or no stamp after all
            return None

    def _iso(self, stamp: bytes) -> float | None:
        found = _ISO.match(stamp)
        if found is None:
            return None
        moment = datetime.fromisoformat(f"{found['day'].decode()}T{found['time'].decode()}+00:00").timestamp()
        zone = found["zone"]
        if zone is None:
            return moment - self._offset
        if zone == b"Z":
            return moment
        minutes = int(zone[1:3]) * 60 + int(zone[-2:])
        return moment - (minutes if zone[:1] == b"+" else -minutes) * 60

    def _syslog(self, stamp: bytes) -> float | None:
        found = _SYSLOG.match(stamp)
        if found is None:
            return None
        hour, minute, second = (int(one) for one in found["time"].split(b":"))
        here = datetime.fromtimestamp(self._now, UTC) + timedelta(seconds=self._offset)
        # Syslog tells no year: the latest that does not lie in the future (a day is allowed for clocks and zones).
        for year in (here.year, here.year - 1):
            moment = datetime(
                year, _MONTHS[found["month"]], int(found["day"]), hour, minute, second, tzinfo=UTC
            ).timestamp()
            if moment - self._offset <= self._now + 86_400:
                break
        return moment - self._offset

"""POSIX seconds to the dates of header fields (RFC 5322) and of logs (RFC 3339), always in UTC."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

_DAYS: Final = ("Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_LATEST: Final = 253_402_300_799


def format_date(now: float) -> str:
    """`now` (POSIX seconds, clamped to the years 1970 … 9999) as RFC 5322, section 3.3, date-time with zone +0000."""
    return _format(int(min(max(now, 0), _LATEST)))


@lru_cache(maxsize=64)
def _format(seconds: int) -> str:
    days, second_of_day = divmod(seconds, 86_400)
    minutes, second = divmod(second_of_day, 60)
    hour, minute = divmod(minutes, 60)
    year, month, day = _civil(days)
    return f"{_DAYS[days % 7]}, {day:02d} {_MONTHS[month - 1]} {year} {hour:02d}:{minute:02d}:{second:02d} +0000"


def _civil(days: int) -> tuple[int, int, int]:
    """Year, month and day of the Gregorian calendar, `days` after 1970-01-01; years are counted from March on."""
    era, day_of_era = divmod(days + 719_468, 146_097)
    year_of_era = (day_of_era - day_of_era // 1_460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * shifted + 2) // 5 + 1
    month = shifted + 3 if shifted < 10 else shifted - 9
    return year_of_era + era * 400 + (month <= 2), month, day


def format_timestamp(now: float) -> str:
    """`now` (POSIX seconds, clamped as above) as RFC 3339, section 5.6, date-time in UTC with milliseconds."""
    seconds, milliseconds = divmod(int(min(max(now, 0), _LATEST) * 1000), 1000)
    return f"{_format_to_the_second(seconds)}.{milliseconds:03d}Z"


@lru_cache(maxsize=64)
def _format_to_the_second(seconds: int) -> str:
    days, second_of_day = divmod(seconds, 86_400)
    minutes, second = divmod(second_of_day, 60)
    hour, minute = divmod(minutes, 60)
    year, month, day = _civil(days)
    return f"{year:04d}-{month:02d}-{day:02d}T{hour:02d}:{minute:02d}:{second:02d}"

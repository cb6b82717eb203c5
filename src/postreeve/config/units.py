"""Sizes, durations and shares as people write them: "50MiB", "1h20m", "5%"."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_SIZE_UNITS: Final = {
    "": 1, "B": 1,
    "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40,
}  # fmt: skip
_DURATION_UNITS: Final = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}
_SIZE: Final = re.compile(r"([0-9]{1,18}) ?([A-Za-z]*)")
_DURATION: Final = re.compile(r"(?:(\d{1,9})w)?(?:(\d{1,9})d)?(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9})s)?")
_SHARE: Final = re.compile(r"(\d{1,3}(?:\.\d{1,3})?) ?%")
_LIMIT: Final = ", at most "


@dataclass(frozen=True, slots=True)
class FreeSpace:
    """How much of a file system stays free: a share of it (0 … 1), at most so many octets of it if `limit` is given, or
    octets; the other is 0."""

    share: float = 0.0
    octets: int = 0
    limit: int | None = None

    def of(self, total_octets: int) -> int:
        """The octets that stay free of a file system of `total_octets`."""
        share = int(self.share * total_octets)
        return max(self.octets, share if self.limit is None else min(share, self.limit))


def parse_size(value: object) -> int:
    """Octets of `value`, a whole number or text such as "50MiB". Raises ValueError, saying what would do."""
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 0:
            raise ValueError("must not be negative")
        return value
    matched = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if matched is None or matched[2] not in _SIZE_UNITS:
        raise ValueError('must be a size such as "50MiB", "256KiB", "10MB" or a number of octets')
    return int(matched[1]) * _SIZE_UNITS[matched[2]]


def parse_duration(value: object) -> float:
    """Seconds of `value`, a number of seconds or text such as "1h20m". Raises ValueError, saying what would do."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        if not 0 <= value < float("inf"):
            raise ValueError("must not be negative")
        return value
    matched = _DURATION.fullmatch(value) if isinstance(value, str) and value else None
    if matched is None:
        raise ValueError('must be a time such as "5m", "1h20m", "30s", "5d" or a number of seconds')
    parts = zip(matched.groups(), _DURATION_UNITS.values(), strict=True)
    return sum(int(number) * unit for number, unit in parts if number)


def parse_free_space(value: object) -> FreeSpace:
    """A share of the file system ("5%", or "5%, at most 1GiB") or a size. Raises ValueError, saying what would do."""
    share, has_limit, limit = value.partition(_LIMIT) if isinstance(value, str) else ("", "", "")
    matched = _SHARE.fullmatch(share)
    try:
        if matched is not None and float(matched[1]) < 100:
            return FreeSpace(share=float(matched[1]) / 100, limit=parse_size(limit) if has_limit else None)
        return FreeSpace(octets=parse_size(value))
    except ValueError:
        raise ValueError(
            'must be a share below 100 % such as "5%" or "5%, at most 1GiB", or a size such as "2GiB"'
        ) from None


def format_size(octets: int) -> str:
    """About `octets`, for people: three digits and a unit."""
    if octets < 1000:
        return f"{octets} B"
    amount = float(octets)
    for unit in ("KiB", "MiB", "GiB", "TiB"):
        amount /= 1024
        if amount < 1000 or unit == "TiB":
            break
    return f"{amount:.3g} {unit}"


def format_duration(seconds: float) -> str:
    """The shortest text that `parse_duration` reads as `seconds`, whole seconds at least."""
    rest = int(seconds)
    text = ""
    for unit, length in _DURATION_UNITS.items():
        if unit == "w":
            continue
        number, rest = divmod(rest, length)
        text += f"{number}{unit}" if number else ""
    return text or "0s"

"""JSON that a tool has printed: every value is of the type it should be, or is NotUnderstood, with its place."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from postreeve.firewall.flow import Network, NotUnderstood, Ports

_MAX_QUOTE: Final = 400
_SHOWN: Final = 60


@dataclass(frozen=True, slots=True)
class Node:
    """One value and where it stands ("SecurityGroups[0].IpPermissions[2]")."""

    value: object
    where: str

    def quote(self) -> str:
        """The value as it stood, in one line."""
        return json.dumps(self.value, ensure_ascii=True)[:_MAX_QUOTE]

    def fail(self, problem: str) -> NotUnderstood:
        """To be raised."""
        return NotUnderstood(f"{self.where}: {problem}")

    def members(self) -> Mapping[str, object]:
        """Of an object."""
        if not isinstance(self.value, dict):
            raise self.fail(f"not an object: {_show(self.value)}")
        return self.value

    def has(self, name: str) -> bool:
        """True when the member is there and not null."""
        return self.members().get(name) is not None

    def get(self, name: str) -> Node:
        """A member that must be there."""
        members = self.members()
        if members.get(name) is None:
            raise self.fail(f"it has no {name}")
        return Node(members[name], f"{self.where}.{name}" if self.where else name)

    def find(self, name: str, default: object = None) -> Node:
        """A member, or the default."""
        return self.get(name) if self.has(name) else Node(default, f"{self.where}.{name}")

    def items(self, name: str) -> Iterator[Node]:
        """Of a list; one that is not there has none."""
        node = self.find(name, [])
        yield from node.elements()

    def elements(self) -> Iterator[Node]:
        """Of a list."""
        if not isinstance(self.value, list):
            raise self.fail(f"not a list: {_show(self.value)}")
        for place, value in enumerate(self.value):
            yield Node(value, f"{self.where}[{place}]")

    def text(self) -> str:
        """A string."""
        if not isinstance(self.value, str):
            raise self.fail(f"not a string: {_show(self.value)}")
        return self.value

    def flag(self) -> bool:
        """True or false."""
        if not isinstance(self.value, bool):
            raise self.fail(f"neither true nor false: {_show(self.value)}")
        return self.value

    def number(self, first: int, last: int) -> int:
        """A whole number of the range, written as a number or in a string."""
        value = self.value
        if isinstance(value, str) and value.removeprefix("-").isdecimal() and value.isascii() and len(value) < 12:
            value = int(value)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not first <= value <= last:
            raise self.fail(f"not a number from {first} to {last}: {_show(self.value)}")
        return value

    def choice(self, *words: str) -> str:
        """One of the words, as written here; case does not count."""
        text = self.text()
        for word in words:
            if text.lower() == word.lower():
                return word
        raise self.fail(f"none of {', '.join(words)}: {_show(text)}")

    def network(self) -> Network:
        """An address with or without the length of its prefix; bits of the host count as absent."""
        try:
            return ipaddress.ip_network(self.text(), strict=False)
        except ValueError:
            raise self.fail(f"not a network: {_show(self.value)}") from None

    def ports(self, everything: tuple[str, ...] = ()) -> Ports | None:
        """ "25" or "1024-65535"; None for one of the words that mean all."""
        text = str(self.value) if isinstance(self.value, int) and not isinstance(self.value, bool) else self.text()
        if text in everything:
            return None
        first, mark, last = text.partition("-")
        low = Node(first.strip(), self.where).number(0, 65_535)
        high = Node(last.strip(), self.where).number(0, 65_535) if mark else low
        if low > high:
            raise self.fail(f"a range that is upside down: {_show(text)}")
        return None if (low, high) == (0, 65_535) else Ports(low, high)


def load(text: str, what: str) -> Node:
    """The document. Raises NotUnderstood for what is no JSON, or is cut off."""
    try:
        return Node(json.loads(text), "")
    except (ValueError, RecursionError) as error:
        raise NotUnderstood(f"this is not {what}, or it is cut off: {error}") from None


def _show(value: object) -> str:
    text = json.dumps(value, ensure_ascii=True)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."

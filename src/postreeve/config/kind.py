"""The kinds of value a setting can have, each with the parser that turns what TOML gives into what the house uses."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainValidator, ValidationInfo

from postreeve.config.units import FreeSpace, parse_duration, parse_free_space, parse_size
from postreeve.mail.address import Mailbox, parse_mailbox
from postreeve.mail.domain import Domain, parse_domain

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address and a port."""

    address: IPAddress
    port: int

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if self.address.version == 6 else f"{self.address}:{self.port}"


@dataclass(frozen=True, slots=True)
class HostPort:
    """A host by name or address literal, and a port."""

    host: Domain
    port: int

    def __str__(self) -> str:
        return f"{self.host.ascii}:{self.port}"


@dataclass(frozen=True, slots=True)
class DomainPattern:
    """Which domains a route takes: one, all below one (".example.org"), or every one ("*", `domain` is None)."""

    domain: Domain | None
    below: bool = False

    def __str__(self) -> str:
        if self.domain is None:
            return "*"
        return f".{self.domain.ascii}" if self.below else self.domain.ascii


def _text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"must be text: {what}")
    if any(ord(character) < 32 or ord(character) == 127 for character in value):
        raise ValueError("must not contain control characters")
    return value


def _domain(value: object) -> Domain:
    domain = parse_domain(_text(value, "a domain name in quotes"))
    if domain is None:
        raise ValueError(f"{value!r} is no domain name")
    return domain


def _pattern(value: object) -> DomainPattern:
    text = _text(value, 'a domain, ".example.org" for all below it, or "*"')
    if text == "*":
        return DomainPattern(None)
    domain = parse_domain(text.removeprefix(".").removeprefix("*."))
    if domain is None:
        raise ValueError(f'{text!r} is neither a domain, nor ".example.org" for all below it, nor "*"')
    return DomainPattern(domain, below=text.startswith((".", "*.")))


def _mailbox(value: object) -> Mailbox:
    mailbox = parse_mailbox(_text(value, "an address such as postmaster@example.org"))
    if mailbox is None:
        raise ValueError(f"{value!r} is no mail address")
    return mailbox


def _address(value: object) -> IPAddress:
    try:
        return ipaddress.ip_address(_text(value, "an IP address in quotes"))
    except ValueError:
        raise ValueError(f'{value!r} is no IP address (use "0.0.0.0" and "::" for all of the machine)') from None


def _network(value: object) -> Network:
    try:
        return ipaddress.ip_network(_text(value, "a network in quotes"))
    except ValueError as problem:
        if "host bits" in str(problem):
            meant = ipaddress.ip_network(str(value), strict=False)
            raise ValueError(f"{value!r} has host bits set; {str(meant)!r} is the network") from None
        raise ValueError(f'{value!r} is no network such as "192.0.2.0/24" or "2001:db8::/32"') from None


def split_endpoint(text: str, default_port: int | None = None) -> Endpoint | None:
    """`text` as "192.0.2.1:53", "[2001:db8::1]:53" or, with a default port, a bare address; None if it is neither."""
    host, port = text, "" if default_port is None else str(default_port)
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            return None
        port = rest[1:] if rest else port
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    if not (port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65536):
        return None
    return Endpoint(address, int(port))


def _server(value: object) -> Endpoint:
    endpoint = split_endpoint(_text(value, "an IP address in quotes"), default_port=53)
    if endpoint is None:
        raise ValueError(f'{value!r} is no DNS server such as "127.0.0.1" or "127.0.0.1:5353" or "[::1]:53"')
    return endpoint


def _listen(value: object) -> Endpoint | None:
    text = _text(value, "an address and a port in quotes")
    if not text:
        return None
    endpoint = split_endpoint(text)
    if endpoint is None:
        raise ValueError(f'{value!r} is no address and port such as "127.0.0.1:9125"')
    return endpoint


def _host_port(value: object) -> HostPort:
    text = _text(value, "a host and a port in quotes")
    host, colon, port = text.rpartition(":")
    domain = parse_domain(host) if colon else None
    if domain is None or not (port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65536):
        raise ValueError(f'{value!r} is no host and port such as "smtp.example.com:465"')
    return HostPort(domain, int(port))


def _url(value: object) -> str:
    text = _text(value, "a URL in quotes")
    if text and not text.startswith(("https://", "http://")):
        raise ValueError(f'{value!r} is no URL such as "https://probe.example.com"')
    return text.rstrip("/")


def _source(value: object) -> IPAddress | None:
    return _address(value) if value != "" else None


def _path(value: object, info: ValidationInfo) -> PurePosixPath | None:
    text = _text(value, "a path in quotes")
    if not text:
        return None
    if text.startswith("~"):
        raise ValueError(f"{text!r}: ~ is not expanded here; write the whole path")
    base = PurePosixPath(info.context["directory"]) if info.context else PurePosixPath()
    return base / text


def _needed_path(value: object, info: ValidationInfo) -> PurePosixPath:
    path = _path(value, info)
    if path is None:
        raise ValueError("must name a file or directory")
    return path


def _workers(value: object) -> int | None:
    if value == "auto":
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError('must be "auto" or a whole number')
    if not 1 <= value <= 128:
        raise ValueError('must be "auto" or a number from 1 to 128')
    return value


def _recipients(value: object) -> frozenset[str] | None:
    """None for "any"; local parts are compared without case, as every mail system in practice does."""
    if value == "any":
        return None
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        raise ValueError('must be "any" or a list of local parts such as ["info", "jane"]')
    for item in value:
        if parse_mailbox(f"{item}@example.org") is None:
            hint = "; give the local part only" if "@" in item else ""
            raise ValueError(f"{item!r} is no local part{hint}")
    return frozenset(item.lower() for item in value)


def _peers(value: object) -> tuple[Network, ...] | None:
    """None for "world"."""
    if value == "world":
        return None
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError('must be "world" or a list of networks such as ["192.0.2.0/24", "2001:db8::/32"]')
    return tuple(_network(item) for item in value)


def _yes(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be true or false, without quotes")
    return value


Size = Annotated[int, BeforeValidator(parse_size)]
Duration = Annotated[float, PlainValidator(parse_duration)]
MinFree = Annotated[FreeSpace, PlainValidator(parse_free_space)]
DomainName = Annotated[Domain, PlainValidator(_domain)]
Pattern = Annotated[DomainPattern, PlainValidator(_pattern)]
MailboxName = Annotated[Mailbox, PlainValidator(_mailbox)]
Address = Annotated[IPAddress, PlainValidator(_address)]
NetworkName = Annotated[Network, PlainValidator(_network)]
DnsServer = Annotated[Endpoint, PlainValidator(_server)]
Host = Annotated[HostPort, PlainValidator(_host_port)]
Url = Annotated[str, PlainValidator(_url)]
Listen = Annotated[Endpoint | None, PlainValidator(_listen)]
SourceAddress = Annotated[IPAddress | None, PlainValidator(_source)]
FilePath = Annotated[PurePosixPath, PlainValidator(_needed_path)]
OptionalPath = Annotated[PurePosixPath | None, PlainValidator(_path)]
Workers = Annotated[int | None, PlainValidator(_workers)]
Recipients = Annotated[frozenset[str] | None, PlainValidator(_recipients)]
Peers = Annotated[tuple[Network, ...] | None, PlainValidator(_peers)]
Switch = Annotated[bool, PlainValidator(_yes)]
Port = Annotated[int, Field(ge=1, le=65535)]
Count = Annotated[int, Field(ge=1, le=10_000_000)]
CountOrOff = Annotated[int, Field(ge=0, le=10_000_000)]


def setting(default: Any, text: str) -> Any:
    """A setting with its default as it would stand in the file, and its meaning for the reference."""
    return Field(default=default, description=text, validate_default=True)


def required(text: str) -> Any:
    """A setting without default."""
    return Field(description=text)

"""Settings that say host and port in one text: `smtp.example.com:587`, `[2001:db8::1]:465`."""

from __future__ import annotations

from postreeve.clientconfig.program.group import as_number
from postreeve.clientconfig.settings import Value


def host_and_port(text: str) -> tuple[str, int | None]:
    """The two parts, brackets of an IPv6 address taken off; no port where none is written or it is no number."""
    text = text.strip()
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        return host, as_number(rest.removeprefix(":"))
    host, colon, port = text.rpartition(":")
    if not colon or ":" in host:
        return text, None
    return host, as_number(port)


def joined(old: str, host: str | None, port: int | None) -> str:
    """One text again, with what is not given taken from the old one."""
    old_host, old_port = host_and_port(old)
    name = host or old_host
    number = port or old_port
    if ":" in name:
        name = f"[{name}]"
    return name if number is None else f"{name}:{number}"


def host_of(value: Value[str] | None) -> Value[str] | None:
    """The host of a value that says both."""
    if value is None:
        return None
    return Value(host_and_port(value.value or "")[0] or None, value.key, value.span, value.is_reference)


def port_of(value: Value[str] | None, default: int | None = None) -> Value[int] | None:
    """The port of a value that says both; the default where it says none."""
    if value is None:
        return None if default is None else Value(default)
    port = host_and_port(value.value or "")[1]
    if port is None and not value.is_reference:
        return None if default is None else Value(default)
    return Value(port, value.key, value.span, value.is_reference)

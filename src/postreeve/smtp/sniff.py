"""Which protocol the first octets of a connection really are, where they are no SMTP.

A port answers many strangers: browsers, TLS clients on a port that begins in plain text, scanners, and balancers that
speak the PROXY protocol to a listener that was not told. Naming them turns a riddle into one line for the operator.
"""

from __future__ import annotations

from typing import Final

_PROXY_V2: Final = b"\r\n\r\n\x00\r\nQUIT\n"

_SIGNATURES: Final[tuple[tuple[bytes, str], ...]] = (
    (b"\x16\x03", "tls"),  # RFC 8446, section 5.1: a handshake record
    (b"\x80\x2e\x01", "tls"),  # the SSL 2 hello some scanners still send
    (_PROXY_V2, "proxy"),
    (b"PROXY TCP", "proxy"),
    (b"PROXY UNKNOWN", "proxy"),
    (b"SSH-", "ssh"),  # RFC 4253, section 4.2
    (b"\x03\x00\x00", "rdp"),
    (b"\x05\x01\x00", "socks"),
    (b"PRI * HTTP/2", "http"),
)
_HTTP_METHODS: Final = frozenset(
    {b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"CONNECT", b"TRACE", b"PATCH", b"PROPFIND"}
)


def sniff(first: bytes) -> str | None:
    """The name of the protocol that `first` begins ("tls", "http", "ssh", "proxy", "rdp", "socks"), or None."""
    for signature, name in _SIGNATURES:
        if first.startswith(signature):
            return name
    method, space, rest = first[:64].partition(b" ")
    if (space and method in _HTTP_METHODS and rest[:1] in (b"/", b"*", b"h")) or (method == b"CONNECT" and rest):
        return "http"
    return None


def may_become_proxy(first: bytes) -> bool:
    """True when `first` may still become a PROXY v2 signature, which begins with what looks like empty lines."""
    return first.startswith(b"\r\n") and len(first) < len(_PROXY_V2) and _PROXY_V2.startswith(first)

"""The name under which an address is asked about in reverse (RFC 1035, section 3.5; RFC 3596, section 2.5)."""

from __future__ import annotations

import ipaddress


def reverse_name(address: str) -> str:
    """Such as "1.2.0.192.in-addr.arpa". Raises ValueError for what is no IP address.

    An IPv4 address mapped into IPv6 is asked about as the IPv4 address it is.
    """
    parsed = ipaddress.ip_address(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        return (parsed.ipv4_mapped or parsed).reverse_pointer
    return parsed.reverse_pointer

"""Name constraints: an authority that may only speak for some names (RFC 5280, section 4.2.1.10).

PURE. DNS names and addresses, which are what a server's certificate is asked for; other kinds of name are not compared.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from typing import Final

from cryptography import x509

from postreeve.probes.certificate import UNREADABLE, common_name_of, names_of
from postreeve.probes.identity import is_address

PERMITTED_VIOLATION: Final = 47
EXCLUDED_VIOLATION: Final = 48


def violation(leaf: x509.Certificate, authority: x509.Certificate) -> int:
    """OpenSSL's code for what `authority` may not say in `leaf`, 0 when nothing is wrong."""
    try:
        constraints = authority.extensions.get_extension_for_class(x509.NameConstraints).value
    except (x509.ExtensionNotFound, *UNREADABLE):
        return 0
    permitted, excluded = constraints.permitted_subtrees or (), constraints.excluded_subtrees or ()
    names = names_of(leaf)
    hosts = [one for one in names if not is_address(one)]
    if not hosts and "." in common_name_of(leaf):
        hosts = [common_name_of(leaf).lower()]  # as clients do that still look at it
    addresses = [one for one in names if is_address(one)]
    wanted = [one.value.lower() for one in permitted if isinstance(one, x509.DNSName)]
    unwanted = [one.value.lower() for one in excluded if isinstance(one, x509.DNSName)]
    if any(_is_below(host, unwanted) for host in hosts) or any(_is_in(one, excluded) for one in addresses):
        return EXCLUDED_VIOLATION
    is_outside = wanted and not all(_is_below(host, wanted) for host in hosts)
    is_elsewhere = any(isinstance(one, x509.IPAddress) for one in permitted) and not all(
        _is_in(one, permitted) for one in addresses
    )
    return PERMITTED_VIOLATION if is_outside or is_elsewhere else 0


def _is_below(host: str, trees: Sequence[str]) -> bool:
    """In one of the trees: the name itself or below it; only below it where it begins with a dot."""
    return any(
        host == tree or not tree or host.endswith(tree if tree.startswith(".") else f".{tree}") for tree in trees
    )


def _is_in(address: str, trees: Iterable[x509.GeneralName]) -> bool:
    one = ipaddress.ip_address(address)
    networks = [tree.value for tree in trees if isinstance(tree, x509.IPAddress)]
    return any(
        isinstance(network, ipaddress.IPv4Network | ipaddress.IPv6Network) and one in network for network in networks
    )

"""The rules in force on this machine and what is around them, into one Scene. Reads, never writes.

Rules that iptables made hide their matches from nft: where iptables-save shows a table, it is read from there, and the
rest from `nft -j list ruleset`.
"""

from __future__ import annotations

import ipaddress
import json
import os
import pwd
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from postreeve.checks.firewall.notation import Means, find_sets, join
from postreeve.checks.firewall.scene import Conntrack, Manager, Persistence, Scene
from postreeve.firewall.flow import Address, NotUnderstood
from postreeve.firewall.read import iptables, nftables
from postreeve.firewall.ruleset import Ruleset
from postreeve.probes.machine.sockets import listening

_SECONDS: Final = 60
_TABLES: Final = ("filter", "nat", "mangle", "raw", "security")
_LIMITS: Final = Path("/proc/sys/net/netfilter")
_ESTABLISHED: Final = "01"
_DEFAULT_ROUTES: Final = (("/proc/net/route", 0, 1, "00000000"), ("/proc/net/ipv6_route", 9, 0, "0" * 32))
_FILES: Final = {Manager.NFTABLES: ("/etc/nftables.conf",), Manager.IPTABLES: ("/etc/iptables/rules.v4",)}
_OUR_TABLE: Final = "inet postreeve"
_OUR_UNIT: Final = "postreeve-firewall.service"
_OUR_FILE: Final = "etc/postreeve/firewall.nft"
_UNITS: Final = {
    Manager.UFW: "ufw",
    Manager.FIREWALLD: "firewalld",
    Manager.NFTABLES: "nftables",
    Manager.IPTABLES: "netfilter-persistent",
}


class Unseeable(Exception):
    """The rules in force cannot be read: why, in one line."""


def read_live() -> Ruleset:
    """The rules in force alone. Raises Unseeable and NotUnderstood."""
    listing, saved, _, blind = _in_force()
    unseen = [blind] if blind else []
    found = join(_rulesets(listing, saved, unseen))
    return replace(found, unread=(*found.unread, *unseen))


def _in_force() -> tuple[Any, dict[str, str], tuple[str, ...], str]:
    """By nft, by each iptables-save, which variants have rules, and why nft does not say. Raises Unseeable."""
    listing, blind = _listing()
    saved, variants = _saved()
    if blind and not any(saved.values()):
        raise Unseeable(blind)
    return listing, saved, variants, blind


def gather(mail_ports: frozenset[int], root: Path = Path("/")) -> Scene:
    """This machine now. Raises Unseeable without the rights or the tools to see any rules, and NotUnderstood."""
    listing, saved, variants, blind = _in_force()
    unseen = [blind] if blind else []
    rulesets = list(_rulesets(listing, saved, unseen))
    host = join(rulesets)
    managers = tuple(_managers(listing, saved, root))
    manager = managers[0] if managers else _guess(saved)
    if os.geteuid() != 0:
        unseen.append("programs of other users on our ports: run it as root")
    return Scene(
        host=host,
        bound=listening(frozenset()),
        manager=manager,
        managers=managers,
        variants=variants,
        persistence=_persistence(manager, host, root, unseen),
        conntrack=_conntrack(),
        ban_sets=tuple(find_sets(listing)),
        peers=tuple(_peers(mail_ports)),
        interfaces=_interfaces(),
        is_live=True,
        sources={"the rules in force": ", ".join(_words(listing, saved))},
        unseen=tuple(unseen),
    )


def accounts() -> dict[int, str]:
    """The names of this machine's accounts."""
    return {one.pw_uid: one.pw_name for one in pwd.getpwall()}


def means() -> Means:
    """What reading files needs of this machine."""
    return Means(accounts(), list_script)


def list_script(text: str) -> str:
    """What `nft -j list ruleset` says after a script of nft, in a network namespace of its own: nothing is changed
    here. Raises NotUnderstood.
    """
    # Root needs no namespace of users, in which large rulesets do not pass the socket's buffer.
    flags = "-n" if os.geteuid() == 0 else "-rn"
    words = ("unshare", flags, "sh", "-c", "nft -f - && nft -j list ruleset")
    # A script that begins with `flush ruleset` flushes that namespace's.
    done = _try(*words, stdin=text)
    if isinstance(done, str):
        raise NotUnderstood(f"a script of nft, which could not be tried: {done}")
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["nft does not take it"])[0]
        raise NotUnderstood(said.replace("/dev/stdin:", "line "))
    return done.stdout


def _try(*words: str, stdin: str = "") -> subprocess.CompletedProcess[str] | str:
    """What the command did, or why it could not be run."""
    try:
        return subprocess.run(words, input=stdin, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return f"{words[0]} took too long"
    except OSError as problem:
        return f"{words[0]}: {problem.strerror or problem}"


def _listing() -> tuple[Any, str]:
    done = _try("nft", "-j", "list", "ruleset")
    if isinstance(done, str):
        return {}, done
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["failed"])[0]
        return {}, f"nft: {said} (root may read the rules)"
    try:
        return json.loads(done.stdout or '{"nftables": []}'), ""
    except ValueError:
        return {}, "nft printed no JSON"


def _saved() -> tuple[dict[str, str], tuple[str, ...]]:
    """What each variant and family of iptables-save prints, and which variants have rules."""
    found: dict[str, str] = {}
    variants = []
    for variant in ("nft", "legacy"):
        for family in ("iptables", "ip6tables"):
            done = _try(f"{family}-{variant}-save")
            is_there = isinstance(done, subprocess.CompletedProcess) and done.returncode == 0
            found[f"{family}-{variant}"] = done.stdout if is_there and not isinstance(done, str) else ""
        if any(_has_rules(found[f"{family}-{variant}"]) for family in ("iptables", "ip6tables")):
            variants.append(variant)
    return found, tuple(variants)


def _has_rules(text: str) -> bool:
    return any(line.startswith("-A") or (line.startswith(":") and " DROP" in line) for line in text.splitlines())


def _rulesets(listing: Any, saved: Mapping[str, str], unseen: list[str]) -> Iterator[Ruleset]:
    by_number = {str(number): name for number, name in accounts().items()}
    done = _try("ipset", "save")
    sets = "" if isinstance(done, str) or done.returncode else done.stdout
    hidden: set[tuple[str, str]] = set()
    for variant in ("legacy", "nft"):
        four, six = saved[f"iptables-{variant}"], saved[f"ip6tables-{variant}"]
        if not _has_rules(four) and not _has_rules(six):
            continue
        try:
            yield iptables.read(_tables_only(four), _tables_only(six), sets, by_number)
        except NotUnderstood as problem:
            unseen.append(f"rules of iptables ({variant}): {problem}")
            continue
        if variant == "nft":
            hidden |= {("ip", name) for name in _TABLES if f"*{name}\n" in four}
            hidden |= {("ip6", name) for name in _TABLES if f"*{name}\n" in six}
    rest = _without(listing, hidden)
    if rest.get("nftables"):
        yield nftables.read(json.dumps(rest), accounts())


def _tables_only(text: str) -> str:
    """Without the lines that say which tables are not iptables' own."""
    return text if _has_rules(text) else ""


def _without(listing: Any, tables: set[tuple[str, str]]) -> dict[str, Any]:
    kept = []
    for item in listing.get("nftables", ()) if isinstance(listing, dict) else ():
        inner = next(iter(item.values())) if isinstance(item, dict) and item else {}
        name = inner.get("name") if "table" in item else inner.get("table")
        if (inner.get("family"), name) not in tables:
            kept.append(item)
    return {"nftables": kept}


def _words(listing: Any, saved: Mapping[str, str]) -> Iterator[str]:
    if isinstance(listing, dict) and listing.get("nftables"):
        yield "nft -j list ruleset"
    yield from (f"{name}-save" for name, text in saved.items() if _has_rules(text))


def _managers(listing: Any, saved: Mapping[str, str], root: Path) -> Iterator[Manager]:
    """Those at work now: their units are active, or their chains are in the kernel."""
    items = listing.get("nftables", ()) if isinstance(listing, dict) else ()
    tables = {one["table"].get("name") for one in items if isinstance(one, dict) and "table" in one}
    if _is_active("firewalld") or "firewalld" in tables:
        yield Manager.FIREWALLD
    if any(":ufw-user-input " in text for text in saved.values()) and _is_ufw_enabled(root):
        yield Manager.UFW
    if _is_active("nftables"):
        yield Manager.NFTABLES
    if _is_active("netfilter-persistent"):
        yield Manager.IPTABLES


def _is_active(unit: str) -> bool:
    done = _try("systemctl", "is-active", "--quiet", unit)
    return not isinstance(done, str) and done.returncode == 0


def _is_ufw_enabled(root: Path) -> bool:
    return "enabled=yes" in _read(root / "etc/ufw/ufw.conf").lower().replace(" ", "")


def _guess(saved: Mapping[str, str]) -> Manager:
    return Manager.IPTABLES if any(_has_rules(text) for text in saved.values()) else Manager.NFTABLES


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""


def _persistence(manager: Manager, host: Ruleset, root: Path, unseen: list[str]) -> Persistence | None:
    unit = _UNITS.get(manager)
    if unit is None:
        return None
    is_enabled = _is_enabled(unit)
    tables = {layer.name.rpartition(" ")[0] for layer in host.layers}
    if _OUR_TABLE in tables and (len(tables) == 1 or not is_enabled) and (own := _own_persistence(root, unseen)):
        return own
    files = [root / name.lstrip("/") for name in _FILES.get(manager, ())]
    text = "".join(_read(one) for one in files)
    if not files or not text.strip():
        return Persistence(f"{unit}.service", is_enabled)
    try:
        if manager is Manager.NFTABLES:
            return Persistence(str(files[0]), is_enabled, nftables.read(list_script(text), accounts()))
        six = _read(root / "etc/iptables/rules.v6")
        names = {str(number): name for number, name in accounts().items()}
        return Persistence(str(files[0]), is_enabled, iptables.read(text, six, accounts=names))
    except NotUnderstood as problem:
        unseen.append(f"{files[0]}: {problem}")
        return Persistence(str(files[0]), is_enabled)


def _own_persistence(root: Path, unseen: list[str]) -> Persistence | None:
    """The file that `postreeve firewall confirm` keeps, with the unit that loads it; None where there is no file."""
    file = root / _OUR_FILE
    text = _read(file)
    if not text.strip():
        return None
    try:
        kept = nftables.read(list_script(text), accounts())
    except NotUnderstood as problem:
        unseen.append(f"{file}: {problem}")
        kept = None
    return Persistence(str(file), _is_enabled(_OUR_UNIT), kept, _OUR_UNIT)


def _is_enabled(unit: str) -> bool | None:
    """None on a machine that systemd did not start: it answers nothing of use."""
    done = _try("systemctl", "is-enabled", unit)
    words = "" if isinstance(done, str) else done.stdout.strip()
    return {"enabled": True, "disabled": False, "masked": False}.get(words)


def _conntrack() -> Conntrack | None:
    values = [
        _read(_LIMITS / name).strip()
        for name in ("nf_conntrack_count", "nf_conntrack_max", "nf_conntrack_tcp_timeout_established")
    ]
    if not all(one.isdecimal() for one in values):
        return None
    count, most, seconds = map(int, values)
    return Conntrack(count, most, seconds)


def _interfaces() -> tuple[str, ...]:
    """Those that a default route leads out by."""
    found: dict[str, None] = {}
    for path, name, target, nowhere in _DEFAULT_ROUTES:
        for line in _read(Path(path)).splitlines():
            words = line.split()
            if len(words) > max(name, target) and words[target] == nowhere and words[name] not in ("lo", "Iface"):
                found[words[name]] = None
    return tuple(found)


def _peers(ports: frozenset[int]) -> Iterator[Address]:
    """Of connections under way to our mail ports."""
    for name in ("tcp", "tcp6"):
        for line in _read(Path("/proc/self/net") / name).splitlines()[1:]:
            words = line.split(None, 4)
            if len(words) > 3 and words[3] == _ESTABLISHED and int(words[1][-4:], 16) in ports:
                yield _address(words[2].partition(":")[0])


def _address(text: str) -> Address:
    packed = b"".join(int(text[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(text), 8))
    address = ipaddress.ip_address(packed)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return address if mapped is None else mapped

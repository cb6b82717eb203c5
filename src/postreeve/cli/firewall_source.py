"""Where rulesets come from that are compared: the configuration, this machine now, or a file in some notation."""

from __future__ import annotations

import json
import pwd
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import typer

from postreeve.cli.output import clean
from postreeve.firewall.flow import NotUnderstood
from postreeve.firewall.read import aws, iptables, nftables
from postreeve.firewall.ruleset import Layer, Ruleset, of_policy

_MOST_OCTETS: Final = 256 * 1024 * 1024
_SECONDS: Final = 60


class NoSource(Exception):
    """It cannot be read: where, and why, in one line."""


def wrong(problem: str) -> typer.Exit:
    """Wrong usage or unreadable input: says so in one line; the exit to raise."""
    sys.stderr.write(f"postreeve: {clean(problem)}\n")
    return typer.Exit(2)


def accounts() -> dict[int, str]:
    """The names of this machine's accounts."""
    return {one.pw_uid: one.pw_name for one in pwd.getpwall()}


def read_live() -> Ruleset:
    """The rules in force on this machine, by nft; those that iptables made, by iptables-save."""
    try:
        listed = _run("nft", "-j", "list", "ruleset")
    except NoSource as problem:
        raise NoSource(f"the rules in force: {problem} (root may read them)") from None
    return nftables.read(listed, accounts())


def _run(*words: str) -> str:
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as problem:
        raise NoSource(f"{words[0]}: {problem}") from None
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise NoSource(f"{words[0]}: {said[0]}")
    return done.stdout


def read_file(path: Path) -> Ruleset:
    """By what is in it. Raises NoSource, with the file's name, for what nobody understands."""
    text = _text(path)
    try:
        return _understand(path, text)
    except NotUnderstood as problem:
        raise NoSource(f"{path}: {problem}") from None


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > _MOST_OCTETS:
            raise NoSource(f"{path}: larger than any ruleset")
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        why = problem.strerror if isinstance(problem, OSError) else "not text"
        raise NoSource(f"{path}: {why}") from None


def _understand(path: Path, text: str) -> Ruleset:
    begin = text.lstrip()[:1]
    if begin in ("{", "["):
        keys = _keys(text)
        if "SecurityGroups" in keys:
            return _layers(aws.read_groups(text))
        if "NetworkAcls" in keys:
            return _layers(aws.read_acls(text))
        return nftables.read(text, accounts())
    if begin in ("*", "#", ":"):
        by_number = {str(number): name for number, name in accounts().items()}
        if "ip6tables" in text[:200]:
            return iptables.read("", text, accounts=by_number)
        # Debian's iptables-persistent keeps the two families side by side.
        beside = path.with_suffix(".v6")
        six = _text(beside) if path.suffix == ".v4" and beside.is_file() else ""
        return iptables.read(text, six, accounts=by_number)
    raise NotUnderstood(
        "none of: `nft -j list ruleset`, iptables-save, describe-security-groups, describe-network-acls"
    )


def _keys(text: str) -> set[str]:
    try:
        data: Any = json.loads(text)
    except (json.JSONDecodeError, RecursionError):
        raise NotUnderstood("no JSON, or cut off") from None
    return set(data) if isinstance(data, dict) else set()


def _layers(policies: Any) -> Ruleset:
    """Groups or lists one after the other."""
    layers: list[Layer] = []
    for policy in policies:
        layers += of_policy(policy).layers
    return Ruleset(tuple(layers))

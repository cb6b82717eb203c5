"""Where rulesets come from that are compared: this machine now, or a file in any notation that the audit reads."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import typer

from postreeve.checks.firewall.notation import Notation, Piece, join, read_scene, recognise
from postreeve.cli.output import clean
from postreeve.firewall.flow import NotUnderstood
from postreeve.firewall.read import kubernetes
from postreeve.firewall.ruleset import Ruleset, of_policy
from postreeve.probes.machine import firewall as machine

_MOST_OCTETS: Final = 256 * 1024 * 1024


def wrong(problem: str) -> typer.Exit:
    """Wrong usage or unreadable input: says so in one line; the exit to raise."""
    sys.stderr.write(f"postreeve: {clean(problem)}\n")
    return typer.Exit(2)


def read_piece(path: Path) -> Piece:
    """A file of rules. Raises NotUnderstood, with the file's name, for what is no text."""
    try:
        if path.stat().st_size > _MOST_OCTETS:
            raise NotUnderstood(f"{path}: larger than any ruleset")
        return Piece(str(path), path.read_text("utf-8"))
    except OSError as problem:
        raise NotUnderstood(f"{path}: {problem.strerror}") from None
    except UnicodeDecodeError:
        raise NotUnderstood(f"{path}: not text") from None


def read_file(path: Path) -> Ruleset:
    """By what is in it, the layers around a host first. Raises NotUnderstood, with the file's name."""
    piece = read_piece(path)
    scene = read_scene([piece, *_beside(path)], machine.means())
    around = [of_policy(one.policy) for one in scene.clouds]
    if scene.cluster is not None and recognise(piece) is Notation.CLUSTER:
        try:
            around.append(of_policy(kubernetes.read(piece.text)))
        except NotUnderstood as problem:
            raise NotUnderstood(f"{path}: {problem}") from None
    found = join([*around, scene.host])
    return replace(found, unread=(*found.unread, *scene.unseen))


def _beside(path: Path) -> Iterator[Piece]:
    """What the machine's own tool keeps for IPv6 in a file of its own."""
    other = path.with_suffix(".v6") if path.suffix == ".v4" else path.with_name("user6.rules")
    if (path.suffix == ".v4" or path.name == "user.rules") and other.is_file():
        yield read_piece(other)

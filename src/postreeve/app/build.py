"""Whether this installation's core is compiled: an option of the build that changes speed and nothing else."""

from __future__ import annotations

from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import find_spec


def describe_core() -> str:
    """What Python would load, found without loading it."""
    spec = find_spec("postreeve.smtp.server")
    is_compiled = spec is not None and (spec.origin or "").endswith(tuple(EXTENSION_SUFFIXES))
    return "compiled" if is_compiled else "plain Python"

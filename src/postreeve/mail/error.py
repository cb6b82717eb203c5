"""The root of the tree of surprises. Ordinary outcomes are values and never raised."""

from __future__ import annotations


class PostreeveError(Exception):
    """Anything postreeve itself raises."""

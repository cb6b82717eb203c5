"""The causes, as read from the catalogue that `make docs` compiles."""

from __future__ import annotations

import json
import pkgutil
import re
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, Final

from postreeve.checks.cause import Cause
from postreeve.checks.stage import Stage

_BLANK: Final = re.compile(r"\{(host|port|address|domain|name|sender|recipient)\}")


@cache
def causes() -> Mapping[str, Cause]:
    """All causes by id, in the order of the catalogue: that of the stages."""
    return MappingProxyType({row["id"]: _cause(row) for row in read_data("catalogue.json")})


def fill(text: str, known: Mapping[str, str]) -> str:
    """`text` with its blanks ({host}, {port} …) filled with what is known, the others with their word in capitals."""
    return _BLANK.sub(lambda blank: known.get(blank[1]) or blank[1].upper(), text)


def read_data(name: str) -> Any:
    """One JSON document of this package."""
    data = pkgutil.get_data(__name__.rpartition(".")[0], name)
    if data is None:
        raise RuntimeError(f"{name} is missing from the package")
    return json.loads(data)


def _cause(row: dict[str, Any]) -> Cause:
    return Cause(**{**row, "stage": Stage(row["stage"]), "references": tuple(row["references"])})

"""The server that most tests here talk to: the defaults, one per module."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.inbound.harness import Serving


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Serving]:
    with Serving(tmp_path) as serving:
        yield serving

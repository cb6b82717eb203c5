"""What tests of probes share: a small internet with real packet filters, made anew for each file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.faulty import root
from tests.lab.network import Internet, NoNamespaces


@pytest.fixture(scope="module")
def joined() -> Iterator[Internet]:
    try:
        with Internet() as net:
            yield net
    except NoNamespaces as problem:
        pytest.skip(f"network namespaces cannot be joined here: {problem}")


@pytest.fixture
def internet(joined: Internet) -> Iterator[Internet]:
    """Without packet filters, whatever the test before did."""
    yield joined
    for name in (joined.here, joined.router, joined.server):
        joined.do(name, "nft", "flush", "ruleset")


@pytest.fixture(scope="module")
def ca_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return root().write(tmp_path_factory.mktemp("ca") / "root.pem")

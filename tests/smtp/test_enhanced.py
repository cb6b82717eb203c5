"""Every reply that the code holds ready carries an enhanced status code of its own class."""

import importlib
import pkgutil
import re
from collections.abc import Iterator

import pytest

from postreeve import inbound, policy, smtp
from postreeve.mail.reply import Reply

# RFC 3463, section 2: status-code ::= class "." subject "." detail
CODE = re.compile(r"[245]\.[0-7]\.\d{1,3}")


def replies() -> Iterator[tuple[str, Reply]]:
    for package in (smtp, policy, inbound):
        for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            for name, value in vars(importlib.import_module(found.name)).items():
                if isinstance(value, Reply):
                    yield f"{found.name}.{name}", value


@pytest.mark.parametrize(("name", "reply"), [pytest.param(*one, id=one[0]) for one in replies()])
def test_reply_has_an_enhanced_code_of_its_class(name: str, reply: Reply) -> None:
    """RFC 2034, section 4: all replies of classes 2, 4 and 5 but those to EHLO; class 3 has none."""
    if reply.code // 100 == 3:
        assert reply.enhanced == ""
        return
    assert CODE.fullmatch(reply.enhanced), name
    assert reply.enhanced[0] == str(reply.code)[0]


def test_replies_are_found() -> None:
    assert len(list(replies())) > 20

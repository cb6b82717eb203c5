"""Conversations with real servers in good health: nothing is wrong, and it does not take long."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from postreeve.checks.conversation import Conversation, Ending, Opening
from postreeve.checks.stage import Stage
from postreeve.probes.converse import converse
from postreeve.probes.dial import dial
from postreeve.probes.script import Login, Script, StartTls
from tests.lab.dovecot import Dovecot
from tests.lab.faulty import HOST, middle
from tests.lab.postfix import Postfix
from tests.lab.server import Server

pytestmark = pytest.mark.asyncio

PASSWORD = "right one"
SCRIPT = Script(hello_name="probe.example.org", server_name=HOST, starttls=StartTls.REQUIRED)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return middle().issue(HOST).write(tmp_path_factory.mktemp("tls"), "server")


@pytest.fixture(scope="module")
def postfix(
    tmp_path_factory: pytest.TempPathFactory, peer: Callable[[str], Path], files: tuple[Path, Path]
) -> Iterator[Postfix]:
    peer("postfix")
    with Postfix(tmp_path_factory.mktemp("p") / "x", *files) as one:
        yield one


@pytest.fixture(scope="module")
def dovecot(
    tmp_path_factory: pytest.TempPathFactory, peer: Callable[[str], Path], files: tuple[Path, Path], postfix: Postfix
) -> Iterator[Dovecot]:
    peer("dovecot")
    base = tmp_path_factory.mktemp("d") / "x"
    with Dovecot(base, {"ann": PASSWORD}, certificate=files, relay=postfix.port) as one:
        yield one


async def talk(port: int, script: Script) -> Conversation:
    dialled = await dial("127.0.0.1", port, timeout_seconds=2)
    return await converse(dialled, script)


def assert_healthy(conversation: Conversation) -> None:
    tls = conversation.tls
    assert tls is not None
    assert (conversation.ending, conversation.ended_at) == (Ending.QUIT, Stage.NONE)
    assert (tls.version, tls.error, tls.alert, tls.troubles, tls.is_name_right) == ("TLSv1.3", "", "", (), True)
    assert (conversation.injected, conversation.protocol) == ((), "smtp")


async def test_postfix_is_healthy(postfix: Postfix, ca_file: Path) -> None:
    script = replace(SCRIPT, ca_file=ca_file, mail_from="a@example.org", recipient="b@example.com")
    took = []
    for _ in range(5):
        began = time.perf_counter()
        assert_healthy(await talk(postfix.port, script))
        took.append(time.perf_counter() - began)
    assert min(took) < 0.1
    assert_healthy(await talk(postfix.submissions_port, replace(script, opening=Opening.TLS, mail_from=None)))


async def test_dovecot_takes_the_password_once(dovecot: Dovecot, ca_file: Path) -> None:
    login = Login("ann", PASSWORD)
    script = replace(SCRIPT, ca_file=ca_file, login=login, mail_from="a@example.org", recipient="b@example.com")
    for port, opening in ((dovecot.submission_port, Opening.CLEAR), (dovecot.submissions_port, Opening.TLS)):
        conversation = await talk(port, replace(script, opening=opening))
        assert_healthy(conversation)
        assert conversation.auth_tried == "PLAIN"
        assert PASSWORD not in repr(conversation)


async def test_dovecot_refuses_a_wrong_password(dovecot: Dovecot, ca_file: Path) -> None:
    conversation = await talk(
        dovecot.submission_port, replace(SCRIPT, ca_file=ca_file, login=Login("ann", "wrong one"))
    )
    refusal = conversation.reply(Stage.AUTH)
    assert refusal is not None
    assert refusal.code == 535
    assert (conversation.ending, conversation.ended_at) == (Ending.QUIT, Stage.AUTH)


async def test_own_server_is_healthy(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        script = replace(SCRIPT, server_name="mail.example.org", ca_file=server.ca_file)
        letter = replace(script, mail_from="a@example.net", recipient="x@example.org")
        assert_healthy(await talk(server.port("mx"), letter))
        assert_healthy(await talk(server.port("submissions"), replace(script, opening=Opening.TLS)))
        by_address = replace(script, server_name="", reference_name="127.0.0.1")
        assert_healthy(await talk(server.port("mx"), by_address))
        refused = await talk(server.port("submission"), letter)
        assert refused.ended_at is Stage.MAIL
        delivered = replace(letter, message=b"Subject: probe\r\n\r\nhello\r\n", stop_after=Stage.DATA)
        assert_healthy(await talk(server.port("mx"), delivered))

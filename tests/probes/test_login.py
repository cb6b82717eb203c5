"""AUTH in a conversation: once, masked, never in the clear and never to a stranger."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from postreeve.checks.conversation import Conversation, Ending
from postreeve.checks.stage import Stage
from postreeve.probes.script import Login
from tests.lab.faulty import HOST, make
from tests.lab.probing import BYE, GREETING, PLAIN, commands, hello, secure, served, talk
from tests.lab.sink import Act, Line, Say

pytestmark = pytest.mark.asyncio


PASSWORD = "correct horse"
LOGIN = Login("ann@example.com", PASSWORD)


def login_acts(words: str, *rest: Act) -> list[Act]:
    return secure(Line(), hello(f"AUTH {words}"), *rest)


ACCEPT = (Line(), Say(b"235 2.7.0 ok\r\n"), *BYE)


async def log_in(acts: Sequence[Act], login: Login, ca_file: Path) -> tuple[Conversation, bytes]:
    script = replace(PLAIN, server_name=HOST, ca_file=ca_file, login=login)
    conversation, sink = await talk(acts, script)
    text = repr(conversation)
    for secret in (PASSWORD, base64.b64encode(PASSWORD.encode()).decode(), "token-of-ours"):
        assert secret not in text
    return conversation, sink.connections[0].over_tls


async def test_login_uses_plain_once_and_masks_it(ca_file: Path) -> None:
    conversation, over_tls = await log_in(login_acts("LOGIN PLAIN", *ACCEPT), LOGIN, ca_file)
    response = base64.b64encode(f"\0ann@example.com\0{PASSWORD}".encode())
    assert b"AUTH PLAIN " + response + b"\r\n" in over_tls
    assert "AUTH PLAIN ****" in commands(conversation)
    assert (conversation.auth_tried, conversation.ended_at) == ("PLAIN", Stage.NONE)


async def test_login_answers_the_prompts_of_login(ca_file: Path) -> None:
    prompts = [Line(), Say(b"334 VXNlcm5hbWU6\r\n"), Line(), Say(b"334 UGFzc3dvcmQ6\r\n")]
    conversation, over_tls = await log_in(login_acts("LOGIN", *prompts, *ACCEPT), LOGIN, ca_file)
    assert base64.b64encode(PASSWORD.encode()) + b"\r\n" in over_tls
    assert commands(conversation).count("****") == 2


async def test_login_proves_itself_with_cram_md5(ca_file: Path) -> None:
    # RFC 2195, section 2: the example.
    challenge = base64.b64encode(b"<1896.697170952@postoffice.reston.mci.net>")
    acts = login_acts("CRAM-MD5", Line(), Say(b"334 " + challenge + b"\r\n"), *ACCEPT)
    _, over_tls = await log_in(acts, Login("tim", "tanstaaftanstaaf"), ca_file)
    assert base64.b64encode(b"tim b913a602c7eda7a495b4e6e7334d3890") in over_tls


@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
async def test_login_shows_its_token_and_hears_the_refusal_out(mechanism: str, ca_file: Path) -> None:
    refusal = base64.b64encode(b'{"status":"401"}')
    acts = login_acts(mechanism, Line(), Say(b"334 " + refusal + b"\r\n"), Line(), Say(b"535 5.7.8 no\r\n"), *BYE)
    login = Login("ann@example.com", token="token-of-ours")
    conversation, over_tls = await log_in(acts, login, ca_file)
    line = next(one for one in over_tls.split(b"\r\n") if one.startswith(b"AUTH"))
    assert b"auth=Bearer token-of-ours\x01\x01" in base64.b64decode(line.split()[2])
    assert (conversation.ended_at, conversation.auth_tried) == (Stage.AUTH, mechanism)
    assert conversation.said[-2].code == 535


async def test_login_is_never_tried_twice(ca_file: Path) -> None:
    response = base64.b64encode(f"\0ann@example.com\0{PASSWORD}".encode())
    echo = b"535-5.7.8 bad: " + PASSWORD.encode() + b"\r\n535 5.7.8 in " + response + b"\r\n"
    acts = login_acts("PLAIN LOGIN", Line(), Say(echo), *BYE)
    conversation, over_tls = await log_in(acts, LOGIN, ca_file)
    assert over_tls.count(b"AUTH") == 1
    refusal = conversation.reply(Stage.AUTH)
    assert refusal is not None
    assert refusal.lines == ("5.7.8 bad: ****", "5.7.8 in ****")
    assert (conversation.ending, conversation.ended_at) == (Ending.QUIT, Stage.AUTH)


@pytest.mark.parametrize(
    ("words", "login"),
    [("NTLM GSSAPI", LOGIN), ("XOAUTH2", LOGIN), ("PLAIN", replace(LOGIN, mechanisms=("LOGIN",)))],
    ids=["none of ours", "OAuth only", "restricted"],
)
async def test_login_ends_without_a_mechanism_in_common(words: str, login: Login, ca_file: Path) -> None:
    conversation, over_tls = await log_in(login_acts(words, *BYE), login, ca_file)
    assert b"AUTH" not in over_tls
    assert (conversation.ended_at, conversation.auth_tried) == (Stage.AUTH, "")


async def test_login_never_goes_in_the_clear_unasked() -> None:
    acts = [GREETING, Line(), hello("AUTH PLAIN"), *BYE]
    conversation, sink = await talk(acts, replace(PLAIN, login=LOGIN))
    assert b"AUTH" not in sink.received
    assert conversation.ended_at is Stage.AUTH
    allowed = replace(PLAIN, login=replace(LOGIN, may_go_in_clear=True))
    conversation, sink = await talk([GREETING, Line(), hello("AUTH PLAIN"), *ACCEPT], allowed)
    assert b"AUTH PLAIN" in sink.received
    assert conversation.ended_at is Stage.NONE


async def test_login_never_goes_to_a_host_without_a_name(ca_file: Path) -> None:
    acts = secure(Line(), hello("AUTH PLAIN"), *BYE)
    conversation, sink = await talk(acts, replace(PLAIN, ca_file=ca_file, login=LOGIN))
    assert conversation.tls is not None
    assert (conversation.tls.troubles, conversation.ended_at) == ((), Stage.CERT)
    assert b"AUTH" not in sink.connections[0].over_tls


@pytest.mark.parametrize("fault", ["self-signed", "wrong name", "expired", "private root sent"])
async def test_login_never_goes_to_a_stranger(fault: str, ca_file: Path) -> None:
    acts = secure(Line(), hello("AUTH PLAIN"), *BYE, tls=served(make(fault).issued))
    conversation, over_tls = await log_in(acts, LOGIN, ca_file)
    assert b"AUTH" not in over_tls
    assert (conversation.ending, conversation.ended_at) == (Ending.QUIT, Stage.CERT)
    allowed = replace(LOGIN, may_go_to_strangers=True)
    acts = secure(Line(), hello("AUTH PLAIN"), *ACCEPT, tls=served(make(fault).issued))
    conversation, over_tls = await log_in(acts, allowed, ca_file)
    assert b"AUTH PLAIN" in over_tls

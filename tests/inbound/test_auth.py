"""AUTH over real sockets: RFC 4954, what may be asked where, and what nobody is ever told."""

import base64
from collections.abc import Iterator

import pytest

from tests.inbound.harness import PASSWORD, USERNAME, Client, Serving


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


RIGHT = b64(f"\0{USERNAME}\0{PASSWORD}")


@pytest.fixture
def client(server: Serving) -> Iterator[Client]:
    with Client(server.port("submissions"), server.tls.client) as client:
        client.reply()
        client.ask("EHLO c.example.com")
        yield client


@pytest.mark.parametrize(
    ("lines", "answers"),
    [
        pytest.param([f"AUTH PLAIN {RIGHT}"], ["235 2.7.0"], id="plain-initial"),
        pytest.param(["AUTH PLAIN", RIGHT], ["334", "235 2.7.0"], id="plain-asked"),
        pytest.param(["AUTH LOGIN", b64(USERNAME), b64(PASSWORD)], ["334", "334", "235 2.7.0"], id="login"),
        pytest.param(["AUTH LOGIN", b64(USERNAME), b64("x")], ["334", "334", "535 5.7.8"], id="login-wrong"),
        pytest.param([f"AUTH PLAIN {b64(chr(0) + 'nobody' + chr(0) + 'x')}"], ["535 5.7.8"], id="unknown"),
        pytest.param(["AUTH PLAIN !!!"], ["501 5.5.2"], id="bad-base64"),
        pytest.param(["AUTH PLAIN ="], ["501"], id="empty-initial"),
        pytest.param(["AUTH PLAIN", "*"], ["334", "501"], id="cancelled"),
        pytest.param([f"AUTH PLAIN {b64('one')}"], ["501"], id="no-nul"),
        pytest.param([f"AUTH PLAIN {b64('a' + chr(0) * 3 + 'b')}"], ["501"], id="three-nuls"),
        pytest.param([f"AUTH PLAIN {b64(f'bob{chr(0)}{USERNAME}{chr(0)}{PASSWORD}')}"], ["535 5.7.8"], id="authzid"),
        pytest.param(["AUTH NTLM"], ["504 5.5.4"], id="ntlm"),
        pytest.param([f"AUTH PLAIN {RIGHT}", f"AUTH PLAIN {RIGHT}"], ["235", "503"], id="twice"),
        pytest.param(
            [f"AUTH PLAIN {RIGHT}", "MAIL FROM:<>", f"AUTH PLAIN {RIGHT}"], ["235", "250", "503"], id="in-mail"
        ),
        pytest.param(["AUTH PLAIN", "A" * 20_000], ["334", "500"], id="too-long"),
    ],
)
def test_auth(client: Client, lines: list[str], answers: list[str]) -> None:
    for line, answer in zip(lines, answers, strict=True):
        assert client.ask(line).startswith(answer)


def test_auth_ends_after_three_failures(server: Serving, client: Client) -> None:
    for number in range(3):
        assert client.ask(f"AUTH PLAIN {b64(f'{chr(0)}name{number}{chr(0)}x')}") == (
            "535 5.7.8 authentication credentials invalid"
        )
    assert client.rest() == "421 4.7.0 too many failed logins"
    assert [event.reason for event in server.told("AuthenticationFailed", 3)] == ["unknown"] * 3


def test_auth_reasons_are_for_the_operator_and_passwords_for_nobody(server: Serving, client: Client) -> None:
    server.accounts.add("gone", PASSWORD, (), 1.8e9)
    server.accounts.disable("gone", 1.8e9)
    answers = {
        client.ask(f"AUTH PLAIN {b64(f'{chr(0)}{name}{chr(0)}{password}')}")
        for name, password in (("gone", PASSWORD), (USERNAME, "hunter2"))
    }
    assert client.ask(f"AUTH PLAIN {RIGHT}").startswith("235")
    assert answers == {"535 5.7.8 authentication credentials invalid"}
    assert [event.reason for event in server.told("AuthenticationFailed", 2)] == ["disabled", "password"]
    told = repr(server.events)
    assert "hunter2" not in told
    assert PASSWORD not in told
    assert RIGHT not in told


def test_auth_in_plaintext_is_refused_and_told(server: Serving) -> None:
    with Client(server.port("submission")) as client:
        client.reply()
        client.ask("EHLO c.example.com")
        assert client.ask(f"AUTH PLAIN {RIGHT}").startswith("530 5.7.0")
    assert len(server.told("CredentialsMisplaced")) == 1
    assert RIGHT not in repr(server.events)


@pytest.mark.parametrize(
    ("said", "kept"),
    [("", None), (" AUTH=<>", "<>"), (" AUTH=alice@example.org", "alice@example.org"), (" AUTH=bob@example.org", "<>")],
    ids=["nothing", "nobody", "its own address", "somebody else's"],
)
def test_auth_of_mail_is_kept_as_far_as_the_account_is_trusted(
    server: Serving, client: Client, said: str, kept: str | None
) -> None:
    """RFC 4954, section 5."""
    client.ask(f"AUTH PLAIN {RIGHT}")
    assert client.ask(f"MAIL FROM:<alice@example.org>{said}").startswith("250")
    assert client.ask("RCPT TO:<bob@example.org>").startswith("250")
    assert client.ask("DATA").startswith("354")
    assert client.ask("From: alice@example.org\r\n\r\nx\r\n.").startswith("250")
    (message,) = server.messages()
    story = server.call(server.store.story(message.ident))
    assert story.envelope.parameters.auth == kept

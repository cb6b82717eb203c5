"""From the operator's settings to the protocol's."""

import pytest

from postreeve.policy.settings import (
    BareNewlines,
    EarlyTalkers,
    LimitSettings,
    ListenerSettings,
    Role,
    protocol_settings,
)
from postreeve.smtp.settings import AuthOffer, TlsOffer


@pytest.mark.parametrize(
    ("role", "auth", "future_release"),
    [(Role.RELAY, AuthOffer.NEVER, False), (Role.SUBMISSION, AuthOffer.REQUIRED, True)],
)
def test_protocol_settings_follow_the_role(role: Role, auth: AuthOffer, future_release: bool) -> None:
    settings = protocol_settings("mail.example.org", ListenerSettings("x", 25, role, TlsOffer.STARTTLS))
    assert settings.auth is auth
    assert settings.offer_future_release is future_release
    assert not settings.auth_without_tls


def test_protocol_settings_carry_the_limits() -> None:
    limits = LimitSettings(
        max_message_octets=1, max_header_octets=2, max_command_octets=3, max_recipients=4, max_messages_per_session=5,
        bare_newlines=BareNewlines.NORMALISE, early_talkers=EarlyTalkers.ACCEPT,
    )  # fmt: skip
    assert protocol_settings("h", ListenerSettings("x", 25, Role.RELAY, TlsOffer.NONE)).refuse_early_talkers
    listener = ListenerSettings("x", 25, Role.RELAY, TlsOffer.NONE, limits=limits)
    settings = protocol_settings("mail.example.org", listener)
    assert (settings.max_message_octets, settings.max_header_octets, settings.max_command_octets) == (1, 2, 3)
    assert (settings.max_recipients, settings.max_messages, settings.normalise_newlines) == (4, 5, True)
    assert not settings.refuse_early_talkers

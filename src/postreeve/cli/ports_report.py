"""What `postreeve ports` has to tell, before it becomes text or JSON."""

from __future__ import annotations

from dataclasses import dataclass

from postreeve.clientconfig.settings import Kind, Server, TlsMode
from postreeve.ports.advise import Advice, Client, Ranked
from postreeve.ports.network import Observed, Opinion
from postreeve.ports.provider import Provider, UserForm
from postreeve.ports.service import Mode
from postreeve.probes.measure import HostMeasured
from postreeve.probes.way_out import WaysOut


@dataclass(frozen=True, slots=True)
class Overview:
    """The answer without a host."""

    ways: WaysOut
    opinion: Opinion

    @property
    def has_way_out(self) -> bool:
        """Mail can leave on some port."""
        return any(seen in (Observed.OPEN, Observed.SLOW) for seen in self.ways.observed.values())


@dataclass(frozen=True, slots=True)
class Settings:
    """Ready to paste. `snippet` is in the words of the program that was named, "" for none."""

    host: str
    port: int
    mode: Mode
    username: str
    user_words: str
    password_words: str
    snippet: str = ""


@dataclass(frozen=True, slots=True)
class HostReport:
    """The answer for a host. `asked` is what the user wrote; `is_domain`: it was a mail domain of the provider."""

    asked: str
    is_domain: bool
    measured: HostMeasured
    ways: WaysOut
    provider: Provider | None
    opinion: Opinion
    advice: Advice
    suggestion: str
    settings: Settings | None
    client: Client


def settings_for(
    host: str, advice: Advice, provider: Provider | None, kind: Kind | None, client: Client
) -> Settings | None:
    """The settings for the choice, None when nothing can be used."""
    choice = advice.choice
    if choice is None or choice.mode is None:
        return None
    username, user_words, password_words = _login(choice, provider, client)
    snippet = ""
    if kind is not None:
        mode = TlsMode(choice.mode.value)
        server = Server(
            host, choice.port, mode if mode in kind.modes else TlsMode.OPPORTUNISTIC, username, "sender@example.com"
        )
        snippet = kind.snippet(server)
    return Settings(host, choice.port, choice.mode, username, user_words, password_words, snippet)


def _login(choice: Ranked, provider: Provider | None, client: Client) -> tuple[str, str, str]:
    if client.is_server:
        return "", "none: servers relay without a login", "none"
    if provider is not None:
        match provider.user:
            case UserForm.FIXED:
                name = provider.user_name
            case UserForm.NONE:
                name = ""
            case UserForm.LOCAL_PART:
                name = "user"
            case _:
                name = "user@example.com"
        return name, provider.user_words, provider.password
    if not any(one.auth for one in choice.measured):
        return "", "none: the server offers no login here", "none"
    return "user@example.com", "mostly the full mail address", "the account's, or an app password"

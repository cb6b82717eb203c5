"""Commands and replies on a channel, one at a time, every one of them recorded as it was."""

from __future__ import annotations

import contextlib
from typing import Final

from postreeve.checks.conversation import Ending, Said
from postreeve.checks.stage import Stage
from postreeve.mail.error import PostreeveError
from postreeve.ports.sniff import sniff
from postreeve.probes.channel import Broken, Channel
from postreeve.probes.hearing import MAX_HEARD_OCTETS, MAX_LINE_CHARACTERS, MAX_LINES, Ear, Heard, escape

SMTP_LIKE: Final = frozenset({"", "smtp", "ftp", "nntp"})
"""What may still turn out to be SMTP: a banner that only looks like FTP is asked with EHLO."""
_MASK: Final = b"****"
_MIN_SECRET_OCTETS: Final = 4
_MAX_UNASKED: Final = 5
_SETTLE_SECONDS: Final = 0.3
"""How long octets that are no reply may go on until we make up our mind on what they are."""
_QUIT_SECONDS: Final = 2.0


class Over(PostreeveError):
    """The conversation is over, in order or not; how, and in which stage."""

    def __init__(self, ending: Ending, stage: Stage = Stage.NONE) -> None:
        super().__init__(ending.value)
        self.ending = ending
        self.stage = stage


class Talk:
    """The dialogue. Its methods raise Over when what came ends it, Broken when the connection does."""

    def __init__(self, channel: Channel, secrets: tuple[bytes, ...]) -> None:
        """No reply that echoes one of `secrets` is kept with it."""
        self._channel = channel
        self._secrets = secrets
        self._ear = Ear()
        self.stage = Stage.BANNER
        """Whose reply is awaited, or was last."""
        self.said: list[Said] = []
        self.first = b""
        """How the server began, in the clear or within TLS."""

    @property
    def is_in_tls(self) -> bool:
        """True once TLS is on."""
        return self._channel.tls is not None

    def hide(self, secret: bytes) -> None:
        """From now on, no reply that echoes `secret` is kept with it either."""
        if len(secret) >= _MIN_SECRET_OCTETS:
            self._secrets = (secret, *self._secrets)

    def now_in_tls(self) -> None:
        """Nothing that came before TLS counts any more (RFC 3207, section 4.2)."""
        self._ear = Ear()

    async def hear_greeting(self, seconds: float) -> Heard:
        """Wait for the server to speak first; another protocol ends it as soon as it is known."""
        self.stage = Stage.BANNER
        began, until = self._channel.now(), self._channel.until(seconds)
        settle = 0.0
        while True:
            heard = self._ear.next_reply()
            if heard is not None:
                return self._judge(heard, "", began)
            try:
                data = await self._channel.read(settle or until)
            except Broken as broken:
                heard = self._last_words(broken)
                if heard is None or not heard.code:
                    self._record("", heard or Heard(0, ()), began)
                    raise (Over(Ending.NOT_SMTP, Stage.BANNER) if settle else broken) from None
                return self._judge(heard, "", began)
            self.first = (self.first + data)[:MAX_HEARD_OCTETS]
            self._ear.feed(data)
            if not settle and not _may_become_smtp(self.first):
                settle = self._channel.until(_SETTLE_SECONDS)

    async def ask(self, stage: Stage, command: bytes, seconds: float, shown: str | None = None) -> Heard:
        """Say one command (without CRLF) and hear its reply; `shown` is what to record instead of it."""
        self.stage = stage
        self._hear_unasked()
        bare = command.translate(None, _CONTROLS)
        return await self._exchange(bare + b"\r\n", escape(bare, 1_024) if shown is None else shown, seconds)

    async def send_content(self, content: bytes, seconds: float, shown: str) -> Heard:
        """Say a whole content, final dot and all, and hear its reply."""
        self.stage = Stage.DATA
        return await self._exchange(content, shown, seconds)

    async def leave(self) -> None:
        """Say QUIT; a server that does not answer it does no harm."""
        stage = self.stage
        with contextlib.suppress(Over, Broken):
            await self.ask(Stage.NONE, b"QUIT", _QUIT_SECONDS)
        self.stage = stage

    async def hear_injected(self, seconds: float) -> tuple[str, ...]:
        """Everything that comes, or has come, in the clear where TLS should begin; removed."""
        rest = self._ear.take_rest()
        with contextlib.suppress(Broken):
            rest += await self._channel.read(self._channel.until(seconds))
        lines = rest.split(b"\n", MAX_LINES)
        return tuple(escape(one.removesuffix(b"\r"), MAX_LINE_CHARACTERS) for one in lines if one)

    async def _exchange(self, octets: bytes, shown: str, seconds: float) -> Heard:
        began, until = self._channel.now(), self._channel.until(seconds)
        try:
            await self._channel.write(octets, until)
            while (heard := self._ear.next_reply()) is None:
                self._ear.feed(await self._channel.read(until))
        except Broken as broken:
            heard = self._last_words(broken)
            if heard is None or not heard.code:
                self._record(shown, heard or Heard(0, ()), began)
                raise
        return self._judge(heard, shown, began)

    def _last_words(self, broken: Broken) -> Heard | None:
        is_closed = broken.ending in (Ending.CLOSED, Ending.RESET)
        return self._ear.end() if is_closed else self._ear.leave()

    def _hear_unasked(self) -> None:
        """Record what the server said without being asked; a 421 ends it."""
        self._ear.feed(self._channel.poll())
        for _ in range(_MAX_UNASKED):
            heard = self._ear.next_reply()
            if heard is None:
                return
            self._judge(heard, "", self._channel.now())
        raise Over(Ending.NOT_SMTP, self.stage)

    def _judge(self, heard: Heard, shown: str, began: float) -> Heard:
        self._record(shown, heard, began)
        if not heard.code:
            raise Over(Ending.NOT_SMTP, self.stage)
        if heard.code == 421:
            raise Over(Ending.STOPPED, self.stage)
        return heard

    def _record(self, shown: str, heard: Heard, began: float) -> None:
        lines = heard.lines
        for secret in self._secrets:
            lines = tuple(line.replace(secret, _MASK) for line in lines)
        texts = Heard(heard.code, lines).texts
        seconds = self._channel.now() - began
        self.said.append(Said(self.stage, shown, heard.code, texts, seconds, self.is_in_tls))


_CONTROLS: Final = bytes(range(32)) + b"\x7f"


def _may_become_smtp(first: bytes) -> bool:
    """Digits so far (or nothing), and no sign of another protocol."""
    start = first[:3]
    return (start.isdigit() and sniff(first) in SMTP_LIKE) or not start

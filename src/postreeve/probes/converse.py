"""One connection to one server, from the greeting to QUIT: what was said, and how it ended.

Unlike the client core (`smtp.client`) this dialogue hides nothing: it waits where a client would give up, keeps what a
client would throw away, and sends one command at a time, so that each reply belongs to what was asked.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final, NoReturn

from postreeve.checks.conversation import Conversation, Ending, Opening, Revocation, Tls
from postreeve.checks.stage import Stage
from postreeve.ports.sniff import sniff
from postreeve.probes.assessment import assess
from postreeve.probes.channel import Broken, Channel
from postreeve.probes.dial import Dialled
from postreeve.probes.handshake import Shaken, shake_hands
from postreeve.probes.hearing import escape
from postreeve.probes.login import Answers, choose_mechanism, secrets_of
from postreeve.probes.script import Login, Patience, Script, StartTls
from postreeve.probes.talk import Over, Talk
from postreeve.probes.tls_message import looks_like_tls
from postreeve.smtp.capability import Capabilities, parse_capabilities
from postreeve.smtp.stuffing import stuff

__all__ = ["Login", "Patience", "Script", "StartTls", "converse"]

_INJECTION_SECONDS: Final = 0.01
"""What is injected follows the reply to STARTTLS at once; waiting longer would only cost every healthy server."""
_MAX_CHALLENGES: Final = 4
_ORDER: Final = {stage: place for place, stage in enumerate(Stage)}


async def converse(dialled: Dialled, script: Script) -> Conversation:
    """Have this conversation on a connection just made, and close it; always a Conversation, never an exception.

    Without a connection (`dialled.socket` is None) nothing is said and it ended in stage TCP. The exchanges of RSET and
    QUIT belong to Stage.NONE; what a server says without being asked is recorded with the command "".
    """
    if dialled.socket is None:
        return Conversation(script.opening, dialled.dial, ending=Ending.STOPPED, ended_at=Stage.TCP)
    channel = Channel(dialled.socket, script.patience.whole)
    walk = _Walk(channel, script, dialled)
    ending, ended_at = Ending.QUIT, Stage.NONE
    try:
        await walk.go()
    except Over as over:
        ending, ended_at = over.ending, over.stage
    except Broken as broken:
        ending, ended_at = broken.ending, walk.blame(broken)
    finally:
        channel.close()
    return await walk.conversation(ending, ended_at)


class _Walk:
    """The stages of one conversation, in order; Over and Broken end it wherever it is."""

    def __init__(self, channel: Channel, script: Script, dialled: Dialled) -> None:
        self._channel = channel
        self._script = script
        self._patience = script.patience
        self._dial = dialled.dial
        self._talk = Talk(channel, secrets_of(script.login) if script.login is not None else ())
        self._capabilities = Capabilities()
        self._shaken: Shaken | None = None
        self._tls: Tls | None = None
        self._injected: tuple[str, ...] = ()
        self._auth_tried = ""

    async def go(self) -> None:
        """Walk as far as the script says and the server lets us."""
        if self._script.opening is Opening.TLS:
            await self._shake_hands()
        await self._stop_before(Stage.BANNER)
        greeting = await self._talk.hear_greeting(self._patience.greeting)
        if greeting.code >= 400:
            await self._refused(Stage.BANNER)
        await self._stop_before(Stage.EHLO)
        await self._say_hello()
        if not self._talk.is_in_tls and self._script.starttls is not StartTls.NEVER:
            await self._stop_before(Stage.TLS)
            await self._start_tls()
        if self._script.login is not None:
            await self._stop_before(Stage.AUTH)
            await self._log_in(self._script.login)
        if self._script.mail_from is not None:
            await self._stop_before(Stage.MAIL)
            await self._transact(self._script.mail_from)
        await self._talk.leave()

    async def conversation(self, ending: Ending, ended_at: Stage) -> Conversation:
        """All that was seen."""
        first = self._talk.first
        if not first and self._shaken is not None:
            first = self._shaken.first
        return Conversation(
            opening=self._script.opening,
            dial=self._dial,
            heard="" if not self._talk.first and looks_like_tls(first) else escape(first),
            protocol="tls" if looks_like_tls(first) and first else sniff(first),
            said=tuple(self._talk.said),
            tls=await self._assessed(),
            injected=self._injected,
            ending=ending,
            ended_at=ended_at,
            auth_tried=self._auth_tried,
        )

    def blame(self, broken: Broken) -> Stage:
        """The stage in which the connection broke; TLS that fails before the server has said a word is TLS's."""
        if broken.ending is not Ending.TLS_FAILED or self._shaken is None:
            return self._talk.stage
        tls, witness = self._tls or self._shaken.tls, self._shaken.witness
        # TLS 1.3: the server judges our certificate when for us the handshake is over (RFC 8446, section 4.4.2.4).
        wants = tls.wants_client_certificate or witness.wants_client_certificate or _wants(witness.alert)
        self._shaken = replace(
            self._shaken,
            tls=replace(tls, error=broken.error, alert=witness.alert, wants_client_certificate=wants),
        )
        self._tls = None if self._tls is None else self._shaken.tls
        return self._talk.stage if any(one.is_in_tls and one.code for one in self._talk.said) else Stage.TLS

    # The stages

    async def _shake_hands(self) -> None:
        self._talk.stage = Stage.TLS
        self._shaken = await shake_hands(
            self._channel,
            self._script.server_name,
            is_lenient=self._script.is_lenient,
            seconds=self._patience.handshake,
        )
        if self._shaken.ending is not None:
            raise Over(self._shaken.ending, Stage.TLS)
        self._talk.now_in_tls()

    async def _say_hello(self) -> None:
        name = self._script.hello_name.encode("utf-8", "replace")
        heard = await self._talk.ask(Stage.EHLO, b"EHLO " + name, self._patience.reply)
        if 200 <= heard.code < 300:
            self._capabilities = parse_capabilities(heard.lines[1:])
            return
        self._capabilities = Capabilities()
        if heard.code >= 500:
            # RFC 5321, section 4.1.4: a server that does not know EHLO gets HELO.
            heard = await self._talk.ask(Stage.EHLO, b"HELO " + name, self._patience.reply)
        if not 200 <= heard.code < 300:
            if sniff(self._talk.first) not in ("", "smtp"):
                raise Over(Ending.NOT_SMTP, Stage.BANNER)
            await self._refused(Stage.EHLO)

    async def _start_tls(self) -> None:
        wanted = self._script.starttls
        if self._capabilities.starttls or wanted is StartTls.ALWAYS:
            heard = await self._talk.ask(Stage.TLS, b"STARTTLS", self._patience.reply)
            if heard.code == 220:
                self._injected = await self._talk.hear_injected(_INJECTION_SECONDS)
                await self._shake_hands()
                await self._say_hello()  # RFC 3207, section 4.2: what was said before TLS is void
                return
        if wanted is StartTls.REQUIRED:
            await self._refused(Stage.TLS)

    async def _log_in(self, login: Login) -> None:
        is_in_tls = self._talk.is_in_tls
        if is_in_tls and not login.may_go_to_strangers:
            tls = await self._assessed()
            # Without a name to compare, any trusted certificate would do.
            if tls is None or tls.troubles or tls.is_name_right is None or tls.revocation is Revocation.REVOKED:
                await self._refused(Stage.CERT)
        if not is_in_tls and not login.may_go_in_clear:
            await self._refused(Stage.AUTH)
        mechanism = choose_mechanism(self._capabilities.auth, login, is_in_tls=is_in_tls)
        if not mechanism:
            await self._refused(Stage.AUTH)
        self._auth_tried = mechanism
        answers = Answers(mechanism, login, self._script.reference_name or self._script.server_name, self._dial.port)
        command = answers.command()
        initial = command.split(b" ")[2:]
        self._talk.hide(b" ".join(initial))
        shown = f"AUTH {mechanism}" + (" ****" if initial else "")
        heard = await self._talk.ask(Stage.AUTH, command, self._patience.reply, shown)
        for _ in range(_MAX_CHALLENGES):
            if heard.code != 334:
                break
            answer = answers.answer(heard.lines[-1])
            self._talk.hide(answer)
            shown = "****" if len(answer) > 1 else (answer.decode() or "(an empty line)")
            heard = await self._talk.ask(Stage.AUTH, answer, self._patience.reply, shown)
        if heard.code != 235:
            await self._refused(Stage.AUTH)

    async def _transact(self, mail_from: str) -> None:
        script, talk, seconds = self._script, self._talk, self._patience.reply
        is_plain = mail_from.isascii() and script.recipient.isascii()
        if not is_plain and not self._capabilities.smtputf8:
            await self._refused(Stage.MAIL)  # RFC 6531, section 3.2: such an address must not be sent there
        path = mail_from.encode("utf-8", "replace")
        heard = await talk.ask(Stage.MAIL, b"MAIL FROM:<%b>%b" % (path, self._parameters(is_plain)), seconds)
        if heard.code >= 300:
            await self._refused(Stage.MAIL)
        if script.recipient:
            await self._stop_before(Stage.RCPT)
            path = script.recipient.encode("utf-8", "replace")
            heard = await talk.ask(Stage.RCPT, b"RCPT TO:<%b>" % path, seconds)
            if heard.code >= 300:
                await self._refused(Stage.RCPT)
            if script.message is not None:
                await self._stop_before(Stage.DATA)
                await self._send(script.message)
                return
        await talk.ask(Stage.NONE, b"RSET", seconds)

    def _parameters(self, is_plain: bool) -> bytes:
        script, offered = self._script, self._capabilities
        size = script.size_octets or len(script.message or b"")
        parameters = b" SIZE=%d" % size if offered.size and size else b""
        if script.message is not None and not script.message.isascii() and offered.eight_bit_mime:
            parameters += b" BODY=8BITMIME"
        return parameters if is_plain else parameters + b" SMTPUTF8"

    async def _send(self, message: bytes) -> None:
        heard = await self._talk.ask(Stage.DATA, b"DATA", self._patience.reply)
        if heard.code == 354:
            shown = f"(content of {len(message)} octets)"
            heard = await self._talk.send_content(stuff(message), self._patience.content, shown)
        if not 200 <= heard.code < 300:
            await self._refused(Stage.DATA)

    # Ends

    async def _stop_before(self, stage: Stage) -> None:
        """End in good order when the script does not go as far as `stage`."""
        if _ORDER[self._script.stop_after] < _ORDER[stage]:
            if self._talk.said:
                await self._talk.leave()
                raise Over(Ending.QUIT)
            raise Over(Ending.STOPPED)

    async def _refused(self, stage: Stage) -> NoReturn:
        """It goes no further than `stage`, and we leave in good order."""
        await self._talk.leave()
        raise Over(Ending.QUIT, stage)

    async def _assessed(self) -> Tls | None:
        """The facts on TLS, with the chain judged once."""
        if self._tls is None and self._shaken is not None:
            self._tls = await assess(self._shaken.tls, self._shaken.chain, self._script)
        return self._tls


def _wants(alert: str) -> bool:
    return alert in ("certificate_required", "no_certificate")

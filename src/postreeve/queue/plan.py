"""DeliveryPlan: which hosts to try for some recipients of one message, one step at a time (RFC 5321, section 5).

    plan = DeliveryPlan(route, recipients, settings, identity, seed)
    while not isinstance(step := plan.next_step(), Done):
        ... do what the step says, then give the result to plan.take_<what>(...)

The addresses of a host are tried together, as RFC 8305 has it: a Connect step names them all, its answer those that
were tried. The plan ends always: it tries a bounded number of hosts and addresses, and every repetition on the same
address needs a recipient decided or TLS given up since the last. It never connects to ourselves.

Outcomes are judged while they come as if more hosts were left; a recipient that no host decided is judged once more at
the end, by the latest outcome that allows another try another day, if there was one: mail bounces only when every host
asked said so for good.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from postreeve.dns.answer import Absence, Answer, Mx
from postreeve.queue import settings as targets
from postreeve.queue.disposition import Action, Context, Disposition, judge
from postreeve.queue.hosts import (
    MAX_HOSTS,
    addresses_to_try,
    before_ourselves,
    in_order,
    is_host_name,
    usable_address,
)
from postreeve.queue.outcome import (
    Discarded,
    Disconnected,
    LookupKind,
    LookupProblem,
    Outcome,
    Refused,
    Stage,
    Withheld,
)
from postreeve.queue.route import Identity, Route
from postreeve.queue.settings import Credentials, DeliverySettings, Smarthost, TlsMode
from postreeve.queue.step import (
    PLAINTEXT,
    Connect,
    Deposit,
    Dialogue,
    Done,
    Judgement,
    LookupAddresses,
    LookupMx,
    Send,
    Step,
    TlsRequirement,
)

_CONFIGURED: Final = (targets.Smarthost, targets.Lmtp)


@dataclass(frozen=True, slots=True)
class _Seen:
    """The outcome that speaks for a recipient so far, and where it came from."""

    outcome: Outcome
    connect: Connect | None


class DeliveryPlan:
    """See the module's text. One plan serves one attempt; the caller does the steps in order, one at a time."""

    __slots__ = (
        "_adopted",
        "_again",
        "_begun",
        "_connected",
        "_current",
        "_endpoint",
        "_hosts",
        "_identity",
        "_is_configured",
        "_is_implicit",
        "_judgements",
        "_limit",
        "_progress",
        "_route",
        "_seed",
        "_seen",
        "_settings",
        "_target",
        "_to_send",
        "_tries_left",
        "_waiting",
    )

    def __init__(
        self,
        route: Route,
        recipients: Iterable[int],
        settings: DeliverySettings,
        identity: Identity,
        seed: int = 0,
        use_fallback: bool = False,
    ) -> None:
        """`seed` varies the order of equal MX hosts; `use_fallback` goes to the route's fallback smarthost instead."""
        self._route = route
        self._settings = settings
        self._identity = identity
        self._seed = seed
        fallback = route.fallback if use_fallback else None
        self._target = route.target if fallback is None else fallback.smarthost
        self._is_configured = isinstance(self._target, _CONFIGURED)
        self._waiting: dict[int, None] = dict.fromkeys(recipients)
        self._judgements: list[Judgement] = []
        self._seen: dict[int, _Seen] = {}
        self._hosts: deque[str] = deque()
        self._endpoint: Connect | None = None
        self._tries_left = settings.addresses_per_attempt
        self._limit = settings.recipients_per_transaction
        self._current: Connect | None = None
        self._again: Connect | None = None
        self._connected = False
        self._adopted = False
        self._progress = False
        self._begun = False
        self._is_implicit = False
        self._to_send: list[int] = []

    @property
    def waiting(self) -> tuple[int, ...]:
        """The recipients that nothing is decided about yet."""
        return tuple(self._waiting)

    # What to do

    def next_step(self) -> Step:
        """What to do now. Asking again before the step was answered gives the same step."""
        if self._connected:
            if self._to_send:
                return Send(tuple(self._to_send[: self._limit]))
            self._leave()
        if not self._waiting:
            return Done(tuple(self._judgements))
        if not self._begun:
            return self._begin()
        if self._again is not None:
            return self._again
        if self._tries_left > 0:
            if self._endpoint is not None:
                return self._endpoint
            if self._hosts:
                return LookupAddresses(self._hosts[0], self._is_configured)
        self._give_up()
        return Done(tuple(self._judgements))

    def _begin(self) -> Step:
        target = self._target
        match target:
            case targets.Maildir():
                return Deposit(target.path, tuple(self._waiting))
            case targets.Discard():
                self._decide_all(Discarded())
                return Done(tuple(self._judgements))
            case targets.Hold():
                self._decide_all(Withheld())
                return Done(tuple(self._judgements))
            case targets.Mx():
                address = self._route.domain.address
                if address is None:
                    return LookupMx(self._route.domain.ascii)
                self._begun = True
                self._add_addresses(self._route.domain.ascii, [str(address)])
            case targets.Lmtp(socket=path) if path:
                self._begun = True
                self._endpoint = Connect("localhost", "", 0, PLAINTEXT, dialogue=Dialogue.LMTP, socket=path)
            case targets.Lmtp() | targets.Smarthost():
                self._begun = True
                if usable_address(target.host) is not None:
                    self._add_addresses(target.host, [target.host])
                else:
                    self._hosts.append(target.host)
        return self.next_step()

    # What came of it

    def adopt(self, connect: Connect, limit: int = 0) -> None:
        """Before the first step: use a connection left open by an earlier message, made by `connect`.

        When it turns out to be stale the plan begins as if it had never been there.
        """
        self._adopted = True
        self._open(connect, limit)

    def take_mx(self, answer: Answer[Mx] | LookupProblem) -> None:
        """Answers LookupMx."""
        self._begun = True
        if isinstance(answer, LookupProblem):
            self._note(answer)
            return
        domain = self._route.domain.ascii
        if not answer.records:
            if answer.absence is Absence.NO_SUCH_NAME:
                self._note(LookupProblem(LookupKind.NO_SUCH_DOMAIN, domain))
                return
            self._is_implicit = True
            self._add_hosts([Mx(0, domain)])
            return
        usable = [record for record in answer.records if record.host]
        if not usable:
            self._note(LookupProblem(LookupKind.NULL_MX, domain))
            return
        self._add_hosts(usable)

    def take_addresses(self, answer: Answer[str] | LookupProblem) -> None:
        """Answers LookupAddresses."""
        host = self._hosts.popleft()
        if isinstance(answer, LookupProblem):
            self._note(answer)
        elif answer.records:
            self._add_addresses(host, answer.records)
        elif self._is_implicit:
            absent = answer.absence is Absence.NO_SUCH_NAME
            self._note(LookupProblem(LookupKind.NO_SUCH_DOMAIN if absent else LookupKind.NO_HOST, host))
        else:
            self._note(LookupProblem(LookupKind.NO_USABLE_HOST, host))

    def take_connection(
        self,
        problem: Outcome | None,
        limit: int = 0,
        address: str = "",
        failed: Sequence[tuple[str, Outcome]] = (),
    ) -> None:
        """Answers Connect: None when the peer is ready for mail; `limit` is its own limit of recipients, 0 for none.

        `address` is the one that was reached or the last to fail, the first of the step when not given; `failed` says
        how others failed. Those named nowhere may still be tried.
        """
        connect = self._again
        if connect is None:
            connect = self._tried(address, failed)
        self._again = None
        if problem is None:
            self._open(connect, limit)
            return
        disposition = self._judge(problem, connect)
        if disposition.action is Action.RETRY_PLAINTEXT:
            self._again = replace(connect, tls=PLAINTEXT)
        elif disposition.action is Action.NEXT_HOST:
            self._note(problem, connect)
        else:
            self._decide_all(problem, connect)

    def _tried(self, address: str, failed: Sequence[tuple[str, Outcome]]) -> Connect:
        """Keeps the addresses that were not tried for later; returns how the one at `address` was."""
        endpoint = self._endpoint
        if endpoint is None:
            raise RuntimeError("an answer to no Connect")
        addresses = endpoint.addresses
        connect = endpoint.at(address if address in addresses else addresses[0])
        for name, outcome in failed:
            self._note(outcome, endpoint.at(name))
        left = [name for name in addresses if name != connect.address and all(name != other for other, _ in failed)]
        self._tries_left -= len(addresses) - len(left)
        self._endpoint = replace(endpoint, address=left[0], others=tuple(left[1:])) if left else None
        return connect

    def take_outcomes(self, outcomes: Sequence[Outcome], is_open: bool = True) -> None:
        """Answers Send or Deposit, one outcome per recipient; `is_open`: the connection takes another transaction."""
        batch = self._to_send[: self._limit] if self._connected else list(self._waiting)
        del self._to_send[: self._limit]
        self._begun = self._begun or not self._connected
        connect = self._current
        is_accepted = [not (isinstance(outcome, Refused) and outcome.stage is Stage.RCPT) for outcome in outcomes]
        some_accepted = True in is_accepted
        for recipient, outcome, accepted in zip(batch, outcomes, is_accepted, strict=True):
            disposition = self._judge(outcome, connect, others_accepted=some_accepted and not accepted)
            match disposition.action:
                case Action.NEXT_TRANSACTION:
                    self._to_send.append(recipient)
                    self._seen[recipient] = _Seen(outcome, connect)
                case Action.NEXT_HOST | Action.RETRY_PLAINTEXT:
                    if not self._adopted:
                        self._remember(recipient, outcome, connect)
                case _:
                    self._decide(recipient, outcome, connect, disposition)
        if self._connected and not is_open:
            self._lose_connection()

    def _lose_connection(self) -> None:
        """The connection is gone with recipients unsent: the same host again if it decided any, else the next."""
        connect, unsent = self._current, self._to_send
        may_repeat = self._progress and not self._adopted
        self._leave()
        if unsent and may_repeat:
            self._again = connect
        elif not self._adopted:
            for recipient in unsent:
                self._remember(recipient, Disconnected(Stage.MAIL, "after an earlier transaction"), connect)

    # Hosts and addresses

    def _add_hosts(self, records: Iterable[Mx]) -> None:
        domain = self._route.domain.ascii
        hosts = in_order(records, self._seed)
        better = before_ourselves(hosts, self._identity)
        self._hosts.extend([mx.host for mx in better if is_host_name(mx.host)][:MAX_HOSTS])
        if hosts and not better:
            self._note(LookupProblem(LookupKind.LOOP, domain, "the best MX host is this server"))
        elif not self._hosts:
            self._note(LookupProblem(LookupKind.NO_USABLE_HOST, domain, "no MX record names a host"))

    def _add_addresses(self, host: str, texts: Iterable[str]) -> None:
        port, tls, credentials, dialogue = self._manner(host)
        found = addresses_to_try(texts, port, self._settings.family, self._identity)
        if found.ours:
            # Hosts come in order of preference: those left are no better than ourselves (RFC 5321, section 5.1).
            self._hosts.clear()
            problem = f"{host} [{found.ours}] is this server"
            self._note(LookupProblem(LookupKind.LOOP, self._route.domain.ascii, problem))
        elif found.only_other_family:
            family = self._settings.family.value
            self._note(LookupProblem(LookupKind.TEMPORARY, host, f"has no {family} address, and only those are used"))
        elif not found.wanted:
            self._note(LookupProblem(LookupKind.NO_USABLE_HOST, host))
        # Those beyond the limit are not even raced.
        wanted = found.wanted[: self._tries_left]
        if wanted:
            self._endpoint = Connect(host, wanted[0], port, tls, credentials, dialogue, others=wanted[1:])

    def _manner(self, host: str) -> tuple[int, TlsRequirement, Credentials | None, Dialogue]:
        match self._target:
            case Smarthost() as hop:
                verify = hop.verify and hop.tls in (TlsMode.REQUIRED, TlsMode.IMPLICIT)
                return hop.port, TlsRequirement(hop.tls, verify, host), hop.credentials, Dialogue.SMTP
            case targets.Lmtp() as hop:
                return hop.port, PLAINTEXT, None, Dialogue.LMTP
            case _:
                return self._settings.port, TlsRequirement(TlsMode.OPPORTUNISTIC, name=host), None, Dialogue.SMTP

    # Connections and judgements

    def _open(self, connect: Connect, limit: int) -> None:
        most = self._settings.recipients_per_transaction
        self._current = connect
        self._connected = True
        self._progress = False
        self._limit = min(most, limit) if limit > 0 else most
        self._to_send = list(self._waiting)

    def _leave(self) -> None:
        self._connected = False
        self._adopted = False
        self._current = None
        self._to_send = []

    def _judge(self, outcome: Outcome, connect: Connect | None, others_accepted: bool = False) -> Disposition:
        tls = TlsMode.NONE if connect is None else connect.tls.mode
        return judge(outcome, Context(True, tls, others_accepted, self._is_configured))

    def _note(self, outcome: Outcome, connect: Connect | None = None) -> None:
        for recipient in self._waiting:
            self._remember(recipient, outcome, connect)

    def _remember(self, recipient: int, outcome: Outcome, connect: Connect | None) -> None:
        """Keep what speaks for the recipient at the end: a hopeful outcome is not replaced by a hopeless one."""
        seen = self._seen.get(recipient)
        if seen is None or not self._is_hopeful(seen.outcome) or self._is_hopeful(outcome):
            self._seen[recipient] = _Seen(outcome, connect)

    def _is_hopeful(self, outcome: Outcome) -> bool:
        return judge(outcome, Context(is_configured=self._is_configured)).action is not Action.BOUNCED

    def _decide(self, recipient: int, outcome: Outcome, connect: Connect | None, disposition: Disposition) -> None:
        self._progress = True
        del self._waiting[recipient]
        host, address = ("", "") if connect is None else (connect.host, connect.address or connect.socket)
        self._judgements.append(Judgement(recipient, disposition, outcome, host, address))

    def _decide_all(self, outcome: Outcome, connect: Connect | None = None) -> None:
        disposition = judge(outcome, Context(is_configured=self._is_configured))
        for recipient in tuple(self._waiting):
            self._decide(recipient, outcome, connect, disposition)

    def _give_up(self) -> None:
        for recipient in tuple(self._waiting):
            seen = self._seen.get(recipient) or self._unspoken()
            disposition = judge(seen.outcome, Context(is_configured=self._is_configured))
            self._decide(recipient, seen.outcome, seen.connect, disposition)

    def _unspoken(self) -> _Seen:
        """No host said anything about this recipient: only a setting of no tries leads here."""
        return _Seen(LookupProblem(LookupKind.TEMPORARY, self._route.domain.ascii, "no host was tried"), None)

"""Scheduler, attempts, pool, connections and Maildirs together, against real servers and a real directory."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from pathlib import Path

from postreeve.mail.ident import from_text
from postreeve.outbound.attempt import Means
from postreeve.outbound.bounce import Bouncer
from postreeve.outbound.deliver import Deliverer
from postreeve.outbound.maildir import MaildirWriter
from postreeve.outbound.pool import Pool
from postreeve.outbound.scheduler import Clocks, Scheduler
from postreeve.outbound.smtp import Connector
from postreeve.queue import settings as targets
from postreeve.queue.model import RecipientState
from postreeve.queue.route import Identity, Router
from postreeve.queue.settings import DeliverySettings, QueueSettings, RouteSettings, Smarthost
from postreeve.report.fact import DsnSettings
from postreeve.store.face import LeaseTerms
from postreeve.telemetry.event import RecipientDelivered, RecipientFailed
from tests.lab.blackhole import full_backlog
from tests.lab.delivery import Clock, House, Names, until
from tests.lab.sink import Act, Close, Content, Line, Say, Sink, serve

_UNKNOWN = [
    Say(b"220 sink ESMTP\r\n"), Line(), Say(b"250 sink\r\n"), Line(), Say(b"250 ok\r\n"),
    Line(), Say(b"550 5.1.1 nobody\r\n"), Line(), Say(b"250 ok\r\n"), Close(),
]  # fmt: skip


class _Works(House):
    """A house whose peers are real."""

    def __init__(
        self,
        smarthost: Sink,
        mx: Sink,
        path: Path,
        connector: Callable[..., Connector],
        smart: tuple[str, ...] = ("smart.example",),
    ) -> None:
        routes = (
            RouteSettings("local", ("example.org",), targets.Maildir(str(path / "{domain}" / "{local}"))),
            RouteSettings("provider", smart, Smarthost("127.0.0.1", smarthost.port, targets.TlsMode.NONE)),
            RouteSettings("direct", ("*",), targets.Mx()),
        )
        delivery = DeliverySettings(
            hostname="mail.example.org", port=mx.port, initial_per_destination=1, per_destination=1
        )
        settings = QueueSettings(routes, delivery=delivery)
        super().__init__(
            settings, clock=Clock(time.time()), names=Names(hosts_addresses={"mx.far.example": ("127.0.0.1",)})
        )
        self.pool = Pool(connector(), delivery)
        means = Means(self.store, self.names, self.pool, MaildirWriter(self.clock), self.clock)
        bouncer = Bouncer(self.store, self.router, DsnSettings("mail.example.org"))
        deliverer = Deliverer(means, Router(routes), Identity(), settings, bouncer, self.events.append)
        clocks = Clocks(self.clock, time.monotonic)
        self.scheduler = Scheduler(self.store, deliverer, delivery, self.events.append, clocks)

    async def offer(self, *recipients: str, content: bytes) -> None:
        message = self.message(*recipients, content=content)
        self.scheduler.offer(await self.store.accept(message, LeaseTerms(self.clock() + 300)))


def test_mail_reaches_smarthost_mx_and_maildir(tmp_path: Path, connector: Callable[..., Connector]) -> None:
    async def main() -> None:
        async with Sink(serve(messages=9)) as smarthost, Sink(_UNKNOWN) as mx:
            works = _Works(smarthost, mx, tmp_path, connector)
            await works.store.open()
            running = asyncio.create_task(works.scheduler.run())
            contents = [b"Subject: %d\r\n\r\n.dots\r\n" % number for number in range(5)]
            for number, content in enumerate(contents):
                await works.offer(f"u{number}@smart.example", content=content)
            await works.offer("bob@example.org", content=b"Subject: here\r\n\r\nlocal\r\n")
            await works.offer("carol@far.example", content=b"Subject: there\r\n\r\nfar\r\n")
            await until(lambda: len(works.told(RecipientDelivered)) == 7 and works.scheduler.held == 0)
            await works.scheduler.drain(5.0)
            works.pool.close()
            await running
            assert len(smarthost.connections) == 1
            assert sorted(smarthost.contents) == [content.replace(b"\n.", b"\n..") + b".\r\n" for content in contents]
            (failed,) = works.told(RecipientFailed)
            assert isinstance(failed, RecipientFailed)
            assert (failed.recipient, failed.host, failed.stage) == ("carol@far.example", "mx.far.example", "rcpt")
            assert failed.reply == "550 5.1.1 nobody"
            (kept,) = (tmp_path / "example.org" / "bob" / "new").iterdir()
            assert kept.read_bytes().endswith(b"Subject: here\n\nlocal\n")
            (bounce,) = (tmp_path / "example.org" / "alice" / "new").iterdir()
            assert b"550 5.1.1 nobody" in bounce.read_bytes()
            assert works.pool.open_connections == 0
            states = [event.tls for event in works.told(RecipientDelivered) if isinstance(event, RecipientDelivered)]
            assert set(states) == {""}

    asyncio.run(main())


def test_a_black_holed_address_costs_a_moment(tmp_path: Path, connector: Callable[..., Connector]) -> None:
    """RFC 8305: the other address of the host gets the mail, long before the first has timed out."""

    async def main() -> None:
        async with Sink(serve(messages=9)) as smarthost, Sink(serve()) as mx:
            held = full_backlog("127.0.0.9", mx.port)
            works = _Works(smarthost, mx, tmp_path, connector)
            works.names.hosts_addresses["mx.far.example"] = ("127.0.0.9", mx.address)
            await works.store.open()
            running = asyncio.create_task(works.scheduler.run())
            async with asyncio.timeout(2):
                await works.offer("carol@far.example", content=b"Subject: there\r\n\r\nfar\r\n")
                await until(lambda: len(works.told(RecipientDelivered)) == 1 and works.scheduler.held == 0)
            await works.scheduler.drain(5.0)
            works.pool.close()
            await running
            for one in held:
                one.close()

    asyncio.run(main())


def test_a_server_that_bounds_domains_gets_a_session_for_each(
    tmp_path: Path, connector: Callable[..., Connector]
) -> None:
    """RFC 9422, RCPTDOMAINMAX: recipients of one message and of the next go into as many sessions as need be."""

    def session(*recipients: int) -> list[Act]:
        acts: list[Act] = [Say(b"220 sink\r\n"), Line(), Say(b"250-sink\r\n250 LIMITS RCPTDOMAINMAX=1\r\n")]
        for count in recipients:
            acts += [Line(), Say(b"250 ok\r\n")] * (1 + count)
            acts += [Line(), Say(b"354 go ahead\r\n"), Content(), Say(b"250 taken\r\n")]
        return [*acts, Line(), Say(b"221 bye\r\n"), Close()]

    async def main() -> None:
        async with Sink(session(2), session(1, 1), session(1)) as smarthost, Sink(serve()) as mx:
            works = _Works(smarthost, mx, tmp_path, connector, ("a.example", "b.example", "c.example"))
            await works.store.open()
            running = asyncio.create_task(works.scheduler.run())
            await works.offer("x@a.example", "y@b.example", "z@a.example", content=b"Subject: 1\r\n\r\n1\r\n")
            await until(lambda: len(works.told(RecipientDelivered)) == 3 and works.scheduler.held == 0)
            await works.offer("x@b.example", content=b"Subject: 2\r\n\r\n2\r\n")
            await works.offer("x@c.example", content=b"Subject: 3\r\n\r\n3\r\n")
            await until(lambda: len(works.told(RecipientDelivered)) == 5 and works.scheduler.held == 0)
            await works.scheduler.drain(5.0)
            works.pool.close()
            await running
            said = [one.received for one in smarthost.connections]
            domains = [sorted(set(re.findall(rb"RCPT TO:<.@(.)\.example>", one))) for one in said]
            assert domains == [[b"a"], [b"b"], [b"c"]]
            assert len(smarthost.contents) == 4

    asyncio.run(main())


def test_a_server_that_closes_after_each_message_gets_all_mail(
    tmp_path: Path, connector: Callable[..., Connector]
) -> None:
    async def main() -> None:
        async with Sink([*serve(messages=1)[:-3], Close()]) as smarthost, Sink(_UNKNOWN) as mx:
            works = _Works(smarthost, mx, tmp_path, connector)
            await works.store.open()
            running = asyncio.create_task(works.scheduler.run())
            for number in range(6):
                await works.offer(f"u{number}@smart.example", content=b"Subject: x\r\n\r\nx\r\n")
            await until(lambda: len(works.told(RecipientDelivered)) == 6 and works.scheduler.held == 0)
            await works.scheduler.drain(5.0)
            works.pool.close()
            await running
            assert len(smarthost.contents) == 6
            for event in works.told(RecipientDelivered):
                assert isinstance(event, RecipientDelivered)
                await works.store.open()
                story = await works.store.story(from_text(event.message) or 0)
                assert story is not None
                assert [record.state for record in story.summary.recipients] == [RecipientState.RELAYED]

    asyncio.run(main())

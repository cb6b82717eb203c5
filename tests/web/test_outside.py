"""The service that looks back: only at whoever asks, only with a token, only so often."""

import asyncio
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from postreeve.checks.machine import Outside
from postreeve.web.outside import OutsideSettings, Rate, make_app

QUESTION = {"ports": [25, 465], "implicit": [465], "hello": "mail.example.org"}
TOKEN = {"Authorization": "Bearer example-token"}


class Looker:
    """Remembers whom it was sent to."""

    def __init__(self) -> None:
        self.looked: list[tuple[str, tuple[int, ...], tuple[int, ...], str]] = []

    async def __call__(
        self, address: str, ports: Sequence[int], implicit: Sequence[int], hello: str
    ) -> Sequence[Outside]:
        self.looked.append((address, tuple(ports), tuple(implicit), hello))
        return [Outside(port, address, "open", "smtp", "TLSv1.3") for port in ports]


@dataclass
class Client:
    """Somebody at an address who asks the application."""

    app: Starlette
    address: str = "192.0.2.25"

    def post(self, path: str, **request: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, client=(self.address, 40_000))
            async with httpx.AsyncClient(transport=transport, base_url="http://probe.example.com") as asker:
                return await asker.post(path, **request)

        return asyncio.run(ask())


def client(looker: Looker, **settings: Any) -> Client:
    return Client(make_app(OutsideSettings(("example-token",), **settings), looker, lambda: 1.8e9))


def test_outside_looks_at_whoever_asks() -> None:
    looker = Looker()
    answer = client(looker).post("/v1/ports", json=QUESTION, headers=TOKEN)
    assert answer.status_code == 200
    assert looker.looked == [("192.0.2.25", (25, 465), (465,), "mail.example.org")]
    document = answer.json()
    assert (document["address"], document["at"]) == ("192.0.2.25", 1.8e9)
    assert [one["outcome"] for one in document["ports"]] == ["open", "open"]


def test_outside_looks_at_nobody_else_whatever_the_question_says() -> None:
    looker = Looker()
    headers = TOKEN | {"X-Forwarded-For": "198.51.100.9", "Forwarded": "for=198.51.100.9"}
    question = QUESTION | {"address": "198.51.100.9"}
    assert client(looker).post("/v1/ports", json=question, headers=headers).status_code == 200
    assert [one[0] for one in looker.looked] == ["192.0.2.25"]


def test_outside_believes_a_trusted_proxy_and_only_its_own_word() -> None:
    looker = Looker()
    proxies = (ipaddress.IPv4Network("192.0.2.0/24"),)
    headers = TOKEN | {"X-Forwarded-For": "203.0.113.1, 198.51.100.9"}
    assert client(looker, proxies=proxies).post("/v1/ports", json=QUESTION, headers=headers).status_code == 200
    assert [one[0] for one in looker.looked] == ["198.51.100.9"]


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic example-token"}, {"Authorization": "Bearer "}],
    ids=["none", "wrong", "scheme", "empty"],
)
def test_outside_wants_the_token(headers: dict[str, str]) -> None:
    looker = Looker()
    assert client(looker).post("/v1/ports", json=QUESTION, headers=headers).status_code == 401
    assert looker.looked == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"[" * 4000,
        b'{"ports": [], "hello": "x.example"}',
        b'{"ports": [0], "hello": "x.example"}',
        b'{"ports": [true], "hello": "x.example"}',
        b'{"ports": [1,2,3,4,5,6,7,8,9,10,11], "hello": "x.example"}',
        b'{"ports": [25], "hello": "not a name"}',
        b'{"ports": [25]}',
        b'{"ports": [25], "implicit": 465, "hello": "x.example"}',
        b'{"ports": [25], "implicit": ["465"], "hello": "x.example"}',
        b" " * 5_000,
    ],
    ids=[
        "empty",
        "half",
        "list",
        "deep",
        "none",
        "zero",
        "bool",
        "many",
        "name",
        "nameless",
        "implicit",
        "implicit-text",
        "long",
    ],
)
def test_outside_says_what_is_wrong_with_a_question(body: bytes) -> None:
    looker = Looker()
    answer = client(looker).post("/v1/ports", content=body, headers=TOKEN)
    assert answer.status_code == 400
    assert answer.json()["problem"]
    assert looker.looked == []


def test_outside_is_asked_so_often_and_no_more() -> None:
    looker = Looker()
    one = client(looker, per_hour=3)
    answers = [one.post("/v1/ports", json=QUESTION, headers=TOKEN) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
    assert int(answers[-1].headers["retry-after"]) > 1_000
    assert len(looker.looked) == 3


def test_guessing_tokens_is_bounded_and_does_not_lock_the_owner_out() -> None:
    looker = Looker()
    one = client(looker, per_hour=3)
    wrong = {"Authorization": "Bearer wrong"}
    answers = [one.post("/v1/ports", json=QUESTION, headers=wrong).status_code for _ in range(5)]
    assert answers == [401, 401, 401, 429, 429]
    assert one.post("/v1/ports", json=QUESTION, headers=TOKEN).status_code == 200


def test_rate_counts_a_whole_ipv6_network_as_one() -> None:
    looker = Looker()
    settings = OutsideSettings(("example-token",), per_hour=1)
    made = make_app(settings, looker, lambda: 1.8e9)
    first = Client(made, "2001:db8::1").post("/v1/ports", json=QUESTION, headers=TOKEN)
    second = Client(made, "2001:db8::2").post("/v1/ports", json=QUESTION, headers=TOKEN)
    assert (first.status_code, second.status_code) == (200, 429)


def test_rate_fills_again_with_time_and_keeps_its_bounds() -> None:
    rate = Rate(per_hour=2)
    assert [rate.take("a", 0.0), rate.take("a", 0.0)] == [0.0, 0.0]
    assert rate.take("a", 0.0) == pytest.approx(1_800)
    assert rate.take("a", 1_801.0) == 0.0
    for number in range(20_000):
        rate.take(f"client-{number}", 1_801.0)
    assert len(rate._buckets) <= 10_000

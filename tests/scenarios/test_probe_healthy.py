"""Real servers in good health, probed as clients come to them: the verdict is ok, and no finding is an error."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from postreeve.checks.facts import Intent
from postreeve.checks.finding import Level
from postreeve.checks.judge import Judgement, judge
from postreeve.checks.verdict import HEALTHY, Confidence
from postreeve.probes.request import Request
from postreeve.probes.script import Login
from postreeve.probes.target import parse_target
from postreeve.probes.walk import walk
from tests.lab import faulty
from tests.lab.dns_server import DnsServer
from tests.lab.dovecot import Dovecot
from tests.lab.faulty import HOST, middle
from tests.lab.postfix import Postfix
from tests.lab.unpacked import Unpacked
from tests.scenarios.conftest import PASSWORD, USERNAME, make_server

WORD = "right-one"
AUTO, STARTTLS, IMPLICIT = Intent.AUTO, Intent.STARTTLS, Intent.IMPLICIT


@dataclass(frozen=True)
class Healthy:
    """A server that runs: its three ports and who may log in there."""

    port: int
    submission_port: int
    submissions_port: int
    login: Login
    ca_file: Path
    host: str = HOST


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return middle().issue(HOST).write(tmp_path_factory.mktemp("tls"), "server")


@pytest.fixture(scope="module")
def ca_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return faulty.root().write(tmp_path_factory.mktemp("ca") / "ca.pem")


@pytest.fixture(scope="module")
def postfix(
    tmp_path_factory: pytest.TempPathFactory, peer: Callable[[str], Path], files: tuple[Path, Path], ca_file: Path
) -> Iterator[Healthy]:
    peer("postfix")
    peer("dovecot")
    login = Login("ann", WORD)
    with (
        Dovecot(tmp_path_factory.mktemp("d") / "x", {"ann": WORD}) as sasl,
        Postfix(tmp_path_factory.mktemp("p") / "x", *files, sasl=sasl.sasl, smtpd_tls_auth_only="yes") as one,
    ):
        yield Healthy(one.port, one.submission_port, one.submissions_port, login, ca_file)


@pytest.fixture(scope="module")
def dovecot(
    tmp_path_factory: pytest.TempPathFactory,
    peer: Callable[[str], Path],
    files: tuple[Path, Path],
    ca_file: Path,
    postfix: Healthy,
) -> Iterator[Healthy]:
    peer("dovecot")
    base = tmp_path_factory.mktemp("d") / "x"
    with Dovecot(base, {"ann": WORD}, certificate=files, relay=postfix.port) as one:
        yield Healthy(one.submission_port, one.submission_port, one.submissions_port, Login("ann", WORD), ca_file)


@pytest.fixture(scope="module")
def exim(
    tmp_path_factory: pytest.TempPathFactory, peer: Callable[[str], Path], files: tuple[Path, Path], ca_file: Path
) -> Iterator[Healthy]:
    peer("namespaces")
    peer("exim")
    with Unpacked("exim4", tmp_path_factory.mktemp("e") / "x", files, "ann", WORD) as one:
        yield Healthy(one.port, one.submission_port, one.submissions_port, Login("ann", WORD), ca_file)


@pytest.fixture(scope="module")
def opensmtpd(
    tmp_path_factory: pytest.TempPathFactory, peer: Callable[[str], Path], files: tuple[Path, Path], ca_file: Path
) -> Iterator[Healthy]:
    peer("namespaces")
    peer("opensmtpd")
    with Unpacked("smtpd", tmp_path_factory.mktemp("o") / "x", files, "ann", WORD) as one:
        yield Healthy(one.port, 0, 0, Login("ann", WORD), ca_file)


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Healthy]:
    login = Login(USERNAME, PASSWORD)
    with make_server(tmp_path_factory.mktemp("s")) as one:
        ports = [one.port(name) for name in ("mx", "submission", "submissions")]
        yield Healthy(ports[0], ports[1], ports[2], login, one.ca_file, "mail.example.org")


def judged(server: Healthy, port: int, intent: Intent, *, logs_in: bool, is_application: bool = True) -> Judgement:
    async def gather() -> Judgement:
        async with DnsServer({server.host: {"A": ["127.0.0.1"]}}) as dns:
            request = Request(
                intent=intent,
                login=server.login if logs_in else None,
                mail_from="ann@example.com" if logs_in or not is_application else None,
                recipient="bob@example.org" if server.host == "mail.example.org" else "nobody@example.com",
                hello_name="client.example.net",
                is_application=is_application,
                servers=((dns.address, dns.port),),
                ca_file=server.ca_file,
            )
            return judge(await walk(parse_target(f"{server.host}:{port}"), request, now=time.time()))

    return asyncio.run(gather())


def assert_healthy(judgement: Judgement) -> None:
    verdict = judgement.verdict
    assert (verdict.cause, verdict.confidence) == (HEALTHY, Confidence.HIGH), "\n".join(verdict.evidence)
    assert judgement.others == ()
    assert [one for one in judgement.findings if one.level is not Level.NOTE] == []


def assert_all_ways(server: Healthy) -> None:
    for logs_in in (False, True):
        for intent in (AUTO, STARTTLS):
            assert_healthy(judged(server, server.submission_port, intent, logs_in=logs_in))
        for intent in (AUTO, IMPLICIT):
            assert_healthy(judged(server, server.submissions_port, intent, logs_in=logs_in))


def test_postfix_is_ok(postfix: Healthy) -> None:
    assert_all_ways(postfix)
    assert_healthy(judged(postfix, postfix.port, AUTO, logs_in=False, is_application=False))


def test_dovecot_is_ok(dovecot: Healthy) -> None:
    assert_all_ways(dovecot)


def test_exim_is_ok(exim: Healthy) -> None:
    assert_all_ways(exim)
    assert_healthy(judged(exim, exim.port, AUTO, logs_in=False, is_application=False))


def test_opensmtpd_is_ok_and_its_want_of_tls_is_said(opensmtpd: Healthy) -> None:
    judgement = judged(opensmtpd, opensmtpd.port, AUTO, logs_in=False, is_application=False)
    assert (judgement.verdict.cause, judgement.others) == (HEALTHY, ())
    found = [one.check for one in judgement.findings if one.level is not Level.NOTE]
    assert found == ["probe-no-starttls"]


def test_postreeve_is_ok(ours: Healthy) -> None:
    assert_all_ways(ours)
    assert_healthy(judged(ours, ours.port, AUTO, logs_in=False, is_application=False))


def test_healthy_server_on_loopback_takes_half_a_second_at_most(ours: Healthy) -> None:
    took = []
    for _ in range(3):
        began = time.perf_counter()
        judged(ours, ours.submission_port, STARTTLS, logs_in=False)
        took.append(time.perf_counter() - began)
    assert min(took) <= 0.5

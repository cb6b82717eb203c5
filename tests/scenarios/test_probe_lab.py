"""Every misbehaving server of the lab, walked and judged: the verdict is the cause that was planted.

All of them are probed once, side by side, with the real walk over real sockets; each then has a test of its own, and
the whole has one for the score that is promised.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from postreeve.checks.facts import Facts, Intent
from postreeve.checks.finding import Level
from postreeve.checks.judge import Judgement, judge
from postreeve.checks.knowledge import causes
from postreeve.checks.stage import EXIT_CODES, Stage
from postreeve.checks.verdict import HEALTHY, UNDECIDED, Confidence
from postreeve.probes.request import Request
from postreeve.probes.script import Login
from postreeve.probes.target import parse_target
from postreeve.probes.walk import walk
from tests.lab.blackhole import full_backlog
from tests.lab.dns_server import DnsServer, Fault
from tests.lab.misbehaving import HOST, PASSWORD, USERNAME, Lab, Misbehaving
from tests.lab.postfix import free_ports
from tests.lab.responder import Responder
from tests.lab.scenarios import HEALTHY as HEALTHY_SCENARIOS
from tests.lab.scenarios import SCENARIOS, Scenario

AT_ONCE = 24
ROOT = Path(__file__).resolve().parent.parent.parent
MESSAGE = b"From: me@example.com\r\nTo: you@example.net\r\nSubject: test\r\n\r\nHello\r\n"


@dataclass(frozen=True)
class Outcome:
    """What came of one scenario."""

    facts: Facts
    judgement: Judgement
    connections: int
    problems: tuple[BaseException, ...]

    def story(self) -> str:
        """For the failure of a test."""
        verdict = self.judgement.verdict
        lines = [f"{verdict.cause} ({verdict.confidence.value}) at {verdict.stage.value}", *verdict.evidence]
        return "\n".join([*lines, *(f"also {one.cause}" for one in self.judgement.others), repr(self.facts.endpoints)])


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """All scenarios, probed once."""
    return asyncio.run(_probe_all(tmp_path_factory.mktemp("lab"), SCENARIOS))


async def _probe_all(directory: Path, scenarios: dict[str, Scenario]) -> dict[str, Outcome]:
    gate = asyncio.Semaphore(AT_ONCE)
    async with Responder() as responder, DnsServer({HOST: {"A": ["127.0.0.1"]}}) as dns:
        lab = Lab(directory, responder.url)
        responder.revoke(lab.revoked)

        async def one(scenario: Scenario) -> Outcome:
            async with gate:
                return await probe(scenario, lab, (dns.address, dns.port))

        made = await asyncio.gather(*(one(scenario) for scenario in scenarios.values()))
    return dict(zip(scenarios, made, strict=True))


async def probe(scenario: Scenario, lab: Lab, dns: tuple[str, int]) -> Outcome:
    """Walk and judge one scenario."""
    request = Request(
        intent=scenario.intent,
        login=Login(USERNAME, PASSWORD) if scenario.has_login else None,
        mail_from=scenario.mail_from,
        recipient=scenario.recipient,
        message=MESSAGE if scenario.has_message else None,
        stop_after=Stage.DATA if scenario.has_message else Stage.RCPT,
        message_octets=scenario.message_octets,
        hello_name="client.example.net",
        is_application=True,
        timeout_seconds=2.0,
        servers=(dns,),
        ca_file=lab.ca_file,
    )
    async with Misbehaving(scenario.manner, lab) as server:
        facts = await walk(parse_target(f"{scenario.host}:{server.port}"), request, now=time.time())
        await asyncio.sleep(0)
        return Outcome(facts, judge(facts), len(server.connections), tuple(server.problems))


@pytest.mark.parametrize("name", SCENARIOS)
def test_probe_finds_the_planted_cause(name: str, outcomes: dict[str, Outcome]) -> None:
    outcome, scenario = outcomes[name], SCENARIOS[name]
    assert not outcome.problems, outcome.problems
    assert outcome.connections <= 3, outcome.story()
    verdict = outcome.judgement.verdict
    assert verdict.cause in scenario.causes, outcome.story()
    assert verdict.evidence
    if verdict.cause not in (HEALTHY, UNDECIDED):
        assert verdict.fix, verdict.cause
        assert verdict.cause in causes()


def test_score_of_the_lab(outcomes: dict[str, Outcome]) -> None:
    right = [name for name, one in outcomes.items() if one.judgement.verdict.cause in SCENARIOS[name].causes]
    sure = [
        name
        for name, one in outcomes.items()
        if name not in right and one.judgement.verdict.confidence is Confidence.HIGH
    ]
    assert len(SCENARIOS) >= 80
    assert len(right) >= 0.97 * len(SCENARIOS), sorted(set(SCENARIOS) - set(right))
    assert not sure, "wrong, and sure of it"


@pytest.mark.parametrize("name", HEALTHY_SCENARIOS)
def test_probe_has_no_error_about_a_healthy_server(name: str, outcomes: dict[str, Outcome]) -> None:
    judgement = outcomes[name].judgement
    assert judgement.verdict.cause == HEALTHY
    assert not judgement.others
    assert [one for one in judgement.findings if one.level is Level.ERROR] == []


SURE = ("immediate close [implicit TLS client]", "immediate rst [implicit TLS client]", "implicit_missing_intermediate")


@pytest.mark.parametrize("name", SURE)
def test_probe_is_sure_after_a_second_look(name: str, outcomes: dict[str, Outcome]) -> None:
    assert outcomes[name].judgement.verdict.confidence is Confidence.HIGH, outcomes[name].story()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("starttls_wronghost", "the same without SNI"),
        ("starttls_wrong_by_name", "chooses by SNI, and wrongly"),
        ("implicit_unknown_name", "without SNI it shows"),
    ],
)
def test_certificate_without_sni_explains_a_wrong_one(name: str, words: str, outcomes: dict[str, Outcome]) -> None:
    assert any(words in line for line in outcomes[name].judgement.verdict.evidence), outcomes[name].story()


def test_other_certificate_without_sni_is_a_note(outcomes: dict[str, Outcome]) -> None:
    judgement = outcomes["other_default_good"].judgement
    assert [one.level for one in judgement.findings if one.check == "probe-sni-differs"] == [Level.NOTE]
    assert any("Postfix" in one.client for one in judgement.refusers)


@pytest.mark.parametrize("name", SCENARIOS)
def test_no_secret_is_in_what_is_said(name: str, outcomes: dict[str, Outcome]) -> None:
    assert PASSWORD not in repr(outcomes[name].facts) + repr(outcomes[name].judgement)


NO_MISTAKE = {
    "plaintext client -> implicit TLS port": HEALTHY,
    "STARTTLS client -> implicit TLS port": HEALTHY,
    "tls_alert_to_plaintext": "tls-protocol",
    "implicit TLS client -> STARTTLS/plaintext port (wrong version number)": HEALTHY,
    "implicit TLS client -> plaintext port": HEALTHY,
    "implicit TLS client -> slow STARTTLS port": HEALTHY,
    "starttls_not_offered": HEALTHY,
    "auth_only_after_tls[client plain+auth]": HEALTHY,
    "auth_plaintext_offered": HEALTHY,
}
"""What there is to say when the client has no wrong mode, since it has none: the server's own faults remain."""


@pytest.mark.slow
def test_probe_that_is_told_no_mode_finds_the_same(tmp_path: Path) -> None:
    scenarios = {name: replace(one, intent=Intent.AUTO) for name, one in SCENARIOS.items()}
    found = asyncio.run(_probe_all(tmp_path, scenarios))
    wrong = {
        name: one.judgement.verdict.cause
        for name, one in found.items()
        if one.judgement.verdict.cause not in ((NO_MISTAKE[name],) if name in NO_MISTAKE else scenarios[name].causes)
    }
    assert wrong == {}
    assert max(one.connections for one in found.values()) <= 3


APART = {"conn_refused", "connect_timeout_blackhole", "DNS: unknown host"}
"""Scenarios of the corpus that need no server of the lab: tested below."""


def test_lab_has_every_scenario_of_the_corpus() -> None:
    configured = os.environ.get("POSTREEVE_FACTS")
    place = Path(configured) if configured else ROOT.parent / "shared" / "facts"
    if not (place / "failure-texts.json").is_file():
        pytest.skip("the corpus of error texts is not here: set POSTREEVE_FACTS to its directory")
    labels = json.loads((place / "failure-texts.json").read_text())
    names = {label.partition(" | ")[0] for label in labels}
    assert names - APART - set(SCENARIOS) == set()


# --- what needs no server, or one that is not there -------------------------------------------------------------------

ZONE = {
    HOST: {"A": ["127.0.0.1"]},
    "empty.example.com": {"TXT": ["nothing here"]},
    "null.example.com": {"MX": ["0 ."]},
    "bare.example.com": {"TXT": ["nothing here"]},
}


def look(target: str, directory: Path, port: int | None = None, intent: Intent = Intent.AUTO) -> Judgement:
    async def gather() -> Judgement:
        faults = {"broken.example.com": Fault.SERVFAIL, "silent.example.com": Fault.SILENCE}
        async with DnsServer(ZONE, faults) as dns:
            request = Request(
                intent=intent,
                port=port,
                timeout_seconds=1.3,
                servers=((dns.address, dns.port),),
                ca_file=Lab(directory).ca_file,
                may_autoconfigure=False,
            )
            return judge(await walk(parse_target(target), request, now=time.time()))

    return asyncio.run(gather())


@pytest.mark.parametrize(
    ("target", "cause"),
    [
        ("nowhere.example.com:587", "dns-nxdomain"),
        ("broken.example.com:587", "dns-tempfail"),
        ("silent.example.com:587", "dns-tempfail"),
        ("empty.example.com:587", "dns-no-address"),
        ("mx:null.example.com", "null-mx"),
        ("mx:bare.example.com", "no-mx"),
        ("submission:bare.example.com", "no-srv"),
    ],
)
def test_probe_of_a_name_says_what_is_wrong_with_it(target: str, cause: str, tmp_path: Path) -> None:
    judgement = look(target, tmp_path)
    assert judgement.verdict.cause == cause, judgement
    assert judgement.verdict.stage is Stage.DNS


def test_probe_of_a_closed_port_is_refused(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    verdict = look(f"{HOST}:{port}", tmp_path).verdict
    assert (verdict.cause, verdict.confidence) == ("tcp-refused", Confidence.HIGH)


def test_probe_of_a_port_that_swallows_times_out(tmp_path: Path) -> None:
    held = full_backlog()
    try:
        verdict = look(f"{HOST}:{held[0].getsockname()[1]}", tmp_path).verdict
    finally:
        for one in held:
            one.close()
    assert verdict.cause == "tcp-timeout", verdict
    assert verdict.confidence is not Confidence.HIGH


def test_command_says_the_verdict_as_json(tmp_path: Path) -> None:
    async def run() -> tuple[int, bytes, bytes]:
        async with Misbehaving(SCENARIOS["banner_421"].manner, Lab(tmp_path)) as server:
            command = [sys.executable, "-m", "postreeve", "probe", f"127.0.0.1:{server.port}", "--json"]
            pipe = asyncio.subprocess.PIPE
            process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)
            out, err = await process.communicate()
            return process.returncode or 0, out, err

    status, out, err = asyncio.run(run())
    verdict = json.loads(out)["verdict"]
    assert set(verdict) >= {"cause", "confidence", "stage", "evidence", "fix"}
    assert (verdict["cause"], verdict["confidence"], verdict["stage"]) == ("banner-421", "high", "banner")
    assert status == EXIT_CODES[Stage.BANNER]
    assert b"Traceback" not in err

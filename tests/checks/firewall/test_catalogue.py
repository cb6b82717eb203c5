"""Each rule of the firewall audit fires on the mistake it is about, and is silent on what is right."""

from __future__ import annotations

import ipaddress
from dataclasses import replace

import pytest

from postreeve.checks.finding import Level
from postreeve.checks.firewall.audit import Audited
from postreeve.checks.firewall.catalogue import RULES, audit
from postreeve.checks.machine import Bound
from postreeve.firewall.exposure import Entrance, Exposure, Purpose, Reach, Smarthost
from postreeve.firewall.flow import Direction, Family, Flow, Network, Policy, Ports, Protocol, State, Verdict
from postreeve.firewall.intent import make_policy
from postreeve.firewall.ruleset import Ruleset, of_policy


def net(*texts: str) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)


WORLD = net("0.0.0.0/0", "::/0")
OFFICE = net("198.51.100.0/24", "2001:db8:51::/48")
MX = Entrance("relay-25", 25, Purpose.RELAY, WORLD, "mail for example.org", "no mail comes in")
SUBMISSIONS = Entrance("submissions", 465, Purpose.SUBMISSION, OFFICE, "the office", "nobody can send")
SSH = Entrance("ssh", 22, Purpose.ADMINISTRATION, WORLD, "administration", "locked out")
DIRECT = Exposure("mail.example.org", (MX, SUBMISSIONS, SSH), True, (), "postreeve")
HUB = Smarthost("provider", 465, net("203.0.113.25/32", "2001:db8:25::25/128"), "smtp.example.net")
SMART = replace(DIRECT, is_direct=False, smarthosts=(HUB,))
BOUND = tuple(Bound(address, port, program="postreeve") for address in ("0.0.0.0", "::") for port in (22, 25, 465))
PLAN = make_policy(DIRECT)


def live(*, without: str = "", exposure: Exposure = DIRECT, **changes: object) -> Ruleset:
    """The plan's rules without those whose name begins so, or with other defaults."""
    policy = make_policy(exposure)
    flows = tuple(flow for flow in policy.flows if not without or not flow.ident.startswith(without))
    return of_policy(replace(policy, flows=flows, **changes))  # type: ignore[arg-type]


def front(*flows: Flow, policy: Policy = PLAN) -> Ruleset:
    return of_policy(replace(policy, flows=(*flows, *policy.flows)))


def rule(port: int, verdict: Verdict = Verdict.ACCEPT, family: Family = Family.IPV4, **more: object) -> Flow:
    made = Flow(
        f"by-hand-{port}-{family.value}",
        Direction.IN,
        family,
        Protocol.TCP,
        verdict,
        net("0.0.0.0/0" if family is Family.IPV4 else "::/0"),
        (Ports(port, port),),
        quote=f"inet filter input: tcp dport {port} {verdict.value}",
    )
    return replace(made, **more)  # type: ignore[arg-type]


def change(policy: Policy, ident: str, **changes: object) -> Policy:
    flows = tuple(replace(one, **changes) if one.ident == ident else one for one in policy.flows)  # type: ignore[arg-type]
    return replace(policy, flows=flows)


OPEN = Policy("open", (), Verdict.ACCEPT, Verdict.ACCEPT)
EXTRA = (*BOUND, Bound("0.0.0.0", 2525, program="swaks"))
ONLY_SSH_6 = of_policy(replace(PLAN, flows=tuple(flow for flow in PLAN.flows if flow.ident != "in-relay-25-ipv6")))
FIRES: dict[str, tuple[str, Audited]] = {
    "needed-port-closed": ("FW001", Audited(DIRECT, live(without="in-relay"), BOUND)),
    "submission-closed-to-some": (
        "FW001",
        Audited(DIRECT, of_policy(change(PLAN, "in-submissions-465-ipv4", peers=net("198.51.100.0/25"))), BOUND),
    ),
    "undeclared-port-open": ("FW002", Audited(DIRECT, front(rule(2525)), EXTRA)),
    "nobody-listens": ("FW003", Audited(DIRECT, front(rule(8080)), BOUND)),
    "submission-open-to-all": ("FW004", Audited(DIRECT, front(rule(465)), BOUND)),
    "mx-limited-by-source": (
        "FW005",
        Audited(DIRECT, of_policy(change(PLAN, "in-relay-25-ipv4", peers=net("198.51.100.0/24"))), BOUND),
    ),
    "ipv6-forgotten": ("FW006", Audited(DIRECT, ONLY_SSH_6, BOUND)),
    "ipv6-unfiltered": (
        "FW006",
        Audited(DIRECT, front(rule(0, family=Family.IPV6, ports=(), protocol=Protocol.ANY, state=State.ANY)), BOUND),
    ),
    "loopback-refused": ("FW007", Audited(DIRECT, live(without="in-loopback"), BOUND)),
    "loopback-refused-out": ("FW007", Audited(DIRECT, live(without="out-loopback"), BOUND)),
    "icmp-refused": ("FW008", Audited(DIRECT, live(without="in-icmp-ipv6"), BOUND)),
    "under-way-refused": ("FW009", Audited(DIRECT, live(without="in-established"), BOUND)),
    "others-may-send": ("FW010", Audited(DIRECT, live(default_out=Verdict.ACCEPT, without="out-no-other"), BOUND)),
    "smarthost-only-and-open": ("FW010", Audited(SMART, live(exposure=DIRECT), BOUND)),
    "mx-hosts-out-of-reach": ("FW011", Audited(DIRECT, live(without="out-mx-25-ipv6"), BOUND)),
    "smarthost-out-of-reach": ("FW011", Audited(SMART, live(exposure=SMART, without="out-provider"), BOUND)),
    "no-dns-by-tcp": ("FW012", Audited(DIRECT, live(without="out-dns-tcp"), BOUND)),
    "no-time": ("FW012", Audited(DIRECT, live(without="out-ntp"), BOUND)),
    "shadowed": ("FW013", Audited(DIRECT, front(rule(25, Verdict.DROP)), BOUND)),
}
SILENT = {
    "direct": Audited(DIRECT, of_policy(PLAN), BOUND),
    "smarthost": Audited(SMART, of_policy(make_policy(SMART)), BOUND),
    "mail-ports-only": Audited(
        replace(DIRECT, reach=Reach.MAIL), of_policy(make_policy(replace(DIRECT, reach=Reach.MAIL))), BOUND
    ),
    "everybody-submits": Audited(
        replace(DIRECT, entrances=(MX, replace(SUBMISSIONS, peers=WORLD), SSH)),
        of_policy(make_policy(replace(DIRECT, entrances=(MX, replace(SUBMISSIONS, peers=WORLD), SSH)))),
        BOUND,
    ),
    "ipv4-alone": Audited(
        replace(DIRECT, has_ipv6=False), of_policy(make_policy(replace(DIRECT, has_ipv6=False))), BOUND[:3]
    ),
    "rules-by-interface": Audited(
        DIRECT,
        of_policy(change(change(PLAN, "in-relay-25-ipv4", interface="eth0"), "in-relay-25-ipv6", interface="eth0")),
        BOUND,
    ),
    "loopback-listeners": Audited(DIRECT, of_policy(PLAN), (*BOUND, Bound("127.0.0.1", 9125), Bound("::1", 9125))),
}


@pytest.mark.parametrize(("ident", "audited"), FIRES.values(), ids=FIRES)
def test_audit_names_the_mistake(ident: str, audited: Audited) -> None:
    found = [one for one in audit(audited) if one.check == ident]
    assert found
    assert all(one.because and all(one.because) and one.fix and one.title for one in found)


@pytest.mark.parametrize("audited", SILENT.values(), ids=SILENT)
def test_audit_is_silent_on_what_is_right(audited: Audited) -> None:
    assert audit(audited) == ()


def test_every_rule_has_a_case_that_fires() -> None:
    assert {rule.id for rule in RULES} == {ident for ident, _ in FIRES.values()}
    assert [rule.id for rule in RULES] == sorted({rule.id for rule in RULES})


def test_finding_quotes_the_rule_and_gives_a_command() -> None:
    audited = Audited(DIRECT, front(rule(25, Verdict.DROP)), BOUND)
    finding = next(one for one in audit(audited) if one.check == "FW001")
    assert finding.level is Level.ERROR
    assert finding.subject == "relay-25 port 25, IPv4"
    assert "tcp dport 25 drop" in " ".join(finding.because)


def test_machine_without_rules_has_holes_but_nothing_closed() -> None:
    found = {one.check for one in audit(Audited(SMART, Ruleset(()), EXTRA))}
    assert found == {"FW002", "FW004", "FW010"}


def test_rule_that_cannot_be_told_closes_nothing() -> None:
    doubtful = front(*(rule(25, Verdict.DROP, family, unknown="an odd match", state=State.ANY) for family in Family))
    assert [one.check for one in audit(Audited(DIRECT, doubtful, BOUND)) if one.check == "FW001"] == []


def test_ten_thousand_rules_are_audited_quickly() -> None:
    many = tuple(
        rule(
            25,
            Verdict.DROP,
            ident=f"drop-{number}",
            peers=net(f"10.{number // 250}.{number % 250}.1/32"),
            quote=f"q{number}",
        )
        for number in range(10_000)
    )
    assert audit(Audited(DIRECT, front(*many), BOUND)) == ()

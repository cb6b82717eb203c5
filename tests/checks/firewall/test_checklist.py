"""Every check of the firewall fires on its mistake, and says nothing about a machine without it."""

from __future__ import annotations

import ipaddress
from dataclasses import replace

import pytest

from postreeve.checks.finding import Finding, Level
from postreeve.checks.firewall.checklist import CHECKS, examine
from postreeve.checks.firewall.kubernetes_scene import Cluster, NetworkPolicy, Pod, Service
from postreeve.checks.firewall.scene import (
    Administrator,
    BanSet,
    Conntrack,
    Manager,
    Names,
    Persistence,
    Provider,
    Scene,
)
from postreeve.checks.firewall.windows_scene import Windows, WindowsRule
from postreeve.checks.machine import Bound
from postreeve.firewall.exposure import Reach, Smarthost
from postreeve.firewall.flow import Direction, Family, Policy, Ports, Protocol, Rate, State, Verdict
from postreeve.firewall.intent import make_policy
from postreeve.firewall.ruleset import Ruleset, of_policy
from tests.checks.firewall.audit_scenes import (
    ADMIN,
    BANS,
    BOUND,
    CONTAINER,
    DIRECT,
    EVERYBODY,
    HUB,
    MX,
    NAMES,
    OFFICE,
    PLAN,
    SMART,
    SSH,
    SUBMISSIONS,
    acl,
    behind,
    change,
    cloud,
    front,
    layer,
    net,
    published,
    rule,
    scene,
    within,
    without,
)

DROP, ACCEPT = Verdict.DROP, Verdict.ACCEPT
DEBUG = (*BOUND, Bound("0.0.0.0", 2525, program="swaks"), Bound("127.0.0.1", 9125, program="metrics"))
FORWARDED = rule(2587, container=CONTAINER, quote="-A DOCKER -d 172.17.0.2/32 -p tcp --dport 587 -j ACCEPT")
POD = Pod("mail", "postreeve-0", {"app": "postreeve"})
NETWORK_POLICY = NetworkPolicy(
    "mail", "postreeve", {"app": "postreeve"}, is_egress=True, egress_ports=(("TCP", 25), ("UDP", 53), ("TCP", 53))
)
ALLOW_25 = WindowsRule("mail", Direction.IN, False, (Ports(25, 25),), profiles=("Public",))
OLD_HUB = replace(HUB, addresses=net("203.0.113.99/32"))
FIRES: dict[str, tuple[str, Scene]] = {
    "port-closed": ("FW001", scene(ruleset=without("in-relay"))),
    "port-closed-by-a-rule": ("FW001", scene(ruleset=within(rule(25, DROP)))),
    "office-shut-out": ("FW001", scene(ruleset=change("in-submissions-465-ipv4", peers=net("198.51.100.0/25")))),
    "undeclared": ("FW002", scene(ruleset=within(rule(2525)), bound=DEBUG)),
    "nobody-listens": ("FW003", scene(ruleset=within(rule(8080)))),
    "submission-for-all": ("FW004", scene(ruleset=within(rule(465)))),
    "mail-of-some": ("FW005", scene(ruleset=change("in-relay-25-ipv4", peers=net("198.51.100.0/24")))),
    "mail-of-half": ("FW005", scene(ruleset=within(rule(25, DROP, peers=net("128.0.0.0/1"))))),
    "mx-record-and-closed": ("FW005", scene(ruleset=without("in-relay"))),
    "ipv6-forgotten": ("FW006", scene(ruleset=without("in-relay-25-ipv6"))),
    "ipv4-listener-and-aaaa": ("FW006", scene(replace(DIRECT, entrances=(replace(MX, is_bound_ipv6=False),)))),
    "ipv6-unfiltered": (
        "FW006",
        scene(ruleset=within(rule(0, family=Family.IPV6, ports=(), protocol=Protocol.ANY, state=State.ANY))),
    ),
    "no-loopback-in": ("FW007", scene(ruleset=without("in-loopback"))),
    "no-loopback-out": ("FW007", scene(ruleset=without("out-loopback"))),
    "no-neighbours": ("FW008", scene(ruleset=change("in-icmp-ipv6", icmp_types=(1, 2, 3, 4, 128)))),
    "no-packet-too-big": (
        "FW008",
        scene(
            ruleset=of_policy(
                replace(
                    PLAN,
                    flows=(
                        rule(0, DROP, protocol=Protocol.ICMP, ports=(), icmp_types=(3,), state=State.ANY),
                        *PLAN.flows,
                    ),
                )
            )
        ),
    ),
    "no-established": ("FW009", scene(ruleset=without("in-established"))),
    "no-established-out": ("FW009", scene(ruleset=without("out-established"))),
    "acl-without-replies": ("FW009", scene(clouds=(acl(32_768, 60_999),))),
    "spam-exit": ("FW010", scene(ruleset=without("out-no-other", default_out=ACCEPT))),
    "smarthost-and-world": ("FW010", scene(SMART, of_policy(PLAN))),
    "no-way-to-mx": ("FW011", scene(ruleset=without("out-mx-25-ipv6"))),
    "no-way-to-smarthost": ("FW011", scene(SMART, without("out-provider", SMART))),
    "no-dns-by-tcp": ("FW012", scene(ruleset=without("out-dns-tcp"))),
    "no-http-challenge": ("FW012", scene(bound=(*BOUND, Bound("0.0.0.0", 80, program="postreeve")))),
    "shadowed": ("FW013", scene(ruleset=within(rule(25, DROP)))),
    "overruled-by-a-later-chain": ("FW013", scene(ruleset=behind(layer("inet firewalld input", default=DROP)))),
    "cloud-of-equal-priority": ("FW013", scene(clouds=(cloud(undecided=("a allows what b denies",)),))),
    "container-past-input": ("FW014", scene(ruleset=published(FORWARDED))),
    "proxy-on-our-port": ("FW014", scene(bound=(*BOUND, Bound("0.0.0.0", 25, 7, "docker-proxy")))),
    "two-managers": ("FW015", scene(manager=Manager.UFW, managers=(Manager.UFW, Manager.FIREWALLD))),
    "both-iptables": ("FW015", scene(variants=("nft", "legacy"))),
    "not-at-the-start": ("FW016", scene(persistence=Persistence("nftables.service", False))),
    "drift": (
        "FW016",
        scene(ruleset=within(rule(8080)), persistence=Persistence("/etc/nftables.conf", True, of_policy(PLAN))),
    ),
    "no-bans": ("FW017", scene(ruleset=without("in-bans"))),
    "bans-of-ipv4-only": ("FW017", scene(ruleset=without("in-bans-ipv6"))),
    "bans-too-late": ("FW017", scene(ruleset=front(rule(25, state=State.ANY)))),
    "bans-not-for-containers": ("FW017", scene(ruleset=published(FORWARDED))),
    "bans-without-end": ("FW017", scene(ban_sets=(BanSet("inet filter", "evil", 4, False, False),))),
    "smarthost-banned": (
        "FW018",
        scene(SMART, replace(of_policy(make_policy(SMART)), sets={"bans4": net("203.0.113.0/24")})),
    ),
    "one-source": ("FW018", scene(peers=(ipaddress.ip_address("10.0.0.1"),) * 12)),
    "mail-limited": ("FW019", scene(ruleset=change("in-relay-25-ipv4", rate=Rate(6, 30)))),
    "limit-of-packets": (
        "FW019",
        scene(ruleset=replace(of_policy(PLAN), limits=(rule(25, DROP, rate=Rate(600, 60), state=State.ANY),))),
    ),
    "table-nearly-full": ("FW020", scene(conntrack=Conntrack(60_000, 65_536))),
    "short-memory": ("FW020", scene(clouds=(cloud(idle_seconds=350),))),
    "cloud-shut": ("FW021", scene(clouds=(cloud(rule(22), rule(22, family=Family.IPV6)),))),
    "host-shut": ("FW021", scene(ruleset=without("in-relay"), clouds=(cloud(),))),
    "cloud-wide": ("FW022", scene(clouds=(cloud(rule(0, ports=(Ports(0, 1_024),))),))),
    "cloud-all": ("FW022", scene(clouds=(cloud(rule(0, ports=(), protocol=Protocol.ANY)),))),
    "cloud-without-ipv6": ("FW022", scene(clouds=(cloud(rule(25)),))),
    "cloud-egress": (
        "FW022",
        scene(clouds=(replace(cloud(), policy=replace(cloud().policy, default_out=ACCEPT)),)),
    ),
    "cloud-default-group": ("FW022", scene(clouds=(cloud(is_default_group=True),))),
    "cloud-disabled": ("FW022", scene(clouds=(cloud(disabled=("old",)),))),
    "cloud-untargeted": ("FW022", scene(clouds=(cloud(untargeted=("mail",)),))),
    "quota": ("FW023", scene(clouds=(cloud(provider=Provider.AWS_GROUP, rules_in=61),))),
    "last-priority": ("FW023", scene(clouds=(cloud(provider=Provider.AZURE, priorities=frozenset((4_096,))),))),
    "no-comment": ("FW024", scene(ruleset=within(rule(25, quote="inet filter input: tcp dport 25 accept")))),
    "no-description": ("FW024", scene(clouds=(cloud(undescribed=("{...}",)),))),
    "smarthost-moved": (
        "FW025",
        scene(
            SMART, of_policy(make_policy(replace(SMART, smarthosts=(OLD_HUB,)))), smarthosts_now=(HUB,), is_live=True
        ),
    ),
    "locked-out": ("FW026", scene(ruleset=without("in-ssh"), administrators=(Administrator(ADMIN, 22),))),
    "plan-locks-out": (
        "FW026",
        scene(
            replace(DIRECT, entrances=(MX, SUBMISSIONS)),
            of_policy(Policy("open", (), ACCEPT, ACCEPT)),
            administrators=(Administrator(ADMIN, 22),),
        ),
    ),
    "scanners": ("FW027", scene(clouds=(cloud(provider=Provider.AWS_GROUP),))),
    "undecidable": ("FW028", scene(ruleset=within(rule(25, DROP, unknown="what iptables matches by recent")))),
    "unread": ("FW028", scene(ruleset=replace(of_policy(PLAN), unread=("chain netdev x at ingress",)))),
    "pod-unselected": ("FW029", scene(cluster=Cluster((POD,)))),
    "policy-for-all-pods": (
        "FW029",
        scene(cluster=Cluster((POD,), (replace(NETWORK_POLICY, selector={}),))),
    ),
    "egress-without-dns": (
        "FW029",
        scene(cluster=Cluster((POD,), (replace(NETWORK_POLICY, egress_ports=(("TCP", 25),)),))),
    ),
    "hidden-sources": (
        "FW029",
        scene(
            cluster=Cluster(
                (POD,),
                (replace(NETWORK_POLICY, has_ip_blocks=True),),
                (Service("mail", "smtp", "LoadBalancer", ports=(25,)),),
            )
        ),
    ),
    "block-beats-allow": (
        "FW030",
        scene(windows=Windows((ALLOW_25, WindowsRule("no mail", Direction.IN, True, (Ports(1, 1_024),))))),
    ),
    "other-profile": ("FW030", scene(windows=Windows((replace(ALLOW_25, profiles=("Domain",)),)))),
    "everything-leaves": ("FW030", scene(windows=Windows((ALLOW_25,), allows_out=("Public",)))),
}
BANNED_STRANGERS = {"bans4": net("203.0.113.9/32", "192.0.2.128/25"), "bans6": net("2001:db8:bad::/48")}
SILENT: dict[str, tuple[tuple[str, ...], Scene]] = {
    "direct": ((), scene()),
    "smarthost": ((), scene(SMART)),
    "mail-ports-only": ((), scene(replace(DIRECT, reach=Reach.MAIL))),
    "ipv4-alone": (
        (),
        scene(replace(DIRECT, has_ipv6=False), bound=BOUND[:3], names=replace(NAMES, ipv6=())),
    ),
    "banned-strangers": (
        ("FW001", "FW005", "FW018"),
        scene(ruleset=replace(of_policy(PLAN), sets=BANNED_STRANGERS)),
    ),
    "bogons-dropped": (
        ("FW001", "FW005"),
        scene(
            replace(DIRECT, entrances=(MX,)),
            front(
                rule(0, DROP, ports=(), protocol=Protocol.ANY, peers=net("10.0.0.0/8", "198.51.100.0/24")),
                exposure=replace(DIRECT, entrances=(MX,)),
            ),
        ),
    ),
    "loopback-listeners": (("FW002",), scene(bound=(*BOUND, Bound("127.0.0.1", 9125), Bound("::1", 9125)))),
    "undeclared-and-closed": (("FW002",), scene(bound=DEBUG)),
    "rules-by-interface": (("FW001",), scene(ruleset=change("in-relay-25-ipv4", interface="eth0"))),
    "rule-with-a-listener": (
        ("FW003",),
        scene(ruleset=within(rule(8080, peers=net("198.51.100.0/24"))), bound=(*BOUND, Bound("0.0.0.0", 8080))),
    ),
    "submission-for-all-and-meant": (
        ("FW004",),
        scene(replace(DIRECT, entrances=(MX, replace(SUBMISSIONS, peers=EVERYBODY), SSH))),
    ),
    "no-aaaa": (
        ("FW006",),
        scene(replace(DIRECT, entrances=(replace(MX, is_bound_ipv6=False),)), names=replace(NAMES, ipv6=())),
    ),
    "errors-as-related": (("FW008",), scene(ruleset=change("in-icmp-ipv4", icmp_types=(8,)))),
    "acl": (("FW009", "FW022"), scene(clouds=(acl(1_024),))),
    "cloud": (("FW021", "FW022", "FW023", "FW024"), scene(clouds=(cloud(),))),
    "everybody-may-send": (("FW010",), scene(replace(DIRECT, user=""))),
    "two-chains-that-agree": (("FW013",), scene(ruleset=behind(layer("inet other input")))),
    "container-guarded": (
        ("FW014", "FW017"),
        scene(
            ruleset=published(
                FORWARDED,
                guards=(BANS, replace(FORWARDED, ident="guard", verdict=DROP, quote="guard")),
            )
        ),
    ),
    "one-manager": (("FW015",), scene(managers=(Manager.NFTABLES,), variants=("nft",))),
    "persistent": (("FW016",), scene(persistence=Persistence("/etc/nftables.conf", True, of_policy(PLAN)))),
    "ban-set-with-an-end": (("FW017",), scene(ban_sets=(BanSet("inet postreeve", "bans4", 4),))),
    "many-sources": (("FW018",), scene(peers=tuple(ipaddress.ip_address(f"10.0.0.{one}") for one in range(12)))),
    "generous-limit": (("FW019",), scene(ruleset=change("in-relay-25-ipv4", rate=Rate(600, 60)))),
    "room-in-the-table": (("FW020",), scene(conntrack=Conntrack(100, 65_536, 432_000))),
    "smarthost-where-it-was": (("FW025",), scene(SMART, smarthosts_now=(HUB,))),
    "administrator": (
        ("FW026",),
        scene(replace(DIRECT, administrators=net("198.51.100.7/32")), administrators=(Administrator(ADMIN, 22),)),
    ),
    "closed-to-scanners": (("FW027",), scene(clouds=(cloud(rule(22), provider=Provider.AWS_GROUP),))),
    "unknown-closes-nothing": (
        ("FW001", "FW005", "FW021"),
        scene(ruleset=front(*(rule(25, DROP, one, unknown="odd", state=State.ANY) for one in Family))),
    ),
    "cluster": (
        ("FW029",),
        scene(cluster=Cluster((POD,), (NETWORK_POLICY,), (Service("mail", "smtp", "LoadBalancer", "Local", (25,)),))),
    ),
    "windows": (("FW030",), scene(windows=Windows((ALLOW_25,)))),
}


def _told(found: tuple[Finding, ...]) -> str:
    return "\n".join(f"{one.check} {one.subject}: {one.because}" for one in found)


@pytest.mark.parametrize(("ident", "given"), FIRES.values(), ids=FIRES)
def test_check_names_the_mistake(ident: str, given: Scene) -> None:
    found = examine(given)
    mine = [one for one in found if one.check == ident]
    assert mine, _told(found)
    for one in mine:
        assert one.title
        assert one.fix
        assert one.because
        assert all(one.because)
        assert "\n\n" not in one.fix
        assert "None" not in one.fix


@pytest.mark.parametrize(("idents", "given"), SILENT.values(), ids=SILENT)
def test_check_is_silent_where_nothing_is_wrong(idents: tuple[str, ...], given: Scene) -> None:
    found = tuple(one for one in examine(given) if not idents or one.check in idents)
    assert found == (), _told(found)


def test_there_are_thirty_checks_each_with_a_mistake() -> None:
    assert [check.id for check in CHECKS] == [f"FW{number:03}" for number in range(1, 31)]
    assert {ident for ident, _ in FIRES.values()} == {check.id for check in CHECKS}


def test_worst_comes_first() -> None:
    levels = [one.level for one in examine(scene(ruleset=without("in-"), bound=DEBUG))]
    assert levels == sorted(levels, key=list(Level).index)
    assert levels[0] is Level.ERROR


def test_unknown_rule_is_told_as_unknown_only() -> None:
    doubtful = front(*(rule(25, DROP, family, unknown="an odd match", state=State.ANY) for family in Family))
    checks = {one.check for one in examine(scene(ruleset=doubtful)) if one.check != "FW013"}
    assert checks == {"FW028"}


def test_scene_without_configuration_is_judged_by_itself() -> None:
    bare = Scene(of_policy(PLAN))
    assert examine(bare) == ()
    assert {one.check for one in examine(replace(bare, host=without("in-established")))} == {"FW009"}


def test_machine_without_rules_has_holes_but_nothing_closed() -> None:
    found = {one.check for one in examine(scene(SMART, Ruleset(()), bound=DEBUG))}
    assert found == {"FW002", "FW004"}


FIXES = {
    "nft": (Manager.NFTABLES, "inet filter input", "nft insert rule inet filter input ip saddr 0.0.0.0/0 tcp dport 25"),
    "iptables": (Manager.IPTABLES, "iptables filter INPUT", "iptables -I INPUT -s 0.0.0.0/0 -p tcp --dport 25 -j ACC"),
    "ufw": (Manager.UFW, "iptables filter INPUT", "ufw prepend allow in proto tcp from 0.0.0.0/0 to any port 25"),
    "firewalld": (Manager.FIREWALLD, "inet firewalld filter_INPUT", "firewall-cmd --permanent --add-rich-rule='rule"),
}


@pytest.mark.parametrize(("manager", "name", "expected"), FIXES.values(), ids=FIXES)
def test_fix_is_in_the_words_of_the_manager(manager: Manager, name: str, expected: str) -> None:
    shut = Ruleset((layer(name, default=DROP),))
    finding = next(one for one in examine(scene(ruleset=shut, manager=manager)) if one.check == "FW001")
    assert finding.fix.startswith(expected)


def test_smarthost_of_one_family_only_needs_that_family() -> None:
    hub = Smarthost("hub", 587, net("203.0.113.7/32"), "hub.example.net")
    assert examine(scene(replace(SMART, smarthosts=(hub,)))) == ()


def test_names_that_are_not_known_prove_nothing() -> None:
    assert examine(scene(names=None)) == ()
    assert examine(scene(names=Names())) == ()
    assert OFFICE

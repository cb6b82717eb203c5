"""Facts as JSON: there and back, and whatever else a file may hold."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postreeve.checks.conversation import Certificate, Conversation, Ending, Opening, Revocation, Said, Tls, Trouble
from postreeve.checks.document import NotFacts, dump_facts, from_document, load_facts, to_document
from postreeve.checks.facts import Asked, Endpoint, Facts, Intent, Lookup, Names, TargetKind, Vantage
from postreeve.checks.path import Control, ControlRole, Dial, DialOutcome, Hop, Icmp, Trace
from postreeve.checks.stage import Stage

DIAL = Dial("192.0.2.7", 587, DialOutcome.PROHIBITED, 0.25, "192.0.2.1", "EHOSTUNREACH", Icmp(3, 13, "192.0.2.9"))
CERTIFICATE = Certificate("CN=a", "CN=b", ("mx.example.com",), "a", 1.0, 2.0, "RSA 2048", "sha256", "00ff")
TALK = Conversation(
    Opening.TLS,
    DIAL,
    "220 hällo",
    "smtp",
    (Said(Stage.EHLO, "EHLO me.example", 250, ("mx.example.com", "SIZE"), 0.1, True),),
    Tls(
        "mx.example.com", "TLSv1.3", chain=(CERTIFICATE,), troubles=(Trouble(20, 0, "no issuer"),), is_name_right=False
    ),
    ending=Ending.STOPPED,
    ended_at=Stage.AUTH,
)
FACTS = Facts(
    Asked("mx.example.com", TargetKind.HOST, 587, Intent.STARTTLS, family=6, stop_after=Stage.AUTH),
    1_700_000_000.5,
    Names("mx.example.com", ("192.0.2.7",), (Lookup("mx.example.com", "A", ("192.0.2.7",), is_authentic=True),)),
    Vantage("aws", "sys_vendor is Amazon EC2"),
    (Endpoint("mx.example.com", "192.0.2.7", 587, 10, (DIAL,), (TALK,), Trace("192.0.2.7", 587, (Hop(1, "", 0.5),))),),
    (Control(ControlRole.NOWHERE, DIAL, "220 proxy"),),
)


def changed(*path: Any, to: Any) -> Any:
    document = json.loads(dump_facts(FACTS))
    inner = document
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = to
    return document


def test_document_gives_the_same_facts_back() -> None:
    assert load_facts(dump_facts(FACTS)) == FACTS
    assert load_facts(dump_facts(FACTS).encode()) == FACTS


def test_document_reads_the_whole_answer_of_a_probe() -> None:
    assert from_document({"verdict": {}, "facts": to_document(FACTS)}) == FACTS


def test_document_ignores_what_a_later_program_may_add() -> None:
    assert from_document(changed("asked", "mood", to="fine")) == FACTS


def test_document_needs_no_member_that_has_a_default() -> None:
    small = {"asked": {"target": "a.example", "kind": "host"}, "at": 5}
    assert from_document(small) == Facts(Asked("a.example", TargetKind.HOST), 5.0)


@pytest.mark.parametrize(
    ("document", "words"),
    [
        pytest.param([], "this JSON holds no facts of a probe", id="list"),
        pytest.param({"asked": 1, "version": 2}, "version '2', this program knows version 1", id="version"),
        pytest.param({"asked": 1, "version": True}, "version 'True'", id="version true"),
        pytest.param({"asked": []}, "asked must be an object", id="asked"),
        pytest.param({"asked": {}}, "lack asked.target", id="target missing"),
        pytest.param(changed("asked", "kind", to="boat"), "asked.kind must be one of host, mail domain", id="enum"),
        pytest.param(changed("asked", "kind", to=[]), "asked.kind must be one of", id="enum of a list"),
        pytest.param(changed("asked", "port", to="587"), "asked.port must be a whole number", id="text for number"),
        pytest.param(changed("asked", "port", to=True), "asked.port must be a whole number", id="true for number"),
        pytest.param(changed("at", to=float("inf")), "at must be a finite number", id="infinity"),
        pytest.param(changed("at", to=10**400), "at must be a finite number", id="huge"),
        pytest.param(changed("endpoints", to={}), "endpoints must be a list", id="object for list"),
        pytest.param(
            changed("endpoints", 0, "dials", 0, "icmp", to=3), r"endpoints\[0\].dials\[0\].icmp must be an", id="deep"
        ),
        pytest.param(changed("names", "addresses", 0, to=None), r"names.addresses\[0\] must be a text", id="null"),
    ],
)
def test_document_says_where_it_is_wrong(document: Any, words: str) -> None:
    with pytest.raises(NotFacts, match=words) as caught:
        from_document(document)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text", [b"", b"\xff\xfe\x00", b"{", "[" * 100_000, '{"asked": NaN}', "x" * 17_000_000, '"\\ud800"']
)
def test_document_refuses_what_is_no_document(text: str | bytes) -> None:
    with pytest.raises(NotFacts):
        load_facts(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        found += paths(inner, (*path, key))
    return found


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(paths(to_document(FACTS))), JSON)
def test_document_with_anything_anywhere_gives_facts_or_says_no(path: tuple[Any, ...], value: Any) -> None:
    try:
        facts = from_document(changed(*path, to=value))
    except NotFacts:
        return
    assert load_facts(dump_facts(facts)) == facts


def test_document_knows_every_enumeration() -> None:
    assert Revocation(to_document(Revocation.GOOD)) is Revocation.GOOD

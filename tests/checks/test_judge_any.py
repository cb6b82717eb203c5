"""Whatever the Facts, judging them ends in a Judgement: a saved file may come from anywhere."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from postreeve.checks.conversation import Said
from postreeve.checks.facts import Facts
from postreeve.checks.judge import judge
from postreeve.checks.judge.reply import read_reply
from postreeve.checks.knowledge import causes
from postreeve.checks.stage import Stage
from postreeve.checks.verdict import HEALTHY, UNDECIDED, Confidence

WORDS = st.sampled_from(("", "250 ok", "220 mail.example.com ESMTP", "STARTTLS", "AUTH PLAIN", "é\x00", "XXXXXXXX"))
ADDRESSES = st.sampled_from(("192.0.2.7", "2001:db8::7", "127.0.0.1", "fe80::1%eth0", "", "mail.example.com"))
NUMBERS = st.sampled_from((0.0, -1.0, 1e12, 1e300, 1_790_000_000.0, float("inf")))
st.register_type_strategy(str, st.one_of(WORDS, ADDRESSES))
st.register_type_strategy(float, NUMBERS)
st.register_type_strategy(
    Said,
    st.builds(
        Said,
        stage=st.sampled_from(Stage),
        command=WORDS,
        code=st.sampled_from((0, 220, 235, 250, 334, 421, 450, 454, 500, 530, 535, 550, 554, 999)),
        lines=st.lists(WORDS, max_size=4).map(tuple),
        seconds=NUMBERS,
        is_in_tls=st.booleans(),
    ),
)


@settings(max_examples=150, deadline=None)
@given(st.from_type(Facts))
def test_judge_takes_any_facts(facts: Facts) -> None:
    judgement = judge(facts)
    for verdict in (judgement.verdict, *judgement.others):
        assert verdict.cause in (HEALTHY, UNDECIDED) or verdict.cause in causes(), verdict


@given(st.integers(0, 999), st.text(max_size=80), st.sampled_from(Stage))
def test_read_reply_reads_any_reply(code: int, text: str, stage: Stage) -> None:
    reading = read_reply(code, text, stage)
    if code < 400:
        assert reading is None
    else:
        assert reading is not None
        assert reading.cause in causes()
        assert reading.confidence in Confidence

"""Networks that block ports."""

from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from postreeve.ports.network import (
    Observed,
    Pattern,
    Status,
    by_id,
    candidates,
    judge,
    networks,
    recognise,
    see_pattern,
)

OPEN, DROPPED, REFUSED, SLOW = Observed.OPEN, Observed.DROPPED, Observed.REFUSED, Observed.SLOW


def test_rows_were_all_checked_within_eighteen_months() -> None:
    today = datetime.now(UTC).date()
    limit = today.year * 12 + today.month - 18
    old = [one.id for one in networks() if one.checked_on.year * 12 + one.checked_on.month <= limit]
    assert old == [], "compare these rows with their sources and set checked_on"


def test_rows_are_complete() -> None:
    assert len(networks()) >= 21
    for one in networks():
        assert one.sources, one.id
        assert one.unblock, one.id
        assert one.status(25) is not None, one.id


@pytest.mark.parametrize(
    ("dmi", "environment", "ident"),
    [
        pytest.param({"sys_vendor": "Hetzner", "product_name": "vServer"}, {}, "hetzner-cloud", id="hetzner"),
        pytest.param({"sys_vendor": "Amazon EC2"}, {}, "aws", id="ec2-nitro"),
        pytest.param({"product_uuid": "EC2a1b2c"}, {}, "aws", id="ec2-xen"),
        pytest.param({"product_name": "Google Compute Engine"}, {}, "google-cloud", id="gce"),
        pytest.param({"chassis_asset_tag": "7783-7084-3265-9085-8269-3286-77"}, {}, "azure", id="azure"),
        pytest.param({"sys_vendor": "DigitalOcean"}, {}, "digitalocean", id="digitalocean"),
        pytest.param({"sys_vendor": "Akamai"}, {}, "linode", id="akamai"),
        pytest.param({"chassis_asset_tag": "OracleCloud.com"}, {}, "oracle-cloud", id="oracle"),
        pytest.param({}, {"RAILWAY_ENVIRONMENT": "production"}, "railway", id="railway"),
        pytest.param({"product_name": "Google Compute Engine"}, {"RAILWAY_X": ""}, "railway", id="platform-on-cloud"),
        pytest.param({}, {"GITHUB_ACTIONS": "true"}, "github-actions", id="github"),
        pytest.param({}, {"GITHUB_ACTIONS": "false"}, None, id="not-github"),
        pytest.param({"sys_vendor": "LENOVO"}, {"HOME": "/root"}, None, id="a-laptop"),
        pytest.param({}, {}, None, id="nothing-known"),
    ],
)
def test_recognise(dmi: Mapping[str, str], environment: Mapping[str, str], ident: str | None) -> None:
    found = recognise(dmi, environment)
    assert (found and found.network.id) == ident
    assert found is None or found.evidence


@pytest.mark.parametrize(
    ("observed", "pattern", "among"),
    [
        pytest.param({25: DROPPED, 465: DROPPED, 587: OPEN, 2525: OPEN}, Pattern.RELAY_AND_SUBMISSIONS,
                     {"hetzner-cloud"}, id="hetzner-like"),
        pytest.param({25: DROPPED, 465: DROPPED, 587: DROPPED, 2525: OPEN}, Pattern.ALL_BUT_2525,
                     {"digitalocean", "linode", "scaleway"}, id="linode-like"),
        pytest.param({25: DROPPED, 465: DROPPED, 587: DROPPED, 2525: DROPPED, 443: OPEN}, Pattern.ALL_MAIL,
                     {"genesis-cloud", "small-host"}, id="railway-like"),
        pytest.param({25: DROPPED, 465: OPEN, 587: OPEN, 2525: OPEN}, Pattern.RELAY_ONLY,
                     {"aws", "google-cloud", "azure", "oracle-cloud", "residential"}, id="aws-like"),
        pytest.param({25: SLOW, 465: OPEN, 587: OPEN}, Pattern.RELAY_LIMITED, {"edbb"}, id="limited"),
        pytest.param({25: REFUSED, 465: OPEN, 587: OPEN}, Pattern.RELAY_REFUSED, set(), id="own-firewall"),
        pytest.param({25: DROPPED, 465: DROPPED, 587: DROPPED}, Pattern.OFFLINE, set(), id="offline"),
        pytest.param({25: OPEN, 465: OPEN, 587: OPEN}, Pattern.NONE, set(), id="open"),
        pytest.param({25: Observed.INTERCEPTED, 587: OPEN}, Pattern.INTERCEPTED, set(), id="proxy"),
        pytest.param({25: OPEN, 587: DROPPED}, Pattern.OTHER, set(), id="odd"),
        pytest.param({25: Observed.UNKNOWN}, Pattern.UNTESTED, set(), id="untested"),
        pytest.param({}, Pattern.UNTESTED, set(), id="nothing"),
    ],
)  # fmt: skip
def test_judge_sees_the_pattern(observed: Mapping[int, Observed], pattern: Pattern, among: set[str]) -> None:
    opinion = judge({}, {}, observed)
    assert see_pattern(observed) is pattern
    assert opinion.pattern is pattern
    named = {one.id for one in opinion.candidates}
    assert among <= named
    assert bool(among) == bool(named)
    assert opinion.network is None or len(named) == 1


def test_judge_believes_the_machine_more_than_the_pattern() -> None:
    opinion = judge({"sys_vendor": "Hetzner"}, {}, {25: DROPPED, 465: DROPPED, 587: OPEN})
    assert opinion.network is by_id("hetzner-cloud")
    assert any("sys_vendor" in line for line in opinion.because)
    assert opinion.differences == ()


def test_judge_says_where_the_table_is_not_true_here() -> None:
    opinion = judge({"sys_vendor": "Hetzner"}, {}, {25: OPEN, 465: OPEN, 587: DROPPED})
    assert len(opinion.differences) == 3
    assert "unblocked" in opinion.differences[0]
    assert "firewall" in opinion.differences[2]


def test_judge_drops_clouds_that_would_have_named_themselves() -> None:
    laptop = judge({"sys_vendor": "LENOVO", "product_name": "20XW"}, {}, {25: DROPPED, 465: OPEN, 587: OPEN})
    named = {one.id for one in laptop.candidates}
    assert "residential" in named
    assert not named & {"aws", "google-cloud", "digitalocean", "heroku"}


def test_candidates_explain_every_closed_submission_port() -> None:
    for network in candidates({25: DROPPED, 465: DROPPED, 587: OPEN}):
        status = network.status(465)
        assert status is not None
        assert status.status in (Status.BLOCKED, Status.MIXED)

"""What doctor says of the ways out of this network."""

from dataclasses import replace

from postreeve.checks.doctor.catalogue import examine
from postreeve.checks.path import DialOutcome
from tests.checks.doctor.test_catalogue import FAR, OPEN, WELL


def test_blocked_port_25_is_opened_as_this_network_does() -> None:
    way = replace(WELL.ways_out[0], dials=(replace(FAR, outcome=DialOutcome.TIMED_OUT),), banner="")
    sick = replace(WELL, ways_out=(way,), known_good=(OPEN,), platform="hetzner-cloud")
    (fix,) = (one.fix for one in examine(sick) if one.check == "outbound-25-blocked")
    assert "Hetzner Cloud; there: after the first paid invoice" in fix

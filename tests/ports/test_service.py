"""What each port is for."""

import pytest

from postreeve.ports.service import BY_PORT, SERVICES, SUBMISSION_PORTS, USUAL, Mode, Use, convention, rank


@pytest.mark.parametrize(
    ("port", "mode"),
    [
        pytest.param(465, Mode.IMPLICIT, id="submissions"),
        pytest.param(587, Mode.STARTTLS, id="submission"),
        pytest.param(25, Mode.STARTTLS, id="smtp"),
        pytest.param(2525, Mode.STARTTLS, id="custom"),
        pytest.param(2465, Mode.IMPLICIT, id="custom-implicit"),
        pytest.param(2587, Mode.STARTTLS, id="custom-starttls"),
        pytest.param(8025, Mode.STARTTLS, id="smtp2go"),
        pytest.param(443, Mode.IMPLICIT, id="on-https"),
        pytest.param(24, Mode.PLAIN, id="lmtp"),
        pytest.param(4321, Mode.STARTTLS, id="nobody-knows"),
    ],
)
def test_convention_is_the_mode_to_expect(port: int, mode: Mode) -> None:
    assert convention(port) is mode


def test_rank_follows_rfc_8314_section_3() -> None:
    assert sorted([25, 2525, 587, 465, 4321, 2465], key=rank) == [465, 587, 2465, 2525, 4321, 25]


def test_services_name_each_port_once_and_say_what_it_is_for() -> None:
    assert len(BY_PORT) == len(SERVICES)
    assert all(one.purpose and one.audience for one in SERVICES)
    assert {one.port for one in SERVICES if one.is_registered} == {25, 465, 587}


def test_submission_ports_leave_25_and_local_ones_out() -> None:
    assert 25 not in SUBMISSION_PORTS
    assert BY_PORT[24].use is Use.LOCAL
    assert set(USUAL) == {25, 465, 587, 2525, 2587, 2465}

"""The page of the firewall's checks is what the catalogue says."""

from tools import firewall_page


def test_firewall_page_is_fresh() -> None:
    assert firewall_page.PAGE.read_text("utf-8") == firewall_page.render(), "run `make docs`"

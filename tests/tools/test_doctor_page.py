"""The page of the doctor's checks is what the catalogue says."""

from tools import doctor_page


def test_doctor_page_is_fresh() -> None:
    assert doctor_page.PAGE.read_text("utf-8") == doctor_page.render(), "run `make docs`"

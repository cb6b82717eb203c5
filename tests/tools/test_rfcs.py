"""The tool that ties the standards to code and tests."""

from pathlib import Path

import pytest

from tools import rfcs

Citations = list[tuple[int, str]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("RFC 5321", [(5321, "")], id="whole"),
        pytest.param("RFC 5321, section 4.5.2.", [(5321, "4.5.2")], id="section-at-end-of-sentence"),
        pytest.param("RFC 5321 section 5", [(5321, "5")], id="section-without-comma"),
        pytest.param("RFC 3461, appendix A.1", [(3461, "A.1")], id="appendix"),
        pytest.param("RFC 5321, sections 4.5.4 and 5, 7505", [(5321, "4.5.4"), (5321, "5"), (7505, "")], id="list"),
        pytest.param("RFCs 2034 and 3463; 5248", [(2034, ""), (3463, ""), (5248, "")], id="numbers"),
        pytest.param("RFC 6152, RFC 3030", [(6152, ""), (3030, "")], id="repeated-word"),
        pytest.param("# RFC 5321,\n    # section 4.1", [(5321, "4.1")], id="across-comment-lines"),
        pytest.param("RFC 5321, 250 octets, rfc 822", [(5321, "")], id="other-numbers"),
        pytest.param("RFC 5321 says 1000. RFC 5322", [(5321, ""), (5322, "")], id="sentence-between"),
    ],
)
def test_find_citations_reads(text: str, expected: Citations) -> None:
    assert [(number, section) for _, number, section in rfcs.find_citations(text)] == expected


SOURCE = '''
"""RFC 5321."""


class Reader:
    def feed(self):
        # RFC 5321, section 2.3.8
        pass
'''


def test_read_citations_names_the_innermost_definition(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "line.py").write_text(SOURCE)
    assert rfcs.read_citations(tmp_path / "src", tmp_path) == [
        rfcs.Citation(5321, "", "src/line.py", ""),
        rfcs.Citation(5321, "2.3.8", "src/line.py", "Reader.feed"),
    ]


CITED = [rfcs.Citation(5321, "4.1", "src/postreeve/smtp/line.py", "feed")]
TESTED = [rfcs.Citation(5321, "4.1", "tests/smtp/test_line.py", "test_feed")]


@pytest.mark.parametrize(
    ("row", "tests", "words"),
    [
        pytest.param(rfcs.Rfc(5321, "SMTP", "yes"), TESTED, "", id="listed-and-tested"),
        pytest.param(rfcs.Rfc(5321, "SMTP", "yes"), [], "no test cites it", id="yes-without-test"),
        pytest.param(rfcs.Rfc(5321, "SMTP", "part"), [], "without a note", id="part-without-note"),
        pytest.param(rfcs.Rfc(5321, "SMTP", "yes", tests=("tests/none.py",)), [], "does not exist", id="lost-test"),
        pytest.param(rfcs.Rfc(5322, "Format", "no", "n"), TESTED, "is cited and not listed", id="unlisted"),
    ],
)
def test_find_problems_reports(row: rfcs.Rfc, tests: list[rfcs.Citation], words: str, tmp_path: Path) -> None:
    problems = rfcs.find_problems({row.number: row}, CITED, tests, tmp_path)
    assert (len(problems) == 1 and words in problems[0]) if words else problems == []


def test_draw_puts_code_and_tests_beside_their_section() -> None:
    page = rfcs.draw({5321: rfcs.Rfc(5321, "SMTP", "yes")}, CITED, TESTED)
    assert "| 4.1 | `smtp.line.feed` | `tests/smtp/test_line.py` |" in page

"""The scanners: values with their places, whatever the text is."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postreeve.clientconfig.scan.code import scan_code
from postreeve.clientconfig.scan.env import scan_env
from postreeve.clientconfig.scan.ini import scan_ini, scan_properties
from postreeve.clientconfig.scan.markup import scan_yaml
from postreeve.clientconfig.scan.python import scan_python
from postreeve.clientconfig.scan.token import Language
from postreeve.clientconfig.scan.tree import flatten
from postreeve.clientconfig.text import Entry, Source

Row = tuple[str, object, str, bool]


def _row(source: Source, entry: Entry) -> Row:
    return entry.key, entry.scalar.value, source.written(entry.scalar.span), entry.scalar.is_reference


def _code(text: str, language: Language) -> dict[str, Row]:
    source = Source(text)
    code = scan_code(source, language)
    rows: dict[str, Row] = {}
    for one in code.assignments:
        for entry in flatten(one.value):
            rows[".".join(filter(None, (one.target, entry.key)))] = _row(source, entry)
    for call in code.calls:
        for number, argument in enumerate(call.arguments):
            for entry in flatten(argument):
                rows[".".join(filter(None, (f"{call.name}({number})", entry.key)))] = _row(source, entry)
    for entry in flatten(code.root) if code.root is not None else ():
        rows[entry.key] = _row(source, entry)
    return rows


@pytest.mark.parametrize(
    ("text", "value", "written", "is_reference"),
    [
        ("A=b", "b", "b", False),
        ("export A = 'b c' # d", "b c", "'b c'", False),
        ('A="b # c" # d', "b # c", '"b # c"', False),
        ("A=b#c", "b#c", "b#c", False),
        ("A=b # c", "b", "b", False),
        ("A=", "", "", False),
        ("A= # c", "", "", False),
        ('A="x\ny"', "x\ny", '"x\ny"', False),
        ("A=${B:-587}", "587", "${B:-587}", True),
        ("A=${B}", None, "${B}", True),
        ("A='${B}'", "${B}", "'${B}'", False),
        ("A=b\r\n", "b", "b", False),
        ('A="unclosed', '"unclosed', '"unclosed', False),
    ],
)
def test_scan_env_reads_values_as_shells_do(text: str, value: object, written: str, is_reference: bool) -> None:
    source = Source(text)
    (entry,) = scan_env(source)
    assert _row(source, entry) == ("A", value, written, is_reference)


def test_scan_env_leaves_comments_and_other_lines_out() -> None:
    assert [entry.key for entry in scan_env(Source("#A=1\nnothing\nB=2\n  C = 3\nfoo bar=4\n"))] == ["B", "C"]


def test_scan_properties_knows_all_three_separators_and_continuations() -> None:
    source = Source("! c\na.b=1\nc : 2\nd 3\ne=4\\\n  f=5\ng=${H:6}\n")
    assert [(entry.key, entry.scalar.value) for entry in scan_properties(source)] == [
        ("a.b", "1"), ("c", "2"), ("d", "3"), ("e", "4\\"), ("g", "6"),
    ]  # fmt: skip


def test_scan_ini_knows_sections_quotes_and_comments() -> None:
    source = Source('a = 1\n[smtp]\n; no\nhost = """x"""\nuser = "a;b" ; c\nport=25 # d\nempty =\n')
    found = [(entry.section, entry.key, entry.scalar.value) for entry in scan_ini(source)]
    assert ("", "a", "1") in found
    assert ("smtp", "user", "a;b") in found
    assert ("smtp", "port", "25") in found
    assert ("smtp", "empty", "") in found


def test_scan_yaml_keeps_places_through_anchors_merges_and_documents() -> None:
    text = "a: &x {b: 587, 'c': \"é${P:-q}\"}\nd:\n  <<: *x\n  e: yes\n---\nf: !secret g\n"
    source = Source(text)
    rows = [_row(source, entry) for root in scan_yaml(source) for entry in flatten(root)]
    assert ("a.b", 587, "587", False) in rows
    assert ("d.b", 587, "587", False) in rows
    assert ("d.e", True, "yes", False) in rows
    assert ("f", "g", "g", False) in rows
    assert any(row[0] == "a.c" and row[3] for row in rows)


def test_scan_yaml_survives_a_milliard_of_laughs() -> None:
    lines = ["a: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"b{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    begun = time.process_time()
    for root in scan_yaml(Source("\n".join(lines))):
        flatten(root)
    assert time.process_time() - begun < 3


@pytest.mark.parametrize(
    ("language", "text", "key", "row"),
    [
        (Language.JAVASCRIPT, "const a = { b: { c: 'd' } }", "a.b.c", ("b.c", "d", "'d'", False)),
        (Language.JAVASCRIPT, "f({ p: process.env.P || 587 })", "f(0).p", ("p", 587, "process.env.P || 587", True)),
        (Language.JAVASCRIPT, "f({ p: +process.env.P, s: !0 })", "f(0).p", ("p", None, "+process.env.P", True)),
        (Language.JAVASCRIPT, "f({ p: `${h}:25` })", "f(0).p", ("p", None, "`${h}:25`", True)),
        (Language.JAVASCRIPT, "f({ // it's\n p: 1_0 /* ' */ })", "f(0).p", ("p", 10, "1_0", False)),
        (Language.JAVASCRIPT, '{"a": [1, {"b": null}], /* c */ }', "a.1.b", ("a.1.b", None, "null", False)),
        (Language.JAVASCRIPT, "if (x) { const t = g({ a: true }); }", "g(0).a", ("a", True, "true", False)),
        (Language.JAVASCRIPT, "const f = async () => { return g('x', 2); };", "g(1)", ("", 2, "2", False)),
        (Language.JAVASCRIPT, "f({a:true,b:{c:'d'},e:x?.y})", "f(0).a", ("a", True, "true", False)),
        (Language.JAVASCRIPT, "a.b=1", "a.b", ("", 1, "1", False)),
        (Language.JAVASCRIPT, "f({ host, port:25 })", "f(0).host", ("host", None, "host", True)),
        (Language.PHP, "<?php $m->A=true;$m->B='c';", "$m->A", ("", True, "true", False)),
        (Language.RUBY, "a={b: :c,:d=>:e}", "a.d", ("d", "e", ":e", False)),
        (Language.PHP, "<?php $m->Host = 'a\\'b';", "$m->Host", ("", "a'b", "'a\\'b'", False)),
        (Language.PHP, "<?php return ['a' => env('B', 5)];", "a", ("a", 5, "env('B', 5)", True)),
        (Language.PHP, "<?php return array('a' => array('b' => TRUE));", "a.b", ("a.b", True, "TRUE", False)),
        (Language.PHP, '<?php $a = "x{$y}";', "$a", ("", None, '"x{$y}"', True)),
        (Language.PHP, "define('A', (int) getenv('B') ?: 25);", "define(1)", ("", 25, "(int) getenv('B') ?: 25", True)),
        (Language.RUBY, "a.b = { c: :plain, 'd' => 1, :e => nil }", "a.b.c", ("c", "plain", ":plain", False)),
        (Language.RUBY, "a = ENV['X']\nb = 2", "b", ("", 2, "2", False)),
        (Language.RUBY, "g['x'] = ENV.fetch('Y', 'z')", "g['x']", ("", "z", "ENV.fetch('Y', 'z')", True)),
        (Language.GO, 'd := g.New("h", 587, os.Getenv("P"))', "g.New(1)", ("", 587, "587", False)),
        (Language.GO, "d.T = &tls.Config{Skip: true}", "d.T.Skip", ("Skip", True, "true", False)),
        (Language.CSHARP, 'var c = new S("h") { EnableSsl = true };', "EnableSsl", ("", True, "true", False)),
    ],
)  # fmt: skip
def test_scan_code_reads_literals_with_their_places(language: Language, text: str, key: str, row: Row) -> None:
    assert _code(text, language)[key] == row


@pytest.mark.parametrize(
    ("text", "key", "row"),
    [
        ("A = 'b'", "A", ("A", "b", "'b'", False)),
        ("A: int = 5", "A", ("A", 5, "5", False)),
        ("é = 'ü'; A = 'b'", "A", ("A", "b", "'b'", False)),
        ("c['A'] = env.int('X', default=3)", "A", ("A", 3, "env.int('X', default=3)", True)),
        ("f(A=os.environ.get('X', 'y'))", "A", ("A", "y", "os.environ.get('X', 'y')", True)),
        ("A = os.environ['X']", "A", ("A", None, "os.environ['X']", True)),
        ("A = int(os.getenv('X', '7'))", "A", ("A", "7", "os.getenv('X', '7')", True)),
        ("A = f'{x}'", "A", ("A", None, "f'{x}'", True)),
    ],
)
def test_scan_python_reads_literals_with_their_places(text: str, key: str, row: Row) -> None:
    source = Source(text)
    rows = {entry.key: _row(source, entry) for block in scan_python(text) for entry in block.entries}
    assert rows[key] == row


_SCANNERS: list[Callable[[Source], object]] = [
    scan_env,
    scan_ini,
    scan_properties,
    lambda source: [flatten(root) for root in scan_yaml(source)],
    lambda source: scan_python(source.text),
    *(lambda source, language=language: scan_code(source, language) for language in Language),
]


_CHARACTERS = list("ab_AB=:;,.'\"`{}[]()<>$#%!&|?\\/*-+\n\r\t 0123é💡\x00\ufeff")


@pytest.mark.parametrize("scanner", _SCANNERS)
@settings(max_examples=60, deadline=None)
@given(st.text(alphabet=st.sampled_from(_CHARACTERS), max_size=120))
def test_scanners_are_total(scanner: Callable[[Source], object], text: str) -> None:
    scanner(Source(text))


_HEAVY = [
    '"\\"', "a=[", "{", "`", "/*", "${", "a(b(", "a=b||", "x:y:", "'", "<!--", "a.b->", "::", "$$$", "[[", "- ", "\t",
    "a=b\n", "${a:-", "%(",
]  # fmt: skip


@pytest.mark.parametrize("piece", _HEAVY)
@pytest.mark.parametrize("scanner", _SCANNERS)
def test_scanners_need_no_more_than_linear_time(scanner: Callable[[Source], object], piece: str) -> None:
    begun = time.process_time()
    scanner(Source(piece * (40_000 // len(piece))))
    assert time.process_time() - begun < 3

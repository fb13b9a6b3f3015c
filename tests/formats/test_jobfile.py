"""Job lines: three shapes, bodies as they came, and every defect with its column."""

import json
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrunner.core.errors import InputError, Problem
from batchrunner.formats import jobfile
from batchrunner.formats.jobfile import parse_line
from batchrunner.formats.screen import LineProblem, strict
from tests.formats.lines import GOOD, read

BODY = b'{"model":"m","prompt":"Hi"}'
FULL = b'{"custom_id":"a","method":"POST","url":"/v1/completions","body":' + BODY + b"}"


def problem(line):
    with pytest.raises(LineProblem) as caught:
        parse_line(line, 1)
    return caught.value.column, caught.value.reason


# ----------------------------------------------------------------------------------------------------------- good lines


def test_openais_line_is_taken_apart():
    line = parse_line(FULL, 3)
    assert (line.number, line.custom_id, line.url, line.body) == (3, "a", "/v1/completions", BODY)
    assert (line.keys, line.extras, line.tags, line.priority) == (frozenset(), None, (), 0)


def test_togethers_line_tells_its_endpoint_by_the_keys_of_its_body():
    line = parse_line(b' { "custom_id" : "a" , "body" : {"input": "x", "model": "m"} } ', 1)
    assert (line.custom_id, line.url, line.body) == ("a", None, b'{"input": "x", "model": "m"}')
    assert line.keys == {"input", "model"}


def test_a_bare_body_is_sent_whole_and_its_metadata_with_it():
    raw = b'{"model":"m", "messages":[], "metadata":{"tags":{"a":"b"}, "priority":5}}'
    line = parse_line(b"  " + raw + b"\t", 1)
    assert line.body == raw
    assert (line.extras, line.tags, line.priority) == (None, (), 0)
    assert line.keys == {"model", "messages", "metadata"}


def test_f19_metadata_beside_a_body_is_ours_and_unknown_keys_are_kept_as_they_came():
    line = parse_line(
        b'{"v": 1.50,"custom_id":"a","body":'
        + BODY
        + b',"metadata":{"tags":{"b":"2","a":"1"},"priority":-7,"who":[1, 2]}}',
        1,
    )
    assert line.tags == (("a", "1"), ("b", "2"))
    assert line.priority == -7
    assert line.extras == b'{"v":1.50,"metadata":{"tags":{"b":"2","a":"1"},"priority":-7,"who":[1, 2]}}'


def test_metadata_may_be_null():
    assert parse_line(b'{"body":' + BODY + b',"metadata":null}', 1).tags == ()


def test_f12_a_line_without_a_custom_id_is_named_by_its_body():
    # printf '{"model":"m","prompt":"Hi"}' | sha256sum
    assert parse_line(b'{"body":' + BODY + b"}", 1).custom_id == "h-529d66ecf709-1"
    assert parse_line(BODY, 1).custom_id == "h-529d66ecf709-1"


@pytest.mark.parametrize(
    "custom_id", ["x" * 512, "../../etc/passwd", "=cmd|' /C calc'!A0", "naïve 🙂", "a b", "\u00a0"]
)
def test_f12_a_custom_id_may_be_any_printable_text(custom_id):
    assert parse_line(json.dumps({"custom_id": custom_id, "body": {}}).encode(), 1).custom_id == custom_id


def test_f8_an_integer_of_5000_digits_and_one_beyond_64_bits_go_through_untouched():
    body = b'{"seed":' + b"7" * 5000 + b',"n":18446744073709551616,"x":1e-999,"z":-0}'
    assert parse_line(body, 1).body == body
    assert parse_line(b'{"custom_id":"a","body":' + body + b"}", 1).body == body


def test_f6_f7_escaped_nul_and_paired_surrogates_are_fine():
    body = rb'{"prompt":"\u0000 \ud83d\ude00 \\ud800"}'
    assert parse_line(body, 1).body == body


def test_f10_a_key_that_only_looks_like_a_second_one_is_fine():
    nested = b'{"model":"m","url":{"url":1,"body":"\\"body\\"","custom_id":2},"tools":[{"model":1}]}'
    line = parse_line(b'{"custom_id":"a","body":' + nested + b',"metadata":{"url":1,"body":2}}', 1)
    assert line.body == nested


def test_columns_are_found_again_for_what_is_wrong_with_a_body():
    line = parse_line('{"custom_id":"ü","url":"/x","body":{"model":1,"n":{"model":2}}}'.encode(), 1)
    assert line.raw[line.column("url") - 1 :].startswith(b'"/x"')
    assert line.raw[line.body_column("model") - 1 :].startswith(b"1,")
    assert line.raw[line.body_column("n") - 1 :].startswith(b'{"model":2}')
    assert line.raw[line.body_column("absent") - 1 :].startswith(b'{"model":1')
    assert line.body_column(None) == line.body_column("absent")
    bare = parse_line(b' {"input":[""]}', 1)
    assert (bare.body_column("input"), bare.body_column(None)) == (11, 2)


# ------------------------------------------------------------------------------------------------------------ bad lines

TAGS_17 = json.dumps(dict.fromkeys("abcdefghijklmnopq", "")).encode()
DEFECTS = {
    "a comma too many in an object": (b'{"a":1 , }', 8, "comma with nothing after"),
    "a comma too many in an array": (b'{"a":[1,]}', 8, "comma with nothing after"),
    "single quotes": (b"{'a':1}", 2, "double quotes"),
    "a cut line": (b'{"a":"once upon', 6, "never ends"),
    "an open object": (b'{"a":{"b":1}', 13, "comma"),
    "a missing colon": (b'{"a" 1}', 6, "colon"),
    "a word of Python": (b'{"a":None}', 6, "null"),
    "a second object": (b'{"a":1} {"b":2}', 9, "after the end"),
    "an array": (b"[1]", 1, "object"),
    "a string": (b' "x"', 2, "object"),
    "a number": (b"12", 1, "object"),
    "a leading zero": (b'{"a":01}', 7, "comma"),
    "an unknown escape": (b'{"a":"\\x"}', 7, "escape"),
    "a broken unicode escape": (b'{"a":"\\u12G4"}', 8, "hexadecimal"),
    "a raw tab in a string": (b'{"a":"x\ty"}', 8, "control character"),
    "a raw NUL": (b'{"a":"\x00"}', 7, "control character"),
    "columns count bytes": ('{"ä🙂":x}'.encode(), 11, "value"),
    "a byte order mark inside the file": (b'\xef\xbb\xbf{"a":1}', 1, "byte order mark"),
    "Latin-1": (b'{"a":"caf\xe9"}', 10, "0xe9"),
    "overlong UTF-8": (b'{"a":"\xc0\x80"}', 7, "0xc0"),
    "a surrogate in raw bytes": (b'{"a":"\xed\xa0\x80"}', 7, "0xed"),
    "a high surrogate alone": (b'{"a":"x\\ud83d y"}', 8, "surrogate"),
    "a low surrogate first": (b'{"a":"\\udc00\\ud800"}', 7, "surrogate"),
    "two halves that do not touch": (b'{"a":"\\ud83d \\ude00"}', 7, "surrogate"),
    "a high surrogate and an escape": (b'{"a":"\\ud800\\n"}', 7, "surrogate"),
    "a surrogate in a key": (b'{"b":1,"\\ud800":1}', 9, "surrogate"),
    "NaN": (b'{"NaN":NaN}', 8, "NaN"),
    "Infinity": (b'{"a":[1,-Infinity]}', 9, "Infinity"),
    "1e999": (b'{"1e999":1e999}', 10, "too large"),
    "a float of 400 digits": (b'{"a":' + b"1" * 400 + b".0}", 6, "too large"),
    "101 levels": (b'{"a":"[[{","b":' + b"[" * 100 + b"]" * 100 + b"}", 115, "deeper than 100"),
    "100,000 levels": (b'{"a":' + b"[" * 100_000 + b"}", 105, "deeper than 100"),
    "custom_id twice": (b'{"custom_id":"a","custom_id":"b","body":{}}', 18, '"custom_id" appears twice'),
    "url twice": (b'{"url":"/a","url":"/b","body":{}}', 13, '"url" appears twice'),
    "method twice": (b'{"method":"POST","body":{},"method":"POST"}', 28, '"method" appears twice'),
    "body twice": (b'{"body":{"model":"a"},"body":{"model":"b"}}', 23, '"body" appears twice'),
    "the same body twice": (b'{"body":{},"body":{}}', 12, '"body" appears twice'),
    "metadata twice": (b'{"body":{},"metadata":{},"metadata":{}}', 26, '"metadata" appears twice'),
    "model twice": (b'{"body":{"model":"a","n":{"model":1},"model":"b"}}', 38, '"model" appears twice'),
    "model twice in a bare body": (b'{"model":"a","model":"b"}', 14, '"model" appears twice'),
    "model once more as an escape": (b'{"body":{"model":"a","mo\\u0064el":"b"}}', 22, '"model" appears twice'),
    "url once more as an escape": (b'{"url":"/a","body":{},"\\u0075rl":"/b"}', 23, '"url" appears twice'),
    "custom_id is a number": (b'{"custom_id":17,"body":{}}', 14, "must be a string"),
    "custom_id is null": (b'{"custom_id": null,"body":{}}', 15, "must be a string"),
    "custom_id is empty": (b'{"custom_id":"","body":{}}', 14, "1 to 512"),
    "custom_id has 513 characters": (b'{"custom_id":"' + b"x" * 513 + b'","body":{}}', 14, "1 to 512"),
    "custom_id has a control character": (b'{"custom_id":"a\\u001b[2J","body":{}}', 14, "control"),
    "custom_id has a line separator": ('{"custom_id":"a\u2028b","body":{}}'.encode(), 14, "control"),
    "custom_id without a body": (b'{"model":"m","custom_id":"a"}', 26, 'needs a "body"'),
    "url without a body": (b'{"url":"/v1/completions"}', 8, 'needs a "body"'),
    "body is text": (b'{"custom_id":"a","body":"Hi"}', 25, "object"),
    "body is null": (b'{"body":null}', 9, "object"),
    "method DELETE": (b'{"method":"DELETE","body":{}}', 11, "POST"),
    "method FILE": (b'{"method":"FILE","body":{}}', 11, "POST"),
    "method post": (b'{"method":"post","body":{}}', 11, "POST"),
    "url is a number": (b'{"url":1,"body":{}}', 8, "string"),
    "metadata is a list": (b'{"body":{},"metadata":[]}', 23, "object"),
    "tags are a list": (b'{"body":{},"metadata":{"tags":["a=b"]}}', 31, "strings"),
    "a tag is a number": (b'{"body":{},"metadata":{"tags":{"a":"b","c":7}}}', 44, "string"),
    "a tag without a name": (b'{"body":{},"metadata":{"tags":{"":"b"}}}', 35, "name"),
    "a tag with a control character": (b'{"body":{},"metadata":{"tags":{"a":"\\n"}}}', 36, "control"),
    "17 tags": (b'{"body":{},"metadata":{"tags":%b}}' % TAGS_17, 31, "16"),
    "priority is text": (b'{"body":{},"metadata":{"priority":"high"}}', 35, "whole number"),
    "priority is true": (b'{"body":{},"metadata":{"priority":true}}', 35, "whole number"),
    "priority 1001": (b'{"body":{},"metadata":{"priority":1001}}', 35, "whole number"),
}  # fmt: skip


@pytest.mark.parametrize("defect", DEFECTS)
def test_f1_a_bad_line_is_reported_with_its_column_and_reason(defect):
    line, column, words = DEFECTS[defect]
    found, reason = problem(line)
    assert found == column
    assert words in reason


def test_f10_a_body_that_is_found_earlier_in_its_own_line_hides_no_second_key():
    # The bytes of the body stand in the metadata as well: cutting out the wrong ones must not lose a key.
    line = b'{"metadata":{"x":{}},"url":"/a","body":{},"url":"/b"}'
    assert problem(line) == (43, '"url" appears twice in one object')


# ---------------------------------------------------------------------------------------------------------- whole files


def test_a_file_gives_good_lines_and_problems_in_order(tmp_path):
    path = tmp_path / "job.jsonl"
    path.write_bytes(GOOD + b"\r\n\r\n   \n{bad}\n" + BODY + b"\n" + BODY)
    good, bad, first, second = read(path)
    assert good.custom_id == "good"
    assert bad == Problem(4, 2, "invalid JSON: a key in double quotes was expected")
    assert (first.number, second.number) == (5, 6)
    assert first.custom_id.removesuffix("-1") == second.custom_id.removesuffix("-2")


@pytest.mark.parametrize("content", [b"\n", b" \t\r\n\n", b"\xef\xbb\xbf"])
def test_f4_a_file_without_rows_is_refused(tmp_path, content):
    path = tmp_path / "job.jsonl"
    path.write_bytes(content)
    with pytest.raises(InputError, match="no rows"):
        read(path)


def test_f5_a_line_over_the_cap_ends_the_reading_and_says_where(tmp_path):
    path = tmp_path / "job.jsonl"
    path.write_bytes(GOOD + b"\n\n" + b"x" * 101 + b"\n" + GOOD + b"\n")
    good, long = read(path, cap=100)
    assert good.number == 1
    assert long == Problem(3, 101, "longer than 100 bytes; nothing after this line was read")


def test_f5_a_line_of_just_the_cap_is_fine(tmp_path):
    path = tmp_path / "job.jsonl"
    path.write_bytes(GOOD + b"\r\n" + GOOD)
    assert [line.body for line in read(path, cap=len(GOOD) + 1)] == [b'{"model":"m","prompt":"Hi"}'] * 2


BROKEN = {
    2: (81, "comma"),
    3: (2, "double quotes"),
    4: (70, "never ends"),
    5: (126, "after the end"),
    6: (1, "object"),
    7: (1, "object"),
    9: (94, "NaN"),
    10: (91, "too large"),
    11: (83, "surrogate"),
    12: (74, "0xe9"),
    13: (72, "control"),
    14: (81, "null"),
    17: (22, "twice"),
    18: (79, "twice"),
    19: (174, "100 levels"),
    20: (14, "string"),
    21: (14, "512"),
    22: (14, "control"),
    23: (36, "object"),
    24: (38, "POST"),
    25: (38, "string"),
    26: (14, "body"),
    27: (149, "priority"),
    28: (148, "tag"),
}


def test_f1_the_broken_job_file_is_reported_line_by_line(repository):
    found = {each.line: each for each in read(repository / "jobs" / "broken.jsonl") if isinstance(each, Problem)}
    assert {line: problem.column for line, problem in found.items()} == {line: at for line, (at, _) in BROKEN.items()}
    assert all(words in found[line].reason for line, (_, words) in BROKEN.items())


@pytest.mark.parametrize(("name", "rows"), [("quickstart", 200), ("embeddings", 100), ("rate_limited", 300)])
def test_the_job_files_that_come_along_are_sound(repository, name, rows):
    lines = read(repository / "jobs" / f"{name}.jsonl")
    assert len(lines) == rows
    assert not [line for line in lines if isinstance(line, Problem)]
    assert len({line.custom_id for line in lines}) == rows
    assert len({line.body for line in lines}) == rows


def test_the_quickstart_mixes_shapes_and_models(repository):
    lines = read(repository / "jobs" / "quickstart.jsonl")
    shapes = [line.url is not None or 2 * (line.raw != line.body) for line in lines]
    assert all(shapes.count(shape) > 20 for shape in (True, 2, 0))
    assert len({json.loads(line.body)["model"] for line in lines}) == 6
    assert sum(bool(line.tags) for line in lines) > 40


# ------------------------------------------------------------------------------------------------------------- any line

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)
BODIES = st.dictionaries(
    st.text(max_size=8).filter(lambda key: key not in ("body", "custom_id", "method", "url")), VALUES
)
STYLES = st.sampled_from([(",", ":"), (", ", ": "), (" ,\t", " :  ")])


@given(BODIES, STYLES, st.booleans(), st.sampled_from(["bare", "short", "full", "meta"]))
def test_f8_a_body_comes_out_byte_for_byte(body, style, ascii_only, shape):
    text = json.dumps(body, separators=style, ensure_ascii=ascii_only).encode()
    frames = {
        "bare": b"%b",
        "short": b'{"custom_id":"a","body":%b}',
        "full": b'{"custom_id": "a", "method": "POST", "url": "/v1/x", "body": %b}',
        "meta": b'{"body":%b ,"metadata":{"tags":{"body":"url"}},"x":{"url":[{}]}}',
    }
    assert parse_line(frames[shape] % text, 1).body == text


RICH = rb'{"custom_id": "a", "body": {"n": 1.5e3, "s": "a\u00e9\n \ud83d\ude00"}, "metadata": {"tags": {"a": "b"}}}'
BASES = [FULL, RICH, '{"model":"m","messages":[{"role":"user","content":"日本 \u2028 x"}],"metadata":{}}'.encode()]
MARKS = [b'"', b"\\", b"{", b"}", b"[", b",", b":", b"-", b"0", b" ", b"\r", b"\x00", b"\xff", b"\\ud800", b"\\u006d"]
TOKENS = [
    b"1e999",
    b"NaN",
    b"9" * 5000,
    b"[" * 120,
    b'"model":1,',
    b'"url":"x",',
    b'"body":{},',
    b'"metadata":{"tags":1},',
]
PIECES = st.sampled_from(MARKS + TOKENS) | st.binary(max_size=3)
EDITS = st.lists(st.tuples(st.integers(0, 200), st.integers(0, 6), PIECES), min_size=1, max_size=4)


def taken_or_refused(line):
    try:
        return parse_line(line, 1), None
    except LineProblem as problem:
        return None, problem


@given(st.sampled_from(BASES), EDITS)
def test_whatever_is_done_to_a_line_it_is_taken_or_refused_with_a_column(line, edits):
    for at, cut, piece in edits:
        line = line[:at] + piece + line[at + cut :]
    taken, refused = taken_or_refused(line)
    if taken is None:
        assert 1 <= refused.column <= len(line) + 1
    else:
        # The fast parser took it: the slow one, which goes by the letter, must have nothing against it.
        strict(line)
        assert taken.body in line
        assert isinstance(json.loads(taken.body, parse_int=str), dict)


def long_way(line):
    with patch.object(jobfile, "_four", lambda *_: None):
        return taken_or_refused(line)


MEMBERS = [
    b'"url":"x",',
    b'"body":{},',
    b'"custom_id":"b",',
    b'"model":"x",',
    b'"\\u0075rl":"x",',
    b'"mod\\u0065l":"x",',
]
MEMBERS += [b'"x":%b,' % value for value in (b"1", b"1e999", b"NaN", b'"\xff"', b'"\\ud800"', b"[,]")]
PLACES = [FULL.index(before) + len(before) for before in (b"{", b'"a",', b'"POST",', b'"body":{')]
ADDED = st.lists(st.tuples(st.sampled_from(PLACES), st.just(0), st.sampled_from(MEMBERS)), min_size=1, max_size=2)


@given(
    st.sampled_from([FULL, FULL.replace(b'"a"', b'"a\\u00e9"'), b'{"body":{"model":"m"},' + FULL[1:]]), EDITS | ADDED
)
def test_the_short_way_takes_nothing_that_the_long_way_would_not_take_in_the_same_way(line, edits):
    for at, cut, piece in edits:
        line = line[:at] + piece + line[at + cut :]
    short, long = taken_or_refused(line), long_way(line)
    assert short[0] == long[0]
    assert (short[1] is None) == (long[1] is None)


@pytest.mark.parametrize("value", [b"1e999", b"NaN", b'"\xff"', b'"\\ud800"', b"[,]"])
def test_the_short_way_looks_at_every_value_of_a_body(value):
    with pytest.raises(LineProblem):
        parse_line(FULL.replace(b'"Hi"', value), 1)

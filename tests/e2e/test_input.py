"""Bad input through the real command line: every bad line named, nothing stored, nothing sent, nothing half done."""

import gzip
import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from batchrunner.cli import main
from tests.canary import CANARY_KEY
from tests.e2e.conftest import Start
from tests.e2e.place import ROOT, Box, boxed, chat, chats, quiet

JSON = "invalid JSON: "
CAPPED = 20
BROKEN: list[tuple[int, bytes, str]] = [
    (2, b",}}", JSON + "a comma with nothing after it"),
    (3, b"'custom_id'", JSON + "a key in double quotes was expected"),
    (4, b'"Once', JSON + "a string begins here and never ends"),
    (5, b'{"custom_id":"second"', JSON + "text after the end of the JSON object"),
    (6, b"[", "a line must be a JSON object"),
    (7, b'"a string"', "a line must be a JSON object"),
    (9, b"NaN", "NaN is not JSON"),
    (10, b"1e999", "a number too large for any parser"),
    (11, b"\\ud83d", "half of a surrogate pair: it can't be sent as UTF-8"),
    (12, b"\xe9", "not UTF-8: byte 0xe9"),
    (13, b"\t", JSON + "a raw control character inside a string; JSON wants it escaped"),
    (14, b"None", JSON + "a value was expected; text needs double quotes, and it is null, true, false"),
    (17, b'"custom_id":"second"', '"custom_id" appears twice in one object'),
    (18, b'"model":"openai/gpt-oss-120b"', '"model" appears twice in one object'),
    (19, b"", "nested deeper than 100 levels"),
    (20, b"17", '"custom_id" must be a string'),
    (21, b'""', '"custom_id" must have 1 to 512 characters, not 0'),
    (22, b'"bell', '"custom_id" holds control characters'),
    (23, b'"Hi"', '"body" must be a JSON object'),
    (24, b'"DELETE"', '"method" must be "POST": nothing else is sent'),
]
"""Line, the bytes at which its fault begins, and what is wrong; the 20 that are shown of the 28 that there are."""


@pytest.mark.slow
def test_f1_each_bad_line_is_named_by_file_line_column_and_reason_before_anything_is_sent(at: Start) -> None:
    place = at()
    path = place.folder / "broken.jsonl"
    path.write_bytes((ROOT / "jobs" / "broken.jsonl").read_bytes())
    lines = path.read_bytes().split(b"\n")
    expected = [
        f"{path}:{number}:{column_of(lines[number - 1], needle)}: {reason}" for number, needle, reason in BROKEN
    ]
    ended = place.run(*place.job(file="broken.jsonl"))

    assert ended.code == 5
    assert ended.err.splitlines() == [
        *expected,
        f"... and {28 - CAPPED} more",
        f"error: {path}: 28 bad lines; nothing was stored, nothing was sent",
        "  try: mend the lines above and run the same command again",
    ]
    assert ended.out == ""
    assert place.box.calls() == []
    for name in ("jobs", "requests", "bodies", "attempts", "counts", "totals"):
        assert place.rows(f"SELECT count(*) FROM {name}") == [(0,)], name
    assert place.lines() == []
    assert not (place.folder / "out.jsonl").exists()


def column_of(line: bytes, needle: bytes) -> int:
    """Where a fault stands; without a needle, where the 101st bracket opens."""
    if needle:
        return line.index(needle) + 1
    return [place for place, byte in enumerate(line, 1) if byte in b"[{"][100]


GOOD = json.dumps(chat("good", "Say yes.")).encode() + b"\n"
BODY = b'{"model":"m","messages":[{"role":"user","content":"Hi"}]}'


def line(**changed: object) -> bytes:
    """The good line with some of its keys changed."""
    return json.dumps({**chat("bad", "Hi"), **changed}).encode() + b"\n"


def body(**changed: object) -> bytes:
    given = chat("bad", "Hi")
    return line(body={**given["body"], **changed})


Make = Callable[[Path], Path]


def content(data: bytes, name: str = "job.jsonl") -> Make:
    def make(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(data)
        return path

    return make


def raw(second: bytes) -> Make:
    """A file whose second line is this."""
    return content(GOOD + second + b"\n")


def endless(folder: Path) -> Path:
    """A line of 33 MiB that never ends: one byte more than the cap is enough, and takes no disk."""
    path = folder / "endless.jsonl"
    with path.open("wb") as file:
        file.write(GOOD + b'{"custom_id":"endless","body":{"x":"')
        file.truncate(33 << 20)
    return path


def folder_as_file(folder: Path) -> Path:
    path = folder / "folder.jsonl"
    path.mkdir()
    return path


def fifo(folder: Path) -> Path:
    path = folder / "fifo.jsonl"
    os.mkfifo(path)
    return path


def looping_link(folder: Path) -> Path:
    path = folder / "loop.jsonl"
    path.symlink_to(path)
    return path


HOSTILE_URLS = [
    "https://evil.example/v1/chat/completions",
    "//evil.example/v1/chat/completions",
    "/v1/chat/completions@evil.example",
    "@evil.example/v1/chat/completions",
    "/v1/../../evil",
    "/v1/chat/completions?key=1",
    "/v1/chat/completions#x",
    "/v1/chat%2Fcompletions",
    "\\\\evil.example\\v1",
    "/v1/chat/completions\r\nHost: evil.example",
    " /v1/chat/completions",
    "/v1/fine_tuning/jobs",
    "/V1/CHAT/COMPLETIONS",
    "",
]

BAD: dict[str, tuple[Make, str]] = {
    "F2 bytes that are not UTF-8": (raw(b'{"custom_id":"\xff","body":%b}' % BODY), ":2:15: not UTF-8: byte 0xff"),
    "F2 an overlong slash": (raw(b'{"custom_id":"\xc0\xaf","body":%b}' % BODY), ":2:15: not UTF-8: byte 0xc0"),
    "F2 UTF-16": (content(GOOD.decode().encode("utf-16")), ":1:1: it is UTF-16, not UTF-8"),
    "F2 UTF-16 without a mark": (content(GOOD.decode().encode("utf-16-be")), ":1:1: it is UTF-16, not UTF-8"),
    "F2 a mark in the middle": (raw(b"\xef\xbb\xbf" + GOOD), ":2:1: "),
    "F5 an endless line": (endless, f":2:{(32 << 20) + 1}: longer than 33,554,432 bytes"),
    "F6 a NUL": (raw(b'{"custom_id":"a\0b","body":%b}' % BODY), ":2:16: "),
    "F6 NUL alone": (raw(b"\0"), ":2:1: "),
    "F8 NaN": (raw(b'{"body":{"model":"m","prompt":"x","top_p":NaN}}'), ":2:43: NaN is not JSON"),
    "F8 minus Infinity": (
        raw(b'{"body":{"model":"m","prompt":"x","top_p":-Infinity}}'),
        ":2:43: -Infinity is not JSON",
    ),
    "F8 a number that is none": (raw(b'{"body":{"model":"m","prompt":"x","n":1e400}}'), ":2:39: a number too large"),
    "F9 depth": (raw(b"[" * 100_000), ":2:101: nested deeper than 100 levels"),
    "F10 a key twice": (raw(b'{"url":"/v1/completions","url":"x","body":%b}' % BODY), ':2:26: "url" appears twice'),
    "F10 a hidden key twice": (
        raw(b'{"body":{"model":"m","\\u006dodel":"dear","prompt":"x"}}'),
        ':2:22: "model" appears twice',
    ),
    "F11 an id twice": (content(GOOD + GOOD), ':2:1: custom_id "good" was used on line 1 already'),
    "F12 an id that is a number": (content(line(custom_id=17)), ':1:15: "custom_id" must be a string'),
    "F12 an id that is an object": (content(line(custom_id={})), ':1:15: "custom_id" must be a string'),
    "F12 an empty id": (content(line(custom_id="")), ':1:15: "custom_id" must have 1 to 512 characters'),
    "F12 an id of 10 KB": (content(line(custom_id="x" * 10_240)), ':1:15: "custom_id" must have 1 to 512 characters'),
    "F12 an id that steers terminals": (content(line(custom_id="\x1b]0;x\x07")), ':1:15: "custom_id" holds control'),
    "F7 half a surrogate pair": (raw(b'{"body":{"model":"m","prompt":"\\udc00"}}'), ":2:32: half of a surrogate pair"),
    "F1 an array": (content(b"[1]\n"), ":1:1: a line must be a JSON object"),
    "F1 text after the object": (content(GOOD.strip() + b" x\n"), f":1:{len(GOOD) + 1}: invalid JSON: text after"),
    "F18 method DELETE": (content(line(method="DELETE")), '"method" must be "POST"'),
    "F18 stream": (content(body(stream="yes")), "stream"),
    "F18 no model": (content(body(model=None)), "model"),
    "F18 a model that is a list": (content(body(model=["m"])), "model"),
    "F18 no messages": (content(body(messages=[])), "messages"),
    "F18 a bound that is text": (content(body(max_tokens="many")), "max_tokens"),
    "F18 a negative bound": (content(body(max_tokens=-1)), "max_tokens"),
    "F18 no endpoint to be told": (content(b'{"custom_id":"a","body":{"model":"m","text":"x"}}\n'), 'no "url"'),
    "F19 an odd priority": (content(line(metadata={"priority": "high"})), '"metadata.priority" must be'),
    "F19 an odd tag": (content(line(metadata={"tags": {"team": 7}})), "a tag's value is a string"),
    "F15 a folder": (folder_as_file, "is a folder, not a regular file"),
    "F15 a pipe that nobody writes to": (fifo, "is a pipe, not a regular file"),
    "F15 a device": (lambda _: Path("/dev/zero"), "is a device, not a regular file"),
    "F15 a link to itself": (looping_link, "Too many levels of symbolic links"),
    "F4 an empty file": (content(b""), "has no rows"),
    "F4 blank lines only": (content(b"\n  \n\r\n"), "has no rows"),
    "F16 a gzip file cut off": (content(gzip.compress(GOOD * 50)[:-20], "cut.jsonl.gz"), "cut.jsonl.gz"),
    "F16 a gzip file that is none": (content(GOOD, "plain.jsonl.gz"), "plain.jsonl.gz"),
    "F16 gzip without its suffix": (
        content(gzip.compress(GOOD)),
        "compressed with gzip, but its name does not end in .gz",
    ),
    "F16 a gzip bomb": (
        content(gzip.compress(GOOD + b"x" * (16 << 20)), "bomb.jsonl.gz"),
        "it looks like a decompression bomb",
    ),
    **{f"F18 S1 url {url!r}": (content(GOOD + line(url=url)), ":2:29: `url`") for url in HOSTILE_URLS},
}


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    with boxed() as found:
        yield found


def run(path: Path, folder: Path, box: Box) -> Result:
    env = {"TOGETHER_API_KEY": CANARY_KEY, "TOGETHER_BASE_URL": f"{box.url}/v1"}
    words = ["run", str(path), "-o", str(folder / "out.jsonl"), "--db", str(folder / "q.db"), "--yes"]
    return CliRunner().invoke(main, words, env=env)


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(BAD))
def test_f1_to_f19_bad_input_is_refused_with_its_place_and_nothing_is_kept(kind: str, tmp_path: Path, box: Box) -> None:
    make, said = BAD[kind]
    path = make(tmp_path)
    result = run(path, tmp_path, box)

    assert result.exit_code == 5, result.stderr
    assert said in result.stderr
    assert "  try: " in result.stderr or "error: " in result.stderr
    assert quiet(result.stderr)
    assert result.stdout == ""
    assert box.calls() == []
    assert not (tmp_path / "out.jsonl").exists()
    with closing(sqlite3.connect(f"file:{tmp_path / 'q.db'}?mode=ro", uri=True)) as database:
        for name in ("jobs", "requests", "bodies", "attempts"):
            assert database.execute(f"SELECT count(*) FROM {name}").fetchone() == (0,), name


def test_f2_f3_a_byte_order_mark_at_the_start_and_odd_line_ends_are_fine(tmp_path: Path) -> None:
    path = tmp_path / "job.jsonl"
    separators = json.dumps(chat("odd", "a\u2028b\u0085c\x0bd\x0ce"), ensure_ascii=False).replace("\x0b", "\\u000b")
    lines = [json.dumps(row) for row in chats(3)]
    path.write_bytes(b"\xef\xbb\xbf" + ("\r\n".join(lines) + "\n\n" + separators.replace("\x0c", "\\f")).encode())
    with boxed() as own:
        result = run(path, tmp_path, own)
        assert result.exit_code == 0, result.stderr
        assert len(own.calls()) == 4


def test_a_file_that_is_not_there_is_said_to_be_missing(tmp_path: Path, box: Box) -> None:
    result = run(tmp_path / "nowhere.jsonl", tmp_path, box)
    assert result.exit_code == 5, result.stderr
    assert f"can't open {tmp_path / 'nowhere.jsonl'}: No such file or directory" in result.stderr
    assert quiet(result.stderr)
    assert box.calls() == []

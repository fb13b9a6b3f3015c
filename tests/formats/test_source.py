"""Opening job files: what is taken, what is refused, and that nobody changes them under us."""

import gzip
import hashlib
import io
import os
import socket
import subprocess
import sys
import zlib

import pytest

from batchrunner.core.errors import InputError, Problem
from batchrunner.formats.inflate import inflate
from batchrunner.formats.jobfile import iter_lines
from batchrunner.formats.source import fingerprint, open_source
from tests.formats.lines import GOOD, read


def write(path, content):
    path.write_bytes(content)
    return path


def refused(path, **options):
    with pytest.raises(InputError) as caught, open_source(path, **options) as source:
        list(iter_lines(source))
    return caught.value


# ------------------------------------------------------------------------------------------------------- what is a file


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null", "/proc", "/proc/self/environ", "/nowhere/at/all"])
def test_f15_what_is_no_regular_file_with_rows_is_refused(path):
    assert path in refused(path).message


def test_f15_a_pipe_without_a_writer_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.jsonl")
    assert "a pipe, not a regular file" in refused(tmp_path / "pipe.jsonl").message


def test_f15_a_socket_is_refused(tmp_path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        assert "socket" in refused(tmp_path / "s").message


def test_f15_a_folder_is_refused_with_what_to_do(tmp_path):
    error = refused(tmp_path)
    assert "is a folder" in error.message
    assert "standard input" in error.hint


def test_f15_a_link_to_a_file_is_followed(tmp_path):
    write(tmp_path / "real.jsonl", GOOD)
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "real.jsonl")
    assert len(read(tmp_path / "link.jsonl")) == 1


def test_f4_an_empty_file_has_no_rows(tmp_path):
    assert "no rows" in refused(write(tmp_path / "a.jsonl", b"")).message


FOREIGN = {
    "UTF-16 with a mark": ('{"a":1}'.encode("utf-16"), "UTF-16"),
    "UTF-16 without one": ('{"a":1}'.encode("utf-16-le"), "UTF-16"),
    "big-endian UTF-16": ('{"a":1}'.encode("utf-16-be"), "UTF-16"),
    "gzip under another name": (gzip.compress(GOOD), ".gz"),
    "Parquet": (b"PAR1\x15\x04", "Parquet"),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_f2_another_format_is_named_and_not_reported_line_by_line(tmp_path, kind):
    content, words = FOREIGN[kind]
    error = refused(write(tmp_path / "a.jsonl", content))
    assert words in error.message
    assert error.problems == (Problem(1, 1, error.problems[0].reason),)


def test_f2_one_byte_order_mark_at_the_start_is_skipped_and_not_counted_in_columns(tmp_path):
    first, second = read(write(tmp_path / "a.jsonl", b"\xef\xbb\xbf" + GOOD + b"\n\xef\xbb\xbf" + GOOD))
    assert first.raw == GOOD
    assert second == Problem(2, 1, "invalid JSON: a byte order mark, which may stand at the start of the file only")
    assert read(write(tmp_path / "b.jsonl", b"\xef\xbb\xbfx"))[0].column == 1


def test_f3_only_newlines_end_a_line(tmp_path):
    text = '{"prompt":"a\u2028b\u2029c\u0085d","x":"\\u000b"}'.encode()
    lone = b'{"prompt":\r"e"\r}'
    lines = read(write(tmp_path / "a.jsonl", text + b"\n" + lone + b"\r\n" + text))
    assert [line.raw for line in lines] == [line.body for line in lines] == [text, lone, text]


def test_f3_lines_that_lie_across_chunks_stay_whole(tmp_path):
    lines = [b'{"prompt":"%b"}' % (b"%d " % n * (n * 997 % 50_000)) for n in range(60)]
    assert sum(map(len, lines)) > 2 << 20
    found = read(write(tmp_path / "a.jsonl", b"\n".join(lines)))
    assert [line.body for line in found] == lines


# ------------------------------------------------------------------------------------------------------------ who it is


def test_f13_the_fingerprint_is_of_the_bytes_on_the_disk(tmp_path):
    packed = gzip.compress(GOOD * 10)
    path = write(tmp_path / "a.jsonl.gz", packed)
    found = fingerprint(path)
    assert found.sha256 == hashlib.sha256(packed).hexdigest()
    assert (found.path, found.size, found.mtime_ns) == (str(path), len(packed), path.stat().st_mtime_ns)


def test_reading_gives_the_same_fingerprint_as_hashing_alone(tmp_path):
    path = write(tmp_path / "a.jsonl", b"\xef\xbb\xbf" + GOOD)
    with open_source(path) as source:
        list(iter_lines(source))
        assert source.fingerprint() == fingerprint(path)


def grow(path):
    with path.open("ab") as file:
        file.write(GOOD)


def rewrite(path):
    path.write_bytes(path.read_bytes().replace(b"Hi", b"Ho"))


def shrink(path):
    os.truncate(path, 2_000_000)


def touch(path):
    os.utime(path, ns=(1, 1))


@pytest.mark.slow
@pytest.mark.parametrize("change", [grow, shrink, rewrite, touch])
def test_f14_a_file_that_changes_while_it_is_read_is_refused(tmp_path, change):
    path = write(tmp_path / "a.jsonl", (GOOD + b"\n") * 50_000)
    with open_source(path) as source:
        lines = iter_lines(source)
        next(lines)
        change(path)
        with pytest.raises(InputError, match="changed while it was read"):
            list(lines)


def test_f14_a_file_that_changes_between_two_readings_is_refused_even_with_its_old_time(tmp_path):
    path = write(tmp_path / "a.jsonl", GOOD)
    before = path.stat()
    with open_source(path) as source:
        source.fingerprint()
        path.write_bytes(GOOD.replace(b"Hi", b"Ho"))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        with pytest.raises(InputError, match="changed"):
            list(iter_lines(source))


# ------------------------------------------------------------------------------------------------------- standard input


def test_f15_standard_input_is_kept_and_can_be_read_twice():
    content = GOOD + b"\n" + GOOD
    with open_source("-", stdin=io.BytesIO(content)) as source:
        assert source.fingerprint().sha256 == hashlib.sha256(content).hexdigest()
        assert (source.path, source.size) == ("-", len(content))
        assert len(list(iter_lines(source))) == len(list(iter_lines(source))) == 2


def test_f5_an_endless_line_on_standard_input_fills_no_disk():
    class Endless(io.RawIOBase):
        given = 0

        def read(self, size=-1):
            self.given += size
            return b"x" * size

    stream = Endless()
    with open_source("-", stdin=stream) as source:
        (problem,) = iter_lines(source)
    assert "longer than" in problem.reason
    assert stream.given < 40 << 20


# ----------------------------------------------------------------------------------------------------------------- gzip


def test_f16_all_members_of_a_gzip_file_are_read_and_padding_is_skipped(tmp_path):
    members = [gzip.compress(GOOD + b"\n"), gzip.compress(b""), gzip.compress(GOOD[:20]), gzip.compress(GOOD[20:])]
    lines = read(write(tmp_path / "a.jsonl.gz", b"".join(members) + b"\0" * 600))
    assert [line.raw for line in lines] == [GOOD, GOOD]


@pytest.mark.parametrize("cut", [1, 5, 9, 30])
def test_f16_a_truncated_gzip_file_is_refused(tmp_path, cut):
    assert "cut off" in refused(write(tmp_path / "a.gz", gzip.compress(GOOD * 3)[:-cut])).message


def test_f16_garbage_and_damage_in_a_gzip_file_are_refused(tmp_path):
    packed = gzip.compress(GOOD)
    assert "not a sound gzip" in refused(write(tmp_path / "a.gz", packed + b"garbage")).message
    assert "not a sound gzip" in refused(write(tmp_path / "b.gz", GOOD)).message
    assert "not a sound gzip" in refused(write(tmp_path / "c.gz", packed[:-8] + bytes(8))).message


def test_f16_s12_a_gzip_bomb_of_blank_lines_is_refused(tmp_path):
    path = write(tmp_path / "a.gz", gzip.compress((b" " * 999_999 + b"\n") * 20))
    assert path.stat().st_size < 30_000
    assert "bomb" in refused(path).message


def test_f16_what_comes_out_of_gzip_can_be_bounded(tmp_path):
    path = write(tmp_path / "a.gz", gzip.compress((GOOD + b"\n") * 1000))
    assert "bomb" in refused(path, max_bytes=10_000).message


@pytest.mark.parametrize("level", [0, 1, 9])
@pytest.mark.parametrize("chunk", [1, 7, 64, 1 << 20])
def test_gzip_comes_out_whole_whatever_the_chunks_are(level, chunk):
    content = b"".join(b"%d," % n for n in range(5000)) + b"0" * 5000
    packed = zlib.compress(content, level, wbits=31) * 2
    pieces = (packed[at : at + 100] for at in range(0, len(packed), 100))
    assert b"".join(inflate(pieces, "a.gz", chunk)) == content * 2


# --------------------------------------------------------------------------------------------------------------- memory

MEASURE = """
import resource, sys
from batchrunner.core.errors import Problem
from batchrunner.formats.jobfile import iter_lines
from batchrunner.formats.source import open_source
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
problems = 0
with open_source(sys.argv[1]) as source:
    for line in iter_lines(source):
        problems += isinstance(line, Problem)
print(problems, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def measured(path):
    """The number of problems, and the growth of memory in KiB, of a process that reads a file."""
    found = subprocess.run([sys.executable, "-c", MEASURE, path], capture_output=True, check=True, text=True)
    problems, growth = found.stdout.split()
    return int(problems), int(growth)


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss counts KiB on Linux only")
def test_f5_an_endless_line_costs_no_more_memory_than_the_cap(tmp_path):
    path = tmp_path / "a.jsonl"
    with path.open("wb") as file:
        file.truncate(512 << 20)  # sparse zeros: one line of half a gigabyte
        file.write(b'{"prompt":"')
    problems, growth = measured(path)
    assert problems == 1
    assert growth < 80 << 10


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss counts KiB on Linux only")
@pytest.mark.slow
def test_f17_memory_does_not_grow_with_the_number_of_bare_lines(tmp_path):
    growths = []
    for lines in (10_000, 200_000):
        path = tmp_path / f"{lines}.jsonl"
        with path.open("wb") as file:
            file.writelines(b'{"model":"m","prompt":"number %d"}\n' % n for n in range(lines))
        problems, growth = measured(path)
        assert problems == 0
        growths.append(growth)
    assert growths[1] - growths[0] < 4 << 10

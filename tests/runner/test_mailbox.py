"""The mailbox is a door: what comes through it, what does not, and what the dead leave behind."""

import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import given

from batchrunner.core.clock import SystemClock
from batchrunner.core.errors import ConfigurationError, DatabaseError, InputError, Problem
from batchrunner.runner import commands
from batchrunner.runner.commands import Aim, Cancel, Done, Load, Pause, Refused, Resume, Retag, Retry, Tune
from batchrunner.runner.mailbox import LARGEST, Mailbox, sweep

CLOCK = SystemClock()


@pytest.fixture
def db(folder: Path) -> Path:
    return folder / "q.db"


@pytest.fixture
def box(db: Path) -> Iterator[Mailbox]:
    with Mailbox.open(db, CLOCK) as mailbox:
        yield mailbox


def files(db: Path) -> list[str]:
    return sorted(path.name for path in Path(f"{db}.inbox").iterdir())


def test_a_command_goes_in_and_its_answer_comes_back(db: Path, box: Mailbox) -> None:
    with Mailbox.open(db, CLOCK) as sender, sender.send(b"do it") as letter:
        (taken,) = box.take()
        assert taken.data == b"do it"
        assert letter.answer() is None
        assert (letter.worked_on() or 0.0) < 5
        assert list(box.take()) == [], "a command is taken once"
        box.answer(taken, b"done")
        assert letter.answer() == b"done"
    assert files(db) == [], "both ends have cleaned up"


def test_commands_are_taken_in_the_order_in_which_they_were_sent(box: Mailbox) -> None:
    with box.send(b"1"), box.send(b"2"), box.send(b"3"):
        assert [taken.data for taken in box.take()] == [b"1", b"2", b"3"]


def test_a_command_can_be_withdrawn_until_it_is_taken(db: Path, box: Mailbox) -> None:
    with box.send(b"first") as letter:
        assert letter.withdraw()
        assert list(box.take()) == []
    with box.send(b"second") as letter:
        assert len(list(box.take())) == 1
        assert not letter.withdraw()
    with box.send(b"third"):
        pass
    assert list(box.take()) == []
    assert files(db) == []


def test_everything_is_readable_by_its_owner_only(db: Path, box: Mailbox) -> None:
    before = os.umask(0)
    try:
        with box.send(b"secret"):
            inside = list(Path(f"{db}.inbox").iterdir())
            assert [oct(path.stat().st_mode & 0o777) for path in inside] == ["0o600"]
            (taken,) = box.take()
            box.answer(taken, b"too")
            assert {oct(path.stat().st_mode & 0o777) for path in Path(f"{db}.inbox").iterdir()} == {"0o600"}
    finally:
        os.umask(before)
    assert oct(Path(f"{db}.inbox").stat().st_mode & 0o777) == "0o700"


def test_a_folder_that_others_may_enter_is_refused(db: Path) -> None:
    Path(f"{db}.inbox").mkdir()
    Path(f"{db}.inbox").chmod(0o755)
    with pytest.raises(DatabaseError, match="can't be trusted"):
        Mailbox.open(db, CLOCK)


def test_a_folder_of_somebody_else_is_refused(db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path(f"{db}.inbox").mkdir(mode=0o700)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(DatabaseError, match="somebody else"):
        Mailbox.open(db, CLOCK)


@pytest.mark.parametrize("make", ["link", "file"])
def test_what_is_no_folder_is_refused(db: Path, make: str) -> None:
    place = Path(f"{db}.inbox")
    if make == "link":
        (db.parent / "elsewhere").mkdir(mode=0o700)
        place.symlink_to(db.parent / "elsewhere")
    else:
        place.write_text("")
    with pytest.raises(DatabaseError, match="link or no folder"):
        Mailbox.open(db, CLOCK)


def test_links_pipes_sockets_and_giants_are_never_read_and_never_waited_for(db: Path, box: Mailbox) -> None:
    place, targets = Path(f"{db}.inbox"), [db.parent / "one", db.parent / "two"]
    locked = [target.open("w+b") for target in targets]
    for file in locked:
        file.write(b'{"type":"cancel","job":1}')
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)  # as a sender that lives
    (place / "1.command").symlink_to(targets[0])
    os.link(targets[1], place / "2.command")
    os.mkfifo(place / "3.command", 0o600)
    listener = socket.socket(socket.AF_UNIX)
    here = Path.cwd()
    try:
        os.chdir(place)
        listener.bind("4.command")
    finally:
        os.chdir(here)
        listener.close()
    (place / "5.command").mkdir()
    with box.send(b"x"):
        grown = next(path for path in place.iterdir() if path.name.startswith("0"))
        os.truncate(grown, LARGEST + 1)
        assert list(box.take()) == []
    for target, file in zip(targets, locked, strict=True):
        file.close()
        assert target.read_bytes() == b'{"type":"cancel","job":1}', "a link was followed"
    assert [name for name in files(db) if name != "5.command"] == []


def test_a_command_whose_sender_is_dead_is_removed_unread(db: Path, box: Mailbox) -> None:
    (Path(f"{db}.inbox") / "0-dead.command").write_bytes(b'{"type":"cancel","job":1}')
    assert list(box.take()) == []
    assert files(db) == []


def test_what_dead_runners_left_is_cleared_and_what_waits_is_not(db: Path, box: Mailbox) -> None:
    for kind in ("taken", "answer", "command"):
        (Path(f"{db}.inbox") / f"0-dead.{kind}").write_bytes(b"")
    with box.send(b"I wait"):
        box.clear()
        assert [taken.data for taken in box.take()] == [b"I wait"]
    assert files(db) == []


def test_an_answer_that_nobody_waits_for_is_not_left_lying_about(db: Path, box: Mailbox) -> None:
    with box.send(b"x"):
        (taken,) = box.take()
    box.answer(taken, b"too late")
    assert files(db) == []


def test_a_command_that_is_too_long_is_not_sent(box: Mailbox) -> None:
    with pytest.raises(ConfigurationError, match="bytes long"), box.send(b"x" * (LARGEST + 1)):
        pass


# ---- what is said in it

WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
NAME = st.one_of(st.none(), WORDS)
LIMIT = st.one_of(st.none(), st.just("auto"))
AIMS = st.lists(
    st.builds(Aim, scope=st.sampled_from(["job", "lane", "provider"]), ref=WORDS), min_size=1, max_size=3
).map(tuple)
COMMANDS = st.one_of(
    st.builds(Pause, aims=AIMS, reason=WORDS),
    st.builds(Resume, aims=st.one_of(st.none(), AIMS)),
    st.builds(Cancel, job=st.integers(0, 2**63 - 1)),
    st.builds(
        Tune, model=NAME, concurrency=LIMIT | st.integers(1, 10**6), rpm=LIMIT | st.floats(0.001, 1e12), tpm=LIMIT
    ),
    st.builds(
        Load,
        path=WORDS.filter(bool),
        provider=WORDS,
        endpoint=NAME,
        model=NAME,
        settings=st.lists(st.tuples(WORDS, WORDS), max_size=2).map(tuple),
        name=NAME,
        tags=st.lists(st.tuples(WORDS, WORDS), max_size=2).map(tuple),
        add=st.booleans(),
    ),
    st.builds(
        Retry,
        job=st.integers(0, 10),
        kinds=st.lists(WORDS, max_size=2).map(tuple),
        custom_ids=st.lists(WORDS, max_size=2).map(tuple),
        cancelled=st.booleans(),
    ),
    st.builds(
        Retag,
        job=st.integers(0, 10),
        change=st.lists(st.tuples(WORDS, st.none() | WORDS), min_size=1, max_size=3).map(tuple),
        lines=st.booleans(),
    ),
)


@given(COMMANDS)
def test_a_command_comes_out_as_it_went_in(command: commands.Command) -> None:
    assert commands.command(commands.encode(command)) == command


@given(st.one_of(st.binary(max_size=60), COMMANDS.map(commands.encode).map(lambda data: data[: len(data) // 2])))
def test_noise_is_no_command(data: bytes) -> None:
    with pytest.raises(ValueError, match="not a message of ours"):
        commands.command(data)


@pytest.mark.parametrize(
    "message",
    [
        {"type": "load", "path": "/a", "provider": "p", "base_url": "http://elsewhere"},
        {"type": "load", "path": "/a", "provider": "p", "api_key": "k"},
        {"type": "load", "path": "", "provider": "p"},
        {"type": "pause", "aims": [{"scope": "everything", "ref": "x"}]},
        {"type": "pause", "aims": []},
        {"type": "cancel", "job": "1"},
        {"type": "cancel"},
        {"type": "tune", "concurrency": 0},
        {"type": "tune", "rpm": -1},
        {"type": "tune", "tpm": "many"},
        {"type": "eval", "code": "1"},
        ["cancel", 1],
    ],
)
def test_a_command_that_says_anything_else_is_refused(message: Any) -> None:
    with pytest.raises(ValueError, match="not a message of ours"):
        commands.command(msgspec.json.encode(message))


def test_a_thousand_brackets_are_refused_and_not_followed() -> None:
    with pytest.raises(ValueError, match="not a message of ours"):
        commands.command(b'{"type":"cancel","job":' + b"[" * 100_000)


@pytest.mark.parametrize(
    "error",
    [
        InputError("a.jsonl: 1 bad line", hint="mend it", path="a.jsonl", problems=(Problem(3, 4, "no"),), count=7),
        ConfigurationError("no such job", hint="look"),
        DatabaseError("the disk is full"),
    ],
)
def test_an_error_arrives_as_it_was_raised(error: Any) -> None:
    answer = commands.answer(commands.encode(Refused.of(error)))
    assert isinstance(answer, Refused)
    arrived = answer.error()
    assert type(arrived) is type(error)
    assert vars(arrived) == vars(error)


def test_done_arrives_as_it_was_said() -> None:
    done = Done(rows=5, air=3, live=True, lanes=("together m",), concurrency=8)
    assert commands.answer(commands.encode(done)) == done


def test_a_mailbox_of_the_dead_goes_and_one_that_is_waited_at_or_open_to_others_stays(db: Path) -> None:
    sweep(db, CLOCK)
    assert not Path(f"{db}.inbox").exists(), "none is made to be swept"
    with Mailbox.open(db, CLOCK) as sender:
        Path(f"{db}.inbox", "1.taken").write_bytes(b"by a runner that died")
        with sender.send(b"do it"):
            sweep(db, CLOCK)
            assert len(files(db)) == 1
            assert files(db)[0].endswith(".command")
    sweep(db, CLOCK)
    assert not Path(f"{db}.inbox").exists()
    Path(f"{db}.inbox").mkdir(mode=0o755)
    sweep(db, CLOCK)
    assert Path(f"{db}.inbox").exists()

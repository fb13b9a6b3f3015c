"""Rows that refer to files: read at send time, sent in place of their references, and alone in failing for them."""

import dataclasses
import hashlib
import json
import sqlite3
from contextlib import closing

import anyio
import pytest

from batchrunner.api import attachments, check, session
from batchrunner.api.audit import audit, shown
from batchrunner.attachments.folder import AttachmentFolder
from batchrunner.core.attachments import Attached, NoAttachments
from batchrunner.core.attempt import Failure, FailureKind
from batchrunner.core.errors import ConfigurationError, InputError
from batchrunner.runner.attaching import Attaching
from batchrunner.runner.offload import InlineOffload
from batchrunner.runner.report import Interrupt
from batchrunner.runner.run import Run
from batchrunner.simulator import Settings
from batchrunner.simulator.bill import Units
from tests.media import png, wav
from tests.runner.world import MODEL, World

pytestmark = pytest.mark.usefixtures("virtual_time")

CHAT = "/v1/chat/completions"


def vision(name, custom_id=None, text="What is it?", **more):
    parts = [{"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": f"file:{name}"}}]
    body = {"model": MODEL, "messages": [{"role": "user", "content": parts}], "max_tokens": 64, **more}
    return {"custom_id": custom_id or name, "body": body}


def hearing(name, custom_id=None, path="transcriptions", **more):
    file = name if "://" in name else f"file:{name}"
    body = {"model": "openai/whisper-large-v3", "file": file, **more}
    return {"custom_id": custom_id or name, "method": "POST", "url": f"/v1/audio/{path}", "body": body}


@pytest.fixture
async def world(tmp_path):
    return World(tmp_path)


@pytest.fixture
def files(tmp_path):
    folder = tmp_path / "files"
    (folder / "photos").mkdir(parents=True)
    for n in range(5):
        (folder / "photos" / f"{n}.png").write_bytes(png(600 * (n + 1), 8, shade=n))
    (folder / "talk.wav").write_bytes(wav(2.0))
    return folder


def rows(world, query):
    with closing(sqlite3.connect(f"file:{world.folder / 'q.db'}?mode=ro", uri=True)) as connection:
        return connection.execute(query).fetchall()


async def test_pictures_are_sent_as_data_urls_and_the_queue_holds_their_names(world, files):
    path = world.file([vision(f"photos/{n}.png") for n in range(5)] + world.chats(5))
    report = await world.work(path, attachments=str(files))
    assert (report.tally.succeeded, report.tally.failed) == (10, 0)
    tokens = [entry.usage["prompt_tokens"] for entry in world.provider.ledger.entries]
    assert sum(count > 1600 for count in tokens) == 5
    assert max(tokens) > 3202, "a wide picture has two tiles"
    stored = rows(world, "SELECT max(length(data)), sum(codec = 2), sum(codec = 0) FROM bodies")
    assert stored == [(max(len(json.dumps(vision("photos/0.png")["body"])), 0), 5, 5)]


async def test_a_row_with_a_file_may_ask_for_a_stream(world, files):
    path = world.file([vision("photos/0.png", stream=True), vision("photos/1.png")])
    report = await world.work(path, attachments=str(files))
    assert (report.tally.succeeded, report.tally.attempts) == (2, 2)
    assert [entry.streamed for entry in world.provider.ledger.entries].count(True) == 1
    bodies = [json.loads(result.body) for result in world.results(path)]
    assert {body["object"] for body in bodies} == {"chat.completion"}


async def test_the_digest_of_what_was_sent_is_on_the_attempt(world, files):
    path = world.file([vision("photos/0.png"), hearing("talk.wav"), *world.chats(1)])
    await world.work(path, attachments=str(files))
    sent = {int(entry.client_request_id): entry.body_sha256[:32] for entry in world.provider.ledger.entries}
    assert dict(rows(world, "SELECT id, lower(hex(sent_digest)) FROM attempts")) == sent
    stored = {hashlib.sha256(body).hexdigest()[:32] for (body,) in rows(world, "SELECT data FROM bodies")}
    assert len(stored & set(sent.values())) == 1, "only the plain row was sent as it is stored"


async def test_a_missing_file_fails_its_row_alone_with_its_name_and_nothing_is_billed(world, files):
    path = world.file([vision(f"photos/{n}.png") for n in range(3)] + world.chats(4))
    with_all = world.loaded(attachments=str(files))
    assert with_all.settings.attachments == files
    report = await world.work(path, attachments=str(files), beside=_taking_away(files / "photos" / "1.png"))
    assert (report.tally.succeeded, report.tally.failed) == (6, 1)
    assert len(world.provider.ledger.entries) == 6
    (failed,) = [result for result in world.results(path) if result.state == "failed"]
    assert failed.custom_id == "photos/1.png"
    assert rows(world, "SELECT failure, error, billing, status, cost FROM attempts WHERE outcome = 'failure'") == [
        ("attachment", "file:photos/1.png: there is no such file", "not_billed", None, None)
    ]


def _taking_away(path):
    path_exists = path.exists

    async def beside(run: Run) -> None:
        if path_exists():
            path.unlink()

    return beside


async def test_a_row_that_failed_for_its_file_is_retried_by_that_kind(world, files):
    path = world.file([vision("photos/1.png")])
    await world.work(path, attachments=str(files), beside=_taking_away(files / "photos" / "1.png"))
    (files / "photos" / "1.png").write_bytes(png())
    with session(world.loaded()) as held:
        assert held.retry(held.load(str(path)).job, kinds=["attachment"]) == 1
    world.clock.offset += 1e9  # the retry was asked for by the clock on the wall, which is ahead of this world's
    report = await world.work(path, attachments=str(files))
    assert report.tally.succeeded == 1


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("photos/9.png", "file:photos/9.png: there is no such file"),
        ("../secret.png", "file:../secret.png: it leads out of the folder"),
        ("talk.wav", "file:talk.wav: it is audio/wav; what can be sent here is image/jpeg"),
    ],
)
async def test_a_file_that_cannot_be_sent_is_found_at_load_with_line_and_column(world, files, name, says):
    path = world.file([vision("photos/0.png"), vision(name), vision("photos/1.png")])
    settings = world.loaded(attachments=str(files)).settings
    with pytest.raises(InputError) as checked:
        check(str(path), settings.job, attachments(settings))
    with session(world.loaded(attachments=str(files))) as held, pytest.raises(InputError) as loaded:
        held.load(str(path))
    line = path.read_bytes().split(b"\n")[1]
    for caught in (checked, loaded):
        (problem,) = caught.value.problems
        assert (problem.line, problem.column) == (2, line.index(b'"file:') + 1)
        assert problem.reason.startswith(says)
    assert rows(world, "SELECT count(*) FROM requests") == [(0,)]


async def test_without_a_folder_a_job_that_refers_to_files_is_not_loaded(world, files):
    path = world.file([hearing("https://example.com/a.mp3"), vision("photos/0.png")])
    with session(world.loaded()) as held, pytest.raises(InputError) as caught:
        held.load(str(path))
    (problem,) = caught.value.problems
    assert problem.reason == (
        "file:photos/0.png: local files are off; --attachments DIR names the folder to read it from"
    )


async def test_a_run_without_a_folder_says_so_before_it_sends_anything(world, files):
    path = world.file([*world.chats(3), vision("photos/0.png")])
    with session(world.loaded(attachments=str(files))) as held:
        held.load(str(path))
    with pytest.raises(ConfigurationError, match="refer to local files") as caught:
        await world.work(path)
    assert "--attachments DIR" in (caught.value.hint or "")
    assert not world.provider.ledger.entries
    report = await world.work(path, attachments=str(files))
    assert report.tally.succeeded == 4


async def test_the_folder_is_no_part_of_the_job(world, files, tmp_path):
    path = world.file([vision("photos/0.png")])
    (tmp_path / "other").symlink_to(files)
    with session(world.loaded(attachments=str(files))) as held:
        first = held.load(str(path)).job
    with session(world.loaded(attachments=str(tmp_path / "other"))) as held:
        again = held.load(str(path))
    assert (again.job.id, again.added) == (first.id, 0)
    assert str(files) not in str(rows(world, "SELECT * FROM jobs"))


async def test_speech_goes_out_as_a_form_and_comes_back_as_text(world, files):
    world.provider.change(Settings(flavour="openai", latency=1.0))
    path = world.file(
        [
            hearing("talk.wav", "json"),
            hearing("talk.wav", "verbose", response_format="verbose_json", timestamp_granularities=["word"]),
            hearing("talk.wav", "text", response_format="text", temperature=0.2),
            hearing("talk.wav", "srt", "translations", response_format="srt"),
            hearing("talk.wav", "vtt", "translations", response_format="vtt"),
            hearing("talk.wav", "tokens", model="gpt-4o-transcribe"),
        ]
    )
    report = await world.work(path, attachments=str(files))
    assert report.tally.succeeded == 6
    out = world.folder / "out.jsonl"
    with session(world.loaded()) as held:
        job = held.load(str(path)).job
        texts = {result.custom_id: result.text for result in held.results(job)}
        held.export(job, str(out))
    lines = {line["custom_id"]: line for line in map(json.loads, out.read_bytes().splitlines())}
    bodies = {name: line["response"]["body"] for name, line in lines.items()}
    assert bodies["json"]["text"].startswith("[echo ")
    assert bodies["verbose"]["words"][0]["word"] == "[echo"
    assert bodies["text"].startswith("[echo ")
    assert bodies["srt"].startswith("1\n00:00:00,000 --> ")
    assert bodies["vtt"].startswith("WEBVTT\n")
    assert texts["json"] == bodies["json"]["text"]
    assert texts["srt"] == bodies["srt"]
    told = {name: (line["batchrunner"]["usage_from"], line["batchrunner"]["usage"]) for name, line in lines.items()}
    assert {name: source for name, (source, _) in told.items()} == {
        **dict.fromkeys(("json", "verbose", "tokens"), "provider"),
        **dict.fromkeys(("text", "srt", "vtt"), "estimated"),  # by the header of the file
    }
    assert all(usage["seconds"] == 2 for name, (_, usage) in told.items() if name != "tokens")
    assert lines["tokens"]["batchrunner"]["usage"]["input_tokens"] == 20
    assert {entry.units for entry in world.provider.ledger.entries} == {Units(milliseconds=2000)}


async def test_a_row_with_files_that_is_asked_again_sends_them_again(tmp_path, files):
    world = World(tmp_path, fault_for=lambda number, *_: "not_json" if number == 1 else None)
    path = world.file([vision("photos/0.png", response_format={"type": "json_object"}, max_tokens=900)])
    report = await world.work(path, attachments=str(files), repair=1)
    first, again = world.provider.ledger.entries
    assert (report.tally.succeeded, again.request_bytes > first.request_bytes > 64) == (1, True)
    assert rows(world, "SELECT use, patch FROM attempts ORDER BY id") == [("wasted", None), ("used", "repair:1")]
    assert b"file:" in rows(world, "SELECT again FROM bodies")[0][0], "the queue holds names, and no pictures"
    assert shown(audit(world.folder / "q.db", world.provider.ledger.entries)) == []


async def test_a_response_sends_its_local_pictures(tmp_path, files):
    world = World(tmp_path, Settings(latency=1.0, flavour="openai"))
    parts = [{"type": "input_text", "text": "What is it?"}, {"type": "input_image", "image_url": "file:photos/0.png"}]
    body = {"model": "gpt-4o-mini", "input": [{"role": "user", "content": parts}]}
    path = world.file([{"custom_id": "r", "url": "/v1/responses", "body": body}])
    report = await world.work(path, attachments=str(files))
    (entry,) = world.provider.ledger.entries
    assert (report.tally.succeeded, entry.request_bytes > len(json.dumps(body)) + 64) == (1, True)
    assert shown(audit(world.folder / "q.db", world.provider.ledger.entries)) == []


async def test_speech_costs_by_its_length_whether_the_answer_tells_it_or_not(world, files):
    path = world.file([hearing("talk.wav", form, response_format=form) for form in ("json", "verbose_json")])
    await world.work(path, attachments=str(files))
    costs = rows(world, "SELECT cost, usage_from FROM attempts ORDER BY usage_from")
    assert costs == [(50_000_000, "estimated"), (50_000_000, "provider")], "2 s of 0.0015 a minute"
    assert {entry.charge for entry in world.provider.ledger.entries} == {50_000_000}


async def test_a_url_is_sent_on_without_any_folder(world):
    path = world.file([hearing("https://example.com/a.mp3")])
    report = await world.work(path)
    assert report.tally.succeeded == 1


@pytest.mark.slow
async def test_faults_and_limits_meet_composed_rows_like_any_other(tmp_path, files):
    world = World(tmp_path, Settings(latency=0.5, faults={"500": 0.2, "429": 0.1, "reset_before": 0.1}))
    path = world.file([vision(f"photos/{n % 5}.png", f"v{n}", f"question {n}") for n in range(30)] + world.chats(30))
    report = await world.work(path, attachments=str(files), concurrency=6)
    assert report.tally.succeeded + report.tally.failed == 60
    assert report.tally.succeeded >= 55
    assert world.provider.ledger.highest_concurrency <= 6
    sent = {int(entry.client_request_id): entry.body_sha256[:32] for entry in world.provider.ledger.entries}
    kept = dict(rows(world, "SELECT id, lower(hex(sent_digest)) FROM attempts"))
    assert {number: kept[number] for number in sent} == sent


# --------------------------------------------------------------------------------------------------- room for them


class Counting:
    """Files of a stated size that are never there; counts those that are held."""

    def __init__(self, sizes):
        self.sizes = sizes
        self.reads = []

    def look(self, wanted):
        return self.sizes[wanted.name]

    def read(self, wanted):
        self.reads.append(wanted.name)
        return Attached(wanted.name, b"x", "image/png")


def body_with(*names):
    parts = [{"type": "image_url", "image_url": {"url": f"file:{name}"}} for name in names]
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": parts}]}).encode()


async def test_large_files_wait_for_room_in_their_order_and_one_too_large_goes_alone():
    files = Counting({"a": 60, "b": 60, "c": 30, "huge": 500, "d": 1})
    attaching = Attaching(files, InlineOffload(), room=100)
    ended, began = {name: anyio.Event() for name in files.sizes}, []

    async def send(name):
        async with attaching.composed(CHAT, body_with(name)) as sent:
            assert not isinstance(sent, Failure)
            began.append(name)
            await ended[name].wait()

    async with anyio.create_task_group() as group:
        for name in files.sizes:
            group.start_soon(send, name)
            await anyio.sleep(1)
        assert began == ["a"], "b does not fit, and c may not overtake it"
        ended["a"].set()
        await anyio.sleep(1)
        assert began == ["a", "b", "c"]
        ended["b"].set()
        await anyio.sleep(1)
        assert began == ["a", "b", "c"], "what is too large for the room waits until it is alone"
        ended["c"].set()
        await anyio.sleep(1)
        assert began == ["a", "b", "c", "huge"]
        ended["huge"].set()
        ended["d"].set()
    assert files.reads == began


async def test_room_is_given_back_whatever_happens():
    files = Counting({"a": 100})
    attaching = Attaching(files, InlineOffload(), room=100)
    for _ in range(3):
        with pytest.raises(KeyError):
            async with attaching.composed(CHAT, body_with("a")):
                raise KeyError
    with anyio.fail_after(1):
        async with attaching.composed(CHAT, body_with("a")) as sent:
            assert not isinstance(sent, Failure)


async def test_too_many_bytes_in_one_body_are_refused_by_name():
    files = Counting({"a": 100 * 2**20, "b": 100 * 2**20})
    async with Attaching(files, InlineOffload()).composed(CHAT, body_with("a", "b")) as sent:
        assert isinstance(sent, Failure)
        assert sent.kind is FailureKind.ATTACHMENT
        assert (
            sent.message == "file:a, file:b have 209,715,200 bytes together, and 80,000,000 are the most that is sent"
        )
    assert files.reads == []


async def test_without_a_folder_the_failure_names_the_flag():
    async with Attaching(NoAttachments(), InlineOffload()).composed(CHAT, body_with("a.png")) as sent:
        assert isinstance(sent, Failure)
        assert "--attachments DIR" in sent.message


async def test_what_is_composed_is_the_same_each_time(files):
    attaching = Attaching(AttachmentFolder(files), InlineOffload())
    made = []
    for _ in range(2):
        async with attaching.composed(CHAT, body_with("photos/0.png", "photos/1.png")) as sent:
            made.append(sent)
    assert made[0] == made[1]
    assert made[0].digest == hashlib.sha256(made[0].composed.body).digest()[:16]


class SlowFiles:
    """A files' thread that takes seven seconds for everything."""

    def __init__(self):
        self.calls = 0

    async def run(self, call):
        self.calls += 1
        await anyio.sleep(7)
        return call()

    def close(self):
        return None


async def test_a_run_that_is_stopped_while_files_are_read_sends_nothing_and_leaves_no_attempt(world, files):
    slow = SlowFiles()
    path = world.file([vision(f"photos/{n}.png") for n in range(3)])
    plain, world.outside = world.outside, lambda: dataclasses.replace(plain(), file_offload=lambda: slow)

    async def stop_soon(run):
        await anyio.sleep(8)
        run.stop(Interrupt.INT)

    report = await world.work(path, attachments=str(files), beside=stop_soon)
    assert slow.calls > 0
    assert not world.provider.ledger.entries
    assert (report.tally.attempts, report.left) == (0, 3)
    assert rows(world, "SELECT count(*) FROM attempts") == [(0,)]
    assert rows(world, "SELECT DISTINCT state, attempts FROM requests") == [("queued", 0)]


async def test_rows_without_files_go_on_while_files_are_read(world, files):
    slow = SlowFiles()
    path = world.file([vision(f"photos/{n}.png") for n in range(3)] + world.chats(30))
    plain, world.outside = world.outside, lambda: dataclasses.replace(plain(), file_offload=lambda: slow)
    report = await world.work(path, attachments=str(files), concurrency=8)
    assert report.tally.succeeded == 33
    first = min(entry.time for entry in world.provider.ledger.entries if entry.usage["prompt_tokens"] > 1600)
    before = sum(entry.time < first for entry in world.provider.ledger.entries)
    assert before == 30, "all plain rows were sent before the first file was read"

"""Hostile references in whole job files, at every place: what people read, what is never opened."""

import base64
import json
import os

import pytest

from batchrunner.api import session
from tests.attachments.hostile import HOSTILE, SECRET
from tests.cli.conftest import provider, run_cli, write
from tests.media import png, wav
from tests.runner.world import World

SLOW = pytest.mark.slow
SIZES_AND_TYPES = {"photos/big.png", "voice/talk.wav"}
"""Refused elsewhere for a size or a type that is right for some of these places."""


def chat(part):
    return "/v1/chat/completions", {"messages": [{"role": "user", "content": [{"type": "text", "text": "?"}, part]}]}


def response(part):
    return "/v1/responses", {"input": [{"role": "user", "content": [part]}]}


PLACES = {
    "image_url": lambda ref: chat({"type": "image_url", "image_url": {"url": ref}}),
    "image_url as a string": lambda ref: chat({"type": "image_url", "image_url": ref}),
    "video_url": lambda ref: chat({"type": "video_url", "video_url": {"url": ref}}),
    "audio_url": lambda ref: chat({"type": "audio_url", "audio_url": {"url": ref}}),
    "input_audio": lambda ref: chat({"type": "input_audio", "input_audio": {"data": ref, "format": "wav"}}),
    "input_image": lambda ref: response({"type": "input_image", "image_url": ref}),
    "transcription": lambda ref: ("/v1/audio/transcriptions", {"file": ref}),
    "translation": lambda ref: ("/v1/audio/translations", {"file": ref}),
}
"""Every place that a file is read from."""
ELSEWHERE = {
    "input_file": lambda ref: response({"type": "input_file", "file_url": ref, "file_data": ref, "file_id": ref}),
    "file part": lambda ref: chat({"type": "file", "file": {"file_data": ref, "file_id": ref}}),
    "text": lambda ref: chat({"type": "text", "text": ref}),
    "content": lambda ref: ("/v1/chat/completions", {"messages": [{"role": "user", "content": ref}]}),
    "a field of its own": lambda ref: (
        chat({"type": "text", "text": "x"}) and ("/v1/embeddings", {"input": ref, "file": ref})
    ),
    "images": lambda ref: ("/v1/images/generations", {"prompt": ref, "image_url": ref, "reference_images": [ref]}),
    "speech": lambda ref: ("/v1/audio/speech", {"input": ref, "voice": "x"}),
    "videos": lambda ref: (
        "/v2/videos",
        {"prompt": ref, "media": {"image": ref}, "frame_images": [{"input_image": ref}]},
    ),
    "rerank": lambda ref: ("/v1/rerank", {"query": ref, "documents": [ref, {"url": ref}]}),
    "moderations": lambda ref: ("/v1/moderations", {"input": [{"type": "image_url", "image_url": {"url": ref}}]}),
    "score": lambda ref: (
        "/score",
        {"text_1": ref, "text_2": {"content": [{"type": "image_url", "image_url": {"url": ref}}]}},
    ),
}
"""Places that no file is read for, whatever they say."""


def line(place, ref, number):
    url, body = place(f"file:{ref}")
    return {"custom_id": f"{number}", "url": url, "body": {"model": "m", **body}}


def references(inside, outside):
    named = [(name, says) for name, says in HOSTILE if name not in SIZES_AND_TYPES]
    return [
        (name.format(inside=inside, outside=outside) if name.startswith("{") else name, says) for name, says in named
    ]


def leaks(opened, inside, outside):
    """What was opened that must not be."""
    secret = ("/etc/passwd", "/dev/zero", "/dev/null", str(outside.parent / "secret.png"))
    return [
        path
        for how, path in opened
        if how == "came to" and (path in secret or path.startswith(f"{outside}/") or "/environ" in path)
    ]


def test_the_watch_sees_what_is_opened(places, opened):
    inside, outside = places
    (outside / "secret.png").read_bytes()
    (inside / "link.png").read_bytes()
    os.close(os.open(inside / "link.png", os.O_RDONLY))
    assert leaks(opened, inside, outside) == [str(outside / "secret.png")] * 3


@pytest.mark.parametrize("verb", ["check", pytest.param("load", marks=SLOW), pytest.param("run", marks=SLOW)])
@pytest.mark.parametrize("place", PLACES)
def test_s5_no_verb_opens_what_a_hostile_line_names_and_each_line_is_told(places, opened, tmp_path, place, verb):
    inside, outside = places
    told = references(inside, outside)
    assert len(told) >= 40
    job = write(tmp_path / "job.jsonl", [line(PLACES[place], name, n) for n, (name, _) in enumerate(told)])
    words = [verb, str(job), "--attachments", str(inside), "--db", str(tmp_path / "q.db")]
    with provider() as env:
        ended = run_cli(*words, *(["--yes"] if verb == "run" else []), env=env)
    assert ended.exit_code == 5, ended.stderr
    assert leaks(opened, inside, outside) == []
    assert f"{len(told)} bad lines; nothing was stored, nothing was sent" in ended.stderr
    shown = [each for each in ended.stderr.splitlines() if each.startswith(str(job)) and ": warning: " not in each]
    assert len(shown) == 20
    for said, (name, says) in zip(shown, told, strict=False):
        reason = said.removeprefix(f"{job}:").split(": ", 1)[1]
        assert reason.startswith("file:"), said
        assert says in reason, (name, said)
        assert said.isprintable()


@pytest.mark.parametrize("place", ELSEWHERE)
def test_s5_a_reference_where_no_file_belongs_is_a_word_like_any_other(places, opened, tmp_path, place):
    inside, outside = places
    told = references(inside, outside)
    job = write(tmp_path / "job.jsonl", [line(ELSEWHERE[place], name, n) for n, (name, _) in enumerate(told)])
    ended = run_cli("check", str(job), "--attachments", str(inside))
    assert ended.exit_code == 0, ended.stderr
    assert leaks(opened, inside, outside) == []


@pytest.mark.slow
@pytest.mark.usefixtures("virtual_time")
@pytest.mark.parametrize(
    "swap",
    ["a link", *(pytest.param(how, marks=SLOW) for how in ("a folder's link", "a device", "a pipe", "another type"))],
)
@pytest.mark.parametrize("place", PLACES)
async def test_s20_what_was_right_at_load_and_is_hostile_when_it_is_sent_fails_its_row(
    tmp_path, places, opened, place, swap
):
    inside, outside = places
    fitting = wav(0.01) if place in ("audio_url", "input_audio", "transcription", "translation") else png()
    if place == "video_url":
        fitting = b"\0\0\0\x20ftypisom" + bytes(100)
    (inside / "deep").mkdir()
    (inside / "deep" / "1.bin").write_bytes(fitting)
    bodies = []
    world = World(tmp_path, fault_for=lambda number, path, body: bodies.append(body))
    path = world.file([line(PLACES[place], "deep/1.bin", 1)])
    with session(world.loaded(attachments=str(inside))) as held:
        held.load(str(path))
    victim = inside / "deep" / "1.bin"
    victim.unlink()
    if swap == "a folder's link":
        (inside / "deep").rmdir()
        (outside / "1.bin").write_bytes(SECRET)
        (inside / "deep").symlink_to(outside)
    elif swap == "another type":
        victim.write_bytes(b"root:x:0:0")
    elif swap == "a pipe":
        os.mkfifo(victim)
    else:
        victim.symlink_to(outside / "secret.png" if swap == "a link" else "/dev/zero")
    opened.clear()
    report = await world.work(path, attachments=str(inside))
    assert (report.tally.succeeded, report.tally.failed) == (0, 1)
    assert leaks(opened, inside, outside) == []
    assert bodies == []
    (result,) = world.results(path)
    assert result.row.failure == "attachment"
    assert result.row.message.startswith("file:deep/1.bin: ")
    assert base64.b64encode(SECRET)[:40].decode() not in json.dumps([result.row.message])

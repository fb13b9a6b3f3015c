"""What bodies of images, speech and videos must have, and how their jobs are asked for."""

import itertools
import json

import pytest

from batchrunner.core.attempt import Failure, FailureKind, Pending
from batchrunner.core.clock import SECOND
from batchrunner.core.continuation import Continuation, Step, asked_for, poll_wait
from batchrunner.core.usage import Usage
from batchrunner.endpoints.base import BadBody
from batchrunner.endpoints.registry import IMAGES, SPEECH, VIDEOS
from batchrunner.endpoints.videos import stated_cost
from tests.endpoints.replies import RECEIVED, reply, together

IMAGE = {"model": "m", "prompt": "a fox"}
SPOKEN = {"model": "m", "input": "hello", "voice": "x"}
VIDEO = {"model": "m", "prompt": "a fox"}
JOB = Continuation(Step.POLL, "vid_1", b"{}", "application/json", "r", RECEIVED, steps=2, misses=4)


@pytest.mark.parametrize(
    ("endpoint", "body", "field", "says"),
    [
        (IMAGES, {"model": "m"}, "prompt", "is missing"),
        (IMAGES, {**IMAGE, "prompt": ""}, "prompt", "that is not empty"),
        (IMAGES, {**IMAGE, "n": 11}, "n", "of at most 10"),
        (IMAGES, {**IMAGE, "width": 1024.5}, "width", "whole number"),
        (IMAGES, {**IMAGE, "height": 1}, "height", "of at least 64"),
        (IMAGES, {**IMAGE, "size": "big"}, "size", "size"),
        (IMAGES, {**IMAGE, "size": "512x512", "width": 512}, "size", "contradict"),
        (IMAGES, {**IMAGE, "steps": 0}, "steps", "of at least 1"),
        (IMAGES, {**IMAGE, "response_format": "png"}, "response_format", "png"),
        (IMAGES, {**IMAGE, "stream": True}, "stream", "remove"),
        (IMAGES, b'{"model":"m","prompt":"a","n":1,"n":4}', "n", "twice"),
        (SPEECH, {"model": "m", "voice": "x"}, "input", "is missing"),
        (SPEECH, {"model": "m", "input": "x"}, "voice", "is missing"),
        (SPEECH, {**SPOKEN, "speed": 9}, "speed", "of at most 4"),
        (SPEECH, {**SPOKEN, "response_format": "midi"}, "response_format", "midi"),
        (SPEECH, {**SPOKEN, "stream": True}, "stream", "one file"),
        (SPEECH, {**SPOKEN, "stream_format": "sse"}, "stream_format", "one file"),
        (VIDEOS, {"prompt": "x"}, "model", "is missing"),
        (VIDEOS, {**VIDEO, "prompt": "x" * 32_001}, "prompt", "at most 32000 characters"),
        (VIDEOS, {**VIDEO, "steps": 5}, "steps", "of at least 10"),
        (VIDEOS, {**VIDEO, "seconds": "five"}, "seconds", "seconds"),
        (VIDEOS, {**VIDEO, "output_format": "AVI"}, "output_format", "AVI"),
    ],
)
def test_a_body_that_would_be_refused_is_not_queued(endpoint, body, field, says):
    with pytest.raises(BadBody) as caught:
        endpoint.inspect(body if isinstance(body, bytes) else json.dumps(body).encode())
    assert caught.value.field == field
    assert says in caught.value.reason


@pytest.mark.parametrize(
    ("endpoint", "body"),
    [
        (IMAGES, {**IMAGE, "n": 4, "width": 1440, "height": 800, "steps": 28, "something_new": [1]}),
        (IMAGES, {**IMAGE, "size": "auto", "quality": "high"}),
        (SPEECH, {**SPOKEN, "response_format": "raw", "response_encoding": "pcm_f32le", "sample_rate": 44_100}),
        (SPEECH, {**SPOKEN, "stream": False, "voice": {"id": "voice_1"}}),
        (VIDEOS, {"model": "m", "media": {"first_frame": "https://x/y.png"}, "seconds": 5}),
    ],
)
def test_what_providers_take_is_queued(endpoint, body):
    facts = endpoint.inspect(json.dumps(body).encode())
    assert (facts.model, facts.max_out) == ("m", None if endpoint is IMAGES else 0)
    assert facts.est_in >= 1


def test_a_job_that_goes_on_is_asked_for_again_later_and_its_misses_are_forgotten():
    outcome = VIDEOS.go_on(JOB, reply({"id": "vid_1", "status": "in_progress"}), together)
    assert isinstance(outcome, Pending)
    assert (outcome.continuation.steps, outcome.continuation.misses) == (3, 0)
    assert outcome.not_before == RECEIVED + round(poll_wait(3) * SECOND)


def test_a_job_that_is_done_is_fetched_at_once():
    told = {"id": "vid_1", "status": "completed", "outputs": {"cost": 0.3, "video_url": "https://x/v.mp4"}}
    outcome = VIDEOS.go_on(JOB, reply(told), together)
    assert isinstance(outcome, Pending)
    assert outcome.continuation.step is Step.FETCH
    assert (outcome.continuation.request_id, outcome.continuation.since) == (JOB.request_id, JOB.since)
    assert [part.url for part in VIDEOS.parts(outcome.continuation)] == ["https://x/v.mp4"]


@pytest.mark.parametrize(
    ("told", "kind"),
    [
        ({"id": "vid_2", "status": "in_progress"}, FailureKind.BAD_REPLY),
        ({"id": "vid_1", "status": "completed", "outputs": {}}, FailureKind.BAD_REPLY),
        ({"id": "vid_1", "status": "failed", "error": {"message": "out of memory"}}, FailureKind.SERVER_ERROR),
        (b"<html>", FailureKind.BAD_REPLY),
    ],
)
def test_what_is_no_word_of_the_job_and_what_is(told, kind):
    outcome = VIDEOS.go_on(JOB, reply(told), together)
    assert isinstance(outcome, Failure)
    assert outcome.kind is kind


@pytest.mark.parametrize(
    ("spelled", "pico"),
    [
        ("0.28", 280_000_000_000),
        ("1", 10**12),
        ("0", 0),
        ("2.8e-1", 280_000_000_000),
        ("0.0000000000014", 2),
        ("-1", None),
        ("1e999", None),
        ('"a lot"', None),
        ("null", None),
    ],
)
def test_a_stated_cost_is_read_to_the_last_digit(spelled, pico):
    told = stated_cost(b'{"id":"v","outputs":{"cost":%s,"video_url":"u"}}' % spelled.encode())
    assert told == (None if pico is None else Usage(cost=pico))


def test_polls_begin_at_two_seconds_and_never_come_further_apart_than_thirty():
    waits = [poll_wait(steps) for steps in range(30)]
    assert waits[0] == 2.0
    assert waits == sorted(waits)
    assert waits[-1] == 30.0
    assert all(later <= 1.5 * earlier for earlier, later in itertools.pairwise(waits))
    for steps in (0, 1, 7, 8, 9, 30):
        assert asked_for(steps) == pytest.approx(sum(waits[:steps]))

"""Videos, as Together makes them: a job is created, asked for until it ends, and its file downloaded."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import msgspec

from batchrunner.core.attempt import Billing, Failure, FailureKind, Outcome, Pending, Reply
from batchrunner.core.continuation import Artifact, Continuation, Step, poll_at
from batchrunner.core.estimate import tokens
from batchrunner.core.http import HttpCall, HttpReply
from batchrunner.core.usage import Usage
from batchrunner.endpoints.answers import Answer, Form, Misshapen, load, name_of, read_answer
from batchrunner.endpoints.base import Classifier, Facts, Part
from batchrunner.endpoints.facts import Asked, decode, keys, refuse_repeats
from batchrunner.endpoints.files import to_fetch
from batchrunner.endpoints.rules import ANYTHING, NAME, OBJECT, SWITCH, TEXT, Rule, list_of, number, one_of, text, whole
from batchrunner.endpoints.units import clip, stated
from batchrunner.endpoints.usage import NOT_COUNTED, Counted

MOST_VIDEO = 1 << 30
"""Bytes of a video that are taken."""
POLL_SECONDS = 60.0
_JOB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~-]{0,255}")
"""Ids that may stand in a path: what else a provider sends is refused."""

Side = Annotated[int, msgspec.Meta(ge=16, le=8192)]
_SECONDS = 'a number of seconds as a string, such as "5"'
Seconds = (
    Annotated[str, msgspec.Meta(pattern=r"^[1-9][0-9]{0,3}$", description=_SECONDS)]
    | Annotated[int, msgspec.Meta(ge=1, le=9999)]
)


class _Body(Asked, gc=False, kw_only=True):
    prompt: Annotated[str, msgspec.Meta(min_length=1, max_length=32_000)] | None = None
    width: Side | None = None
    height: Side | None = None
    resolution: str | None = None
    ratio: str | None = None
    seconds: Seconds | None = None
    fps: Annotated[int, msgspec.Meta(ge=1, le=240)] | None = None
    steps: Annotated[int, msgspec.Meta(ge=10, le=50)] | None = None
    seed: int | None = None
    guidance_scale: float | None = None
    output_format: Literal["MP4", "WEBM"] | None = None
    output_quality: int | None = None
    negative_prompt: str | None = None
    generate_audio: bool | None = None
    media: dict[str, Any] | None = None


class _Outputs(msgspec.Struct, gc=False):
    cost: Any = None
    video_url: str | None = None


class _Job(Answer, gc=False):
    status: str | None = None
    outputs: _Outputs | None = None
    seconds: Any = None
    size: Any = None


_BODY = msgspec.json.Decoder(_Body)
_JOB = msgspec.json.Decoder(_Job)
_WATCHED = keys("model", "prompt", "seconds", "width", "height", "steps")
_GOING_ON = frozenset({"queued", "in_progress"})


def _judge(job: _Job) -> str:
    """Return the job's status; raises Misshapen for one that can't be asked for, or that ended badly or with nothing.

    A job that failed holds its ``error``, which ``read_answer`` has told already.
    """
    if not (isinstance(job.id, str) and _JOB_ID.fullmatch(job.id)):
        raise Misshapen("it has no id that could be asked for")
    if job.status == "completed":
        if job.outputs is None or not job.outputs.video_url:
            raise Misshapen("it is completed, and has no video_url")
    elif job.status not in _GOING_ON:
        raise Misshapen(f"its status is {job.status!r}", b'{"message":"the job was %b"}' % _word(job.status))
    return str(job.status)


def _word(status: str | None) -> bytes:
    return re.sub(r"[^a-z_]", "", status or "without a status")[:40].encode() or b"lost"


def _nothing(_: msgspec.Raw) -> Counted:
    return NOT_COUNTED


_FORM = Form("a video job", _JOB, _judge, _nothing)

_RULES: Final[Mapping[str, Rule]] = {
    "model": NAME,
    "prompt": text(32_000, least=1),
    "width": whole(1),
    "height": whole(1),
    "resolution": TEXT,
    "ratio": TEXT,
    "seconds": TEXT,
    "fps": whole(1),
    "steps": whole(10, 50),
    "seed": whole(),
    "guidance_scale": number(0, 100),
    "output_format": one_of("MP4", "WEBM"),
    "output_quality": whole(0, 100),
    "negative_prompt": TEXT,
    "generate_audio": SWITCH,
    "media": OBJECT,
    "frame_images": list_of(ANYTHING),
    "reference_images": list_of(ANYTHING),
}


class Videos:
    """Videos as Together makes them (version 2 of its API)."""

    path = "/v2/videos"
    name = "videos"
    streams = False
    rules = _RULES

    def inspect(self, body: bytes) -> Facts:
        """Check model, types and ranges; raises BadBody. Some models need no prompt, only a first frame."""
        asked = decode(_BODY, body)
        refuse_repeats(body, _WATCHED)
        estimate = max(1, tokens((asked.prompt or "").encode()))
        return Facts(asked.model, estimate, 0, clip({"seconds": asked.seconds}))

    def feed(self, body: bytes) -> None:
        """Return None: a job is asked for, its video comes whole."""

    def read(self, reply: HttpReply, classify: Classifier) -> Pending | Failure:
        """Parse the answer to a purchase. Never raises, whatever the bytes are."""
        outcome = read_answer(reply, classify, _FORM)
        if isinstance(outcome, Failure):
            return _billed(outcome, reply)
        job = load(_JOB, reply.body)
        if outcome.finish == "completed":
            return to_fetch(reply, outcome.request_id)
        kind = reply.headers.get("content-type", "")
        continuation = Continuation(Step.POLL, job.id, reply.body, kind, outcome.request_id, reply.received)
        return Pending(continuation, poll_at(0, reply.received))

    def text(self, body: bytes) -> str | None:
        """Return None: a video is not text."""
        return None

    def resume(self, continuation: Continuation) -> HttpCall:
        """Return the call that asks how the job is doing."""
        return HttpCall(self.path, b"", "", POLL_SECONDS, method="GET", tail=continuation.target)

    def go_on(self, continuation: Continuation, reply: HttpReply, classify: Classifier) -> Pending | Failure:
        """Read what the provider says of the job. Never raises, whatever the bytes are."""
        outcome: Outcome = read_answer(reply, classify, _FORM)
        if isinstance(outcome, Failure):
            return _billed(outcome, reply)
        job = load(_JOB, reply.body)
        if job.id != continuation.target:
            text = "The answer is of another job than was asked for."
            return Failure(FailureKind.BAD_REPLY, text, Billing.UNKNOWN, reply.status)
        if outcome.finish == "completed":
            return Pending(
                continuation._replace(step=Step.FETCH, answer=reply.body, steps=continuation.steps + 1, misses=0),
                reply.received,
            )
        steps = continuation.steps + 1
        return Pending(continuation._replace(answer=reply.body, steps=steps, misses=0), poll_at(steps, reply.received))

    def parts(self, continuation: Continuation) -> tuple[Part, ...]:
        """Return the video."""
        job = load(_JOB, continuation.answer)
        url = job.outputs.video_url if job.outputs is not None else None
        return (Part("outputs.video_url", "video", MOST_VIDEO, url=url),)

    def whole(self, continuation: Continuation, artifacts: tuple[Artifact, ...]) -> Reply:
        """Return the reply: the job as the provider last told of it, byte for byte."""
        job = load(_JOB, continuation.answer)
        usage = stated_cost(continuation.answer)
        return Reply(200, continuation.answer, usage, None, job.status, name_of(job.model), continuation.request_id)


def stated_cost(answer: bytes) -> Usage | None:
    """Return what the provider says that a job cost; None: not said.

    Together's description types ``outputs.cost`` as a whole number and its examples show dollars such as 0.28.
    """
    try:
        job = load(_JOB, answer)
    except (ValueError, RecursionError):
        return None
    return stated(job.outputs.cost) if job.outputs is not None else None


def _billed(failure: Failure, reply: HttpReply) -> Failure:
    """Take the provider's own word for what a job that failed cost."""
    if reply.status != 200:
        return failure
    usage = stated_cost(reply.body)
    if usage is None:
        return failure
    if not usage.cost:
        return failure._replace(billing=Billing.NOT_BILLED)
    return failure._replace(billing=Billing.BILLED, usage=usage)

"""`jobs/everything.jsonl`: every endpoint in one file, three providers, files in and out, and both sides' books."""

import base64
import copy
import hashlib
import io
import json
import struct
import urllib.request
import wave
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import openai.types
import openai.types.audio
import openai.types.chat
import openai.types.responses
import pytest
import together.types
import together.types.audio.transcription_create_response as transcribed
import together.types.audio.translation_create_response as translated
import together.types.chat
from pydantic import BaseModel

from batchrunner.endpoints.registry import ENDPOINTS
from batchrunner.simulator import Entry
from tests.e2e.bills import pico
from tests.e2e.place import ROOT, Box, Ended, Place, boxed, placed
from tests.invariants import Scenario, broken

pytestmark = pytest.mark.slow

JOBS = ROOT / "jobs"
LINES = [json.loads(line) for line in (JOBS / "everything.jsonl").read_bytes().splitlines()]
BY_ID = {line["custom_id"]: line for line in LINES}
SERVED_BY = {"together": 0, "openai": 1, "vllm": 1}
"""Which of the two boxes plays a provider."""
UNCOUNTED = "/v1/embeddings"
"""Together counts no tokens here: what they cost is ours to estimate, and said to be an estimate."""


class Done(NamedTuple):
    """The job, run once for all tests."""

    place: Place
    boxes: tuple[Box, Box]
    ended: Ended
    calls: tuple[list[Entry], list[Entry]]
    results: dict[str, dict[str, Any]]


def words(folder: Path, vllm: Box) -> tuple[str, ...]:
    """The words of the README; the server of one's own is where this test's is."""
    shipped = (JOBS / "everything.toml").read_text(encoding="utf-8")
    assert "http://127.0.0.1:8701" in shipped
    (folder / "everything.toml").write_text(shipped.replace("http://127.0.0.1:8701", vllm.url), encoding="utf-8")
    (folder / "everything.prices.toml").write_bytes((JOBS / "everything.prices.toml").read_bytes())
    job, files = str(JOBS / "everything.jsonl"), str(JOBS / "files")
    return (
        "run",
        job,
        "-o",
        "out.jsonl",
        "--attachments",
        files,
        "--config",
        "everything.toml",
        "--db",
        "q.db",
        "--yes",
    )


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Done]:
    folder = tmp_path_factory.mktemp("everything")
    with (
        boxed(video_seconds=1.0) as one,
        boxed(flavour="openai", keyless=True) as other,
        placed(folder, one) as place,
    ):
        ended = run(place, other)
        calls = one.calls(), other.calls()
        results = {line["custom_id"]: line for line in place.lines()}
        yield Done(place, (one, other), ended, calls, results)


def run(place: Place, other: Box) -> Ended:
    return place.run(*words(place.folder, other), env={"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": other.url})


def faults_of(done: Done) -> list[str]:
    place, calls = done.place, [call for calls in done.calls for call in calls]
    outputs, job = [place.folder / "out.jsonl"], JOBS / "everything.jsonl"
    scenario = Scenario(db=place.db, calls=calls, job=job, outputs=outputs, code=done.ended.code, err=done.ended.err)
    return broken(scenario)


def test_the_file_names_every_endpoint_there_is() -> None:
    assert {line["url"] for line in LINES} == {endpoint.path for endpoint in ENDPOINTS}
    assert sum(1 for line in LINES if line["body"].get("stream")) >= 2


def test_every_line_has_one_outcome_in_its_place(done: Done) -> None:
    assert done.ended.code == 0, done.ended.err
    assert [line["custom_id"] for line in done.place.lines()] == [line["custom_id"] for line in LINES]
    assert done.place.states() == {"succeeded": len(LINES)}
    assert not (done.place.folder / "out.errors.jsonl").exists()
    assert faults_of(done) == []
    wanted = {name: [] for name in BY_ID} | {"chat-cut-off": ["cut_off"]}
    assert {name: line["batchrunner"]["flags"] for name, line in done.results.items()} == wanted
    by_provider = Counter(line["batchrunner"]["provider"] for line in done.results.values())
    assert by_provider == Counter(line.get("metadata", {}).get("provider", "together") for line in LINES)
    assert [len(calls) for calls in done.calls] == [
        by_provider["together"],
        by_provider["openai"] + by_provider["vllm"],
    ]


# --------------------------------------------------------------------------------------------------------------- files


def artifacts(done: Done, custom_id: str) -> list[bytes]:
    """The files of an answer, found by the paths that the results tell, each under the hash of its bytes."""
    found = []
    for told in done.results[custom_id]["batchrunner"]["artifacts"]:
        path = done.place.folder / told["path"]
        data = path.read_bytes()
        assert path.stem == told["sha256"] == hashlib.sha256(data).hexdigest()
        assert len(data) == told["size"]
        found.append(data)
    return found


def asked_again(done: Done, custom_id: str) -> bytes:
    """What the provider makes of the very same body: its answers depend on nothing else."""
    line = BY_ID[custom_id]
    box = done.boxes[SERVED_BY[line.get("metadata", {}).get("provider", "together")]]
    headers = {"Authorization": "Bearer k", "Content-Type": "application/json"}
    return opened(urllib.request.Request(box.url + line["url"], json.dumps(line["body"]).encode(), headers))


def opened(what: str | urllib.request.Request) -> bytes:
    with urllib.request.urlopen(what, timeout=10) as reply:
        data: bytes = reply.read()
    return data


def size_of(picture: bytes) -> tuple[int, int]:
    """Width and height in the header of a PNG."""
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", picture[16:24])
    return width, height


def test_a_picture_behind_a_link_is_the_providers_own(done: Done) -> None:
    (picture,) = artifacts(done, "image")
    (told,) = done.results["image"]["response"]["body"]["data"]
    assert picture == opened(told["url"])
    body = BY_ID["image"]["body"]
    assert size_of(picture) == (body["width"], body["height"])


def test_pictures_that_come_as_text_are_kept_as_files_and_not_twice(done: Done) -> None:
    pictures = artifacts(done, "image-base64")
    again = json.loads(asked_again(done, "image-base64"))
    assert pictures == [base64.b64decode(each["b64_json"]) for each in again["data"]]
    told = done.results["image-base64"]["response"]["body"]["data"]
    assert [each["b64_json"] for each in told] == [f"sha256:{hashlib.sha256(data).hexdigest()}" for data in pictures]


def test_speech_is_the_sound_that_was_sent(done: Done) -> None:
    (spoken,) = artifacts(done, "speech")
    assert spoken == asked_again(done, "speech")
    with wave.open(io.BytesIO(spoken)) as sound:
        assert sound.getnframes() > 0
    assert artifacts(done, "speech-mp3") == [asked_again(done, "speech-mp3")]


def test_a_film_is_downloaded_when_it_is_ready(done: Done) -> None:
    (film,) = artifacts(done, "video")
    body = done.results["video"]["response"]["body"]
    assert body["status"] == "completed"
    assert film == opened(body["outputs"]["video_url"])
    assert film[4:8] == b"ftyp"
    assert done.results["video"]["batchrunner"]["attempts"] == 1


def test_files_go_out_whole_and_links_as_they_are(done: Done) -> None:
    both = [call for calls in done.calls for call in calls]
    heard = Counter(call.units.milliseconds for call in both if "/audio/tr" in call.path and call.units is not None)
    assert heard[4_000] == 2, "morse.wav lasts four seconds and is heard twice"
    assert heard[2_000] == 1, "tune.wav lasts two"
    sent = {name: size(JOBS / "files" / f"{name}.png") for name in ("harbour", "rain")}
    chats = [call.request_bytes for call in both if call.path.endswith("/chat/completions")]
    line = len(json.dumps(BY_ID["vision-two-files"]["body"]))
    inlined = sum(4 * -(-length // 3) for length in sent.values())
    assert [number for number in chats if inlined + 200 < number <= inlined + line + 50], "both are in it, as base64"
    assert len(json.dumps(BY_ID["vision-link"]["body"])) in chats


def size(path: Path) -> int:
    return path.stat().st_size


# --------------------------------------------------------------------------------------------------------------- money


def test_the_bill_by_endpoint_is_the_providers_own_to_the_pico_dollar(done: Done) -> None:
    ended = done.place.run("costs", "--by", "endpoint", "--json", "--db", "q.db")
    rows = {row["endpoint"]: row["usd"] for row in json.loads(ended.out)["rows"]}
    theirs: Counter[str] = Counter()
    for call in (call for calls in done.calls for call in calls):
        if call.billed and call.path != UNCOUNTED:
            theirs[call.path] += call.charge or 0
    ours = {path: pico(usd["recorded"]) + pico(usd["estimated"]) for path, usd in rows.items() if path != UNCOUNTED}
    assert ours == {path: theirs[path] for path in ours}
    assert {path for path, charge in theirs.items() if charge} <= ours.keys()
    told = [call for call in done.calls[1] if call.path == UNCOUNTED]
    assert pico(rows[UNCOUNTED]["recorded"]) == sum(call.charge or 0 for call in told)
    assert pico(rows[UNCOUNTED]["estimated"]) > 0
    assert {usd["possibly_billed"] for usd in rows.values()} == {usd["wasted"] for usd in rows.values()} == {"0"}


def test_nothing_is_bought_by_a_second_run(done: Done) -> None:
    before = [box.arrived for box in done.boxes]
    ended = run(done.place, done.boxes[1])
    assert ended.code == 0, ended.err
    assert [box.arrived for box in done.boxes] == before
    assert {line["custom_id"]: line for line in done.place.lines()} == done.results


# ---------------------------------------------------------------------------------------------- the official packages


OFFICIAL: dict[tuple[str, str], type[BaseModel]] = {
    ("together", "/v1/chat/completions"): together.types.chat.ChatCompletion,
    ("together", "/v1/completions"): together.types.Completion,
    ("together", "/v1/embeddings"): together.types.Embedding,
    ("together", "/v1/rerank"): together.types.RerankCreateResponse,
    ("together", "/v1/images/generations"): together.types.ImageFile,
    ("together", "/v1/audio/transcriptions"): transcribed.AudioTranscriptionVerboseJsonResponse,
    ("together", "/v1/audio/translations"): translated.AudioTranslationVerboseJsonResponse,
    ("together", "/v2/videos"): together.types.VideoJob,
    ("openai", "/v1/chat/completions"): openai.types.chat.ChatCompletion,
    ("openai", "/v1/embeddings"): openai.types.CreateEmbeddingResponse,
    ("openai", "/v1/responses"): openai.types.responses.Response,
    ("openai", "/v1/moderations"): openai.types.ModerationCreateResponse,
}
BYTES = "/v1/audio/speech"
SUBTITLES = "transcription-subtitles"


def test_the_official_packages_types_take_every_answer_in_the_results(done: Done) -> None:
    for name, result in done.results.items():
        provider, endpoint = result["batchrunner"]["provider"], result["batchrunner"]["endpoint"]
        body = copy.deepcopy(result["response"]["body"])
        if provider == "vllm" or endpoint == BYTES:
            continue  # no package of its own; bytes, which are files here
        if name == SUBTITLES:
            assert "-->" in body
            continue
        if name == "embedding-base64":
            body = unpacked(body)
        if name == "video":
            # The package says that it is a whole number; Together's own examples show 0.28.
            body["outputs"]["cost"] = round(body["outputs"]["cost"])
        OFFICIAL[provider, endpoint].model_validate(body)


def unpacked(body: dict[str, Any]) -> dict[str, Any]:
    """What OpenAI's package makes of vectors that come as text, before anybody sees them."""
    vectors = [base64.b64decode(each["embedding"]) for each in body["data"]]
    data = [
        {**each, "embedding": list(struct.unpack(f"<{len(vector) // 4}f", vector))}
        for each, vector in zip(body["data"], vectors, strict=True)
    ]
    return {**body, "data": data}

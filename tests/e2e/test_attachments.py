"""Jobs that refer to local files, as real processes over a real socket."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from openai.types.audio import Transcription, TranscriptionVerbose
from together.types.audio.transcription_create_response import AudioTranscriptionVerboseJsonResponse

from tests.e2e.conftest import Start
from tests.e2e.place import GPT, Place, chats
from tests.invariants import Scenario, broken
from tests.media import png, wav

pytestmark = pytest.mark.slow

WITH_FILES = ("--attachments", "files")


def vision(name: str, custom_id: str) -> dict[str, Any]:
    parts = [{"type": "text", "text": custom_id}, {"type": "image_url", "image_url": {"url": f"file:{name}"}}]
    body = {"model": GPT, "messages": [{"role": "user", "content": parts}], "max_tokens": 32}
    return {"custom_id": custom_id, "url": "/v1/chat/completions", "body": body}


def hearing(custom_id: str, path: str = "transcriptions", **more: Any) -> dict[str, Any]:
    body = {"model": "openai/whisper-large-v3", "file": "file:voice/talk.wav", **more}
    return {"custom_id": custom_id, "url": f"/v1/audio/{path}", "body": body}


def filled(place: Place, images: int = 4, padding: int = 0) -> Path:
    folder = place.folder / "files"
    (folder / "photos").mkdir(parents=True)
    (folder / "voice").mkdir()
    for n in range(images):
        (folder / "photos" / f"{n}.png").write_bytes(png(100 * (n + 1), 8, shade=n, padding=padding))
    (folder / "voice" / "talk.wav").write_bytes(wav(3.0))
    return folder


def faults_of(place: Place, job: Path, code: int, err: str) -> list[str]:
    out = place.folder / "out.jsonl"
    outputs = [path for path in (out, out.with_suffix(".errors.jsonl")) if path.exists()]
    return broken(Scenario(db=place.db, calls=place.box.calls(), job=job, outputs=outputs, code=code, err=err))


@pytest.mark.parametrize("flavour", ["together", "openai"])
def test_pictures_and_speech_beside_plain_rows_come_back_whole_and_both_ledgers_agree(at: Start, flavour: str) -> None:
    place = at(flavour=flavour)
    filled(place)
    seen = [vision(f"photos/{n % 4}.png", f"v{n}") for n in range(12)]
    heard = [
        hearing("json"),
        hearing("verbose", response_format="verbose_json", timestamp_granularities=["segment", "word"]),
        hearing("translated", "translations", temperature=0.5),
    ]
    job = place.file([*seen, *heard, *chats(12)])
    ended = place.run(*place.job(*WITH_FILES))
    assert ended.code == 0, ended.err
    assert faults_of(place, job, ended.code, ended.err) == []
    assert place.states() == {"succeeded": 27}
    bodies = {line["custom_id"]: line["response"]["body"] for line in place.lines()}
    assert Transcription.model_validate(bodies["json"]).text
    model = AudioTranscriptionVerboseJsonResponse if flavour == "together" else TranscriptionVerbose
    verbose = model.model_validate(bodies["verbose"])
    assert (verbose.duration, verbose.words is not None) == (3.0, True)
    assert sum(call.units.milliseconds for call in place.box.calls() if call.units is not None) == 9_000
    tokens = {
        name: body["usage"]["prompt_tokens"] for name, body in bodies.items() if name[0] == "v" and name != "verbose"
    }
    assert min(tokens.values()) > 1601
    assert "file:" not in json.dumps(bodies)


def test_a_file_that_vanished_fails_its_row_and_a_run_without_the_folder_does_not_begin(at: Start) -> None:
    place = at()
    folder = filled(place)
    job = place.file([vision(f"photos/{n}.png", f"v{n}") for n in range(4)] + chats(4))
    assert place.run("load", "job.jsonl", *WITH_FILES, "--db", "q.db").code == 0
    (folder / "photos" / "2.png").unlink()
    refused = place.run("run", "job", "--db", "q.db", "--yes")
    assert refused.code == 2
    assert "--attachments DIR" in refused.err
    ended = place.run(*place.job(*WITH_FILES))
    assert ended.code == 3
    assert faults_of(place, job, ended.code, ended.err) == []
    (line,) = place.lines("out.errors.jsonl")
    assert line["error"] == {
        "code": "attachment",
        "sdk_class": "OSError",
        "message": "file:photos/2.png: there is no such file",
    }
    assert line["response"] is None
    assert (line["batchrunner"]["billing"], line["batchrunner"]["cost_usd"]) == ("not_billed", None)
    assert place.states() == {"succeeded": 7, "failed": 1}


def test_a_kill_in_mid_upload_loses_nothing_and_both_ledgers_agree(at: Start) -> None:
    place = at(latency=0.3)
    filled(place, padding=300_000)
    job = place.file([vision(f"photos/{n % 4}.png", f"v{n}") for n in range(60)])
    for _ in range(2):
        seen = place.box.arrived
        child = place.start(*place.job(*WITH_FILES, "--concurrency", "16"))
        place.box.await_calls(seen + 10)
        child.kill()
    ended = place.run(*place.job(*WITH_FILES, "--concurrency", "16"))
    assert ended.code == 0, ended.err
    assert faults_of(place, job, ended.code, ended.err) == []
    assert place.states() == {"succeeded": 60}


def test_a_live_run_takes_files_of_its_own_folder_only(at: Start) -> None:
    place = at(latency=0.1)
    filled(place)
    (place.folder / "elsewhere").mkdir()
    place.file(chats(300))
    child = place.start(*place.job(*WITH_FILES, "--concurrency", "4"))
    place.box.await_calls(4)
    place.file([vision("photos/0.png", "more")], "more.jsonl")
    other = place.run("load", "more.jsonl", "--attachments", "elsewhere", "--db", "q.db")
    assert other.code == 2
    assert "reads local files beneath" in other.err
    assert place.run("load", "more.jsonl", *WITH_FILES, "--db", "q.db").code == 0
    place.box.change(latency=0.0)
    assert child.end().code == 0


def test_i8_a_thousand_pictures_of_a_megabyte_stay_below_400_mib(at: Start) -> None:
    """64 are in flight at once, each of them a third larger as base64; so few of the thousand show the peak."""
    place = at(latency=1.0, latency_jitter=0)
    filled(place, padding=1_000_000)
    place.file([vision(f"photos/{n % 4}.png", f"v{n}") for n in range(130)])
    child = place.start(*place.job(*WITH_FILES, "--concurrency", "64"))
    peak = 0
    status = Path(f"/proc/{child.pid}/status")
    while child.process.poll() is None:
        try:
            said = status.read_text()
        except OSError:
            break
        peak = max(peak, *(int(line.split()[1]) for line in said.splitlines() if line.startswith("VmHWM")), 0)
        time.sleep(0.02)
    assert child.end().code == 0
    assert place.states() == {"succeeded": 130}
    assert max(call.in_flight for call in place.box.calls()) >= 60, "they were not in flight together"
    assert 0 < peak < 400 * 1024, f"{peak / 1024:.0f} MiB"

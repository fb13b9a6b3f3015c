"""Pictures, sound and videos of the provider in a box: real files, jobs that end by the clock, links that expire."""

from __future__ import annotations

import base64
import io
import json
import struct
import wave
import zlib

import httpx
import openai
import pytest
import together

from batchrunner.simulator import Provider, Settings, serve
from batchrunner.simulator.bill import Units

PNG = b"\x89PNG\r\n\x1a\n"


def size_of(png):
    """Width and height of a PNG file whose checksums hold and whose pixels are all there."""
    assert png.startswith(PNG)
    at, found, pixels = 8, {}, b""
    while at < len(png):
        (length,) = struct.unpack_from(">I", png, at)
        kind, data = png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        assert zlib.crc32(kind + data) == struct.unpack_from(">I", png, at + 8 + length)[0]
        found[kind] = data
        at += 12 + length
    width, height = struct.unpack_from(">II", found[b"IHDR"])
    pixels = zlib.decompress(found[b"IDAT"])
    assert len(pixels) == height * (1 + (width + 7) // 8)
    return width, height


@pytest.mark.anyio
async def test_together_draws_by_address_and_as_text():
    provider = Provider(Settings())
    async with serve(provider) as url, together.AsyncTogether(base_url=url, api_key="k", max_retries=0) as client:
        drawn = await client.images.generate(model="m", prompt="a fox", n=2, width=256, height=64)
        assert [each.index for each in drawn.data] == [0, 1]
        assert drawn.data[0].url.startswith(f"{url}/files/img-256x64-")
        assert drawn.data[0].url != drawn.data[1].url
        text = await client.images.generate(model="m", prompt="a fox", response_format="base64")
        assert size_of(base64.b64decode(text.data[0].b64_json)) == (1024, 1024)
        async with httpx.AsyncClient() as plain:
            file = await plain.get(drawn.data[0].url)
        assert (file.headers["content-type"], size_of(file.content)) == ("image/png", (256, 64))
    assert provider.ledger.entries[0].units == Units(images=2, width=256, height=64)
    assert [entry.billed for entry in provider.ledger.entries] == [True, True, False]
    assert provider.ledger.entries[-1].key_fingerprint is None


@pytest.mark.anyio
async def test_openai_draws_and_counts_tokens():
    settings = Settings(flavour="openai")
    async with serve(Provider(settings)) as url, openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="k") as client:
        drawn = await client.images.generate(model="gpt-image-1", prompt="a fox", size="1536x1024")
        assert drawn.data[0].b64_json
        assert drawn.usage.total_tokens == drawn.usage.input_tokens + drawn.usage.output_tokens
        older = await client.images.generate(model="dall-e-3", prompt="a fox", response_format="url")
        assert older.data[0].url.startswith(url)


@pytest.mark.anyio
async def test_both_packages_are_read_to():
    async with serve(Provider(Settings())) as url, together.AsyncTogether(base_url=url, api_key="k") as client:
        spoken = await client.audio.speech.create(model="m", input="hello " * 20, voice="x", response_format="wav")
        sound = await spoken.read()
        with wave.open(io.BytesIO(sound)) as file:
            assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 8000)
            assert file.getnframes() == 8000 * 20 * 120 // 1000
    settings = Settings(flavour="openai")
    async with serve(Provider(settings)) as url, openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="k") as client:
        spoken = await client.audio.speech.create(model="tts-1", input="hello", voice="alloy")
        assert spoken.content[:2] == b"\xff\xfb"
        assert spoken.response.headers["content-type"] == "audio/mpeg"


def look(desk, path, *, key="k"):
    headers = {"host": "here"} | ({"authorization": f"Bearer {key}"} if key else {})
    answer = desk.provider.handle("GET", path, headers, b"")
    desk.provider.finish(answer.number)
    return answer


def test_a_video_ends_by_the_clock_and_states_its_cost(desk, clock):
    box = desk()
    created = box.post("/v2/videos", {"model": "m", "prompt": "a fox"}, headers={"host": "here"})
    job = json.loads(created.body)
    assert (created.status, job["status"], "outputs" in job) == (200, "in_progress", False)
    clock.time += 1
    assert json.loads(look(box, f"/v2/videos/{job['id']}").body)["status"] == "in_progress"
    clock.time += 10
    done = json.loads(look(box, f"/v2/videos/{job['id']}").body)
    assert (done["status"], done["outputs"]["cost"]) == ("completed", 0.28)
    file = look(box, done["outputs"]["video_url"].removeprefix("http://here"), key=None)
    assert (file.status, file.headers["Content-Type"], file.body[4:8]) == (200, "video/mp4", b"ftyp")
    assert look(box, f"/v2/videos/{job['id']}", key=None).status == 401
    assert look(box, "/v2/videos/vid_unknown").status == 404


def test_a_video_that_fails_costs_nothing(desk, clock):
    box = desk(video_failures=1.0)
    job = json.loads(box.post("/v2/videos", {"model": "m", "prompt": "a fox"}).body)
    clock.time += 10
    done = json.loads(look(box, f"/v2/videos/{job['id']}").body)
    assert (done["status"], done["outputs"]["cost"]) == ("failed", 0)
    assert done["error"]["message"]


def test_an_address_holds_as_long_as_it_says(desk):
    for seconds, status in ((100, 200), (0, 403)):
        box = desk(url_seconds=seconds)
        drawn = box.post("/v1/images/generations", {"model": "m", "prompt": "x"}, headers={"host": "here"})
        path = json.loads(drawn.body)["data"][0]["url"].removeprefix("http://here")
        assert look(box, path, key=None).status == status
        assert look(box, "/files/../etc/passwd", key=None).status == 404


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/images/generations", {"model": "m"}),
        ("/v1/images/generations", {"model": "m", "prompt": "x", "n": 5}),
        ("/v1/images/generations", {"model": "m", "prompt": "x", "width": 1001}),
        ("/v1/audio/speech", {"model": "m", "input": "x"}),
        ("/v1/audio/speech", {"model": "m", "input": "x", "voice": "y", "stream": True}),
        ("/v2/videos", {"model": "m"}),
        ("/v2/videos", {"model": "m", "prompt": "x", "seconds": 5}),
    ],
)
def test_what_a_provider_refuses_is_refused_and_not_billed(desk, path, body):
    box = desk()
    assert box.post(path, body).status == 400
    assert box.ledger.totals["billed"] == 0

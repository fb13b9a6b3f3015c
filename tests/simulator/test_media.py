"""Pictures and sounds that are sent to the simulator: what they count, how forms are read, and every form of answer."""

from __future__ import annotations

import base64
import json

import httpx
import openai
import pytest
import together

from batchrunner.simulator import Provider, Settings, serve
from batchrunner.simulator.bill import Units
from batchrunner.simulator.forms import read_fields
from batchrunner.simulator.pictures import size_of, tokens_of_picture
from tests.media import gif_head, jpeg_head, png, wav, webp_head
from tests.simulator.test_official_clients import openai_client, together_client

TALK = wav(9.0)
WHISPER = "openai/whisper-large-v3"


def url_of(data: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def asking(*urls: str) -> list[dict[str, object]]:
    return [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}} for url in urls]}]


@pytest.mark.parametrize(
    ("width", "height", "tokens"),
    [
        (1, 1, 1601),
        (560, 560, 1601),
        (1119, 1119, 1601),
        (1120, 560, 3202),
        (560, 1120, 3202),
        (1120, 1120, 6404),
        (10_000, 10_000, 6404),
    ],
)
def test_a_picture_counts_by_its_tiles(desk, width, height, tokens):
    made = desk()
    made.chat(messages=asking(url_of(png(width, height))))
    (entry,) = made.ledger.entries
    assert entry.usage["prompt_tokens"] == tokens + 3
    for head in (jpeg_head, gif_head, webp_head):
        size = size_of(head(width, height))
        assert size == (width, height)
        assert tokens_of_picture(size) == tokens


@pytest.mark.parametrize(
    "url",
    [
        "file:photos/1.jpg",
        "file:///etc/passwd",
        "photos/1.jpg",
        "",
        None,
        "data:image/png;base64,****",
        "data:image/png;base64,",
        "data:image/png,abc",
        url_of(b"no picture"),
        url_of(png()[:20]),
        url_of(png(), "text/plain"),
    ],
)
def test_a_picture_that_is_none_is_refused(desk, url):
    answer = desk().chat(messages=asking(url))
    assert answer.status == 400


def test_a_link_counts_one_tile_and_is_not_followed(desk):
    made = desk()
    made.chat(messages=asking("https://example.com/1.jpg", url_of(png())))
    assert made.ledger.entries[0].usage["prompt_tokens"] == 2 * 1601 + 3


def test_a_sound_in_a_message_counts_by_its_length(desk):
    made = desk(flavour="openai")
    sound = {"data": base64.b64encode(wav(2.5)).decode(), "format": "wav"}
    made.chat(messages=[{"role": "user", "content": [{"type": "input_audio", "input_audio": sound}]}])
    assert made.ledger.entries[0].usage["prompt_tokens"] == 25 + 3
    refused = made.chat(messages=[{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "x"}}]}])
    assert refused.status == 400


@pytest.mark.anyio
@pytest.mark.parametrize("path", ["transcriptions", "translations"])
async def test_together_hears_and_translates(path):
    provider = Provider(Settings())
    async with serve(provider) as url, together_client(url) as client:
        audio = getattr(client.audio, path)
        plain = await audio.create(model=WHISPER, file=("talk.wav", TALK))
        assert plain.text.startswith("[echo ")
        more = {"diarize": True} if path == "transcriptions" else {}
        verbose = await audio.create(
            model=WHISPER,
            file=("talk.wav", TALK),
            response_format="verbose_json",
            timestamp_granularities=["segment", "word"],
            temperature=0.2,
            **more,
        )
        assert verbose.duration == 9.0
        assert [segment.id for segment in verbose.segments] == [0, 1]
        assert len(verbose.words) == 2
        if more:
            assert verbose.speaker_segments[0].speaker_id == "SPEAKER_00"
    assert [entry.units for entry in provider.ledger.entries] == [Units(milliseconds=9000)] * 2
    assert provider.ledger.units["milliseconds"] == 18_000
    assert {entry.usage is None for entry in provider.ledger.entries} == {True}


@pytest.mark.anyio
@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")  # so says the package of its translations
@pytest.mark.parametrize("path", ["transcriptions", "translations"])
async def test_openai_hears_and_translates_in_every_format(path):
    provider = Provider(Settings(flavour="openai"))
    async with serve(provider) as url, openai_client(url) as client:
        create = getattr(client.audio, path).create
        plain = await create(model="whisper-1", file=("talk.wav", TALK))
        assert plain.text.startswith("[echo ")
        verbose = await create(model="whisper-1", file=("talk.wav", TALK), response_format="verbose_json")
        assert float(verbose.duration) == 9.0
        assert verbose.segments[0].tokens
        text = await create(model="whisper-1", file=("talk.wav", TALK), response_format="text")
        assert isinstance(text, str)
        assert text.startswith("[echo ")
        subtitles = await create(model="whisper-1", file=("talk.wav", TALK), response_format="srt")
        assert "00:00:00,000 --> 00:00:04,500" in subtitles
        webvtt = await create(model="whisper-1", file=("talk.wav", TALK), response_format="vtt")
        assert webvtt.startswith("WEBVTT\n\n00:00:00.000 --> 00:00:04.500\n")
        if path == "transcriptions":
            assert plain.usage.type == "duration"
            assert plain.usage.seconds == 9
            spoken = await create(
                model="gpt-4o-transcribe-diarize", file=("talk.wav", TALK), response_format="diarized_json"
            )
            assert {segment.speaker for segment in spoken.segments} == {"A"}
            counted = await create(model="gpt-4o-transcribe", file=("talk.wav", TALK))
            assert (counted.usage.type, counted.usage.input_tokens) == ("tokens", 90)
            entry = provider.ledger.entries[-1]
            assert (entry.input_tokens, entry.output_tokens) == (90, counted.usage.output_tokens)
    assert {entry.units for entry in provider.ledger.entries} == {Units(milliseconds=9000)}


def form(boundary: str = "b", **fields: bytes | tuple[str, bytes]) -> tuple[bytes, str]:
    body = b""
    for name, value in fields.items():
        head = f'Content-Disposition: form-data; name="{name}"'
        if isinstance(value, tuple):
            head += f'; filename="{value[0]}"\r\nContent-Type: audio/wav'
            value = value[1]
        body += f"--{boundary}\r\n{head}\r\n\r\n".encode() + value + b"\r\n"
    return body + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


def hear(desk, *, content_type: str | None = None, path: str = "transcriptions", **fields):
    body, kind = form(**fields)
    return desk.post(f"/v1/audio/{path}", body, headers={"content-type": content_type or kind})


FILE = {"model": WHISPER.encode(), "file": ("talk.wav", TALK)}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flavour", "changes", "status", "code"),
    [
        ("together", {"file": b"not a url"}, 400, "invalid_params"),
        ("openai", {"file": b"https://example.com/talk.mp3"}, 400, "invalid_params"),
        ("together", {"file": ("talk.wav", b"no sound")}, 400, "unsupported_format"),
        ("openai", {"file": ("talk.doc", TALK)}, 400, "unsupported_format"),
        ("together", {"response_format": b"srt"}, 400, "invalid_params"),
        ("openai", {"response_format": b"xml"}, 400, "invalid_params"),
        ("together", {"temperature": b"warm"}, 400, "invalid_params"),
        ("together", {"temperature": b"2"}, 400, "invalid_params"),
        ("together", {"diarize": b"True"}, 400, "invalid_params"),
        ("together", {"file": ("talk.wav", TALK + bytes(80_000_000))}, 413, "request_too_large"),
        ("openai", {"file": ("talk.wav", TALK + bytes(26_214_400))}, 413, "request_too_large"),
        ("openai", {"model": b""}, 400, None),
        ("together", {"file": ("long.flac", b"fLaC" + bytes(79_000_000))}, 200, None),
        ("together", {}, 200, None),
        ("openai", {}, 200, None),
    ],
)
def test_a_form_is_judged_as_the_flavour_judges_it(desk, flavour, changes, status, code):
    answer = hear(desk(flavour=flavour), **(FILE | changes))
    assert answer.status == status, answer.body[:300]
    if status != 200:
        assert json.loads(answer.body)["error"]["code"] == code


def test_together_takes_a_url_in_the_place_of_a_file(desk):
    # Its package refuses to send one, though its description has it.
    made = desk()
    assert hear(made, **FILE | {"file": b"https://example.com/talk.mp3"}).status == 200
    assert made.ledger.entries[0].units.milliseconds > 1000


@pytest.mark.parametrize("wanted", ["json", "verbose_json", "text", "srt"])
@pytest.mark.parametrize(("seconds", "stated"), [(2.001, 3), (2.5, 3), (3.0, 3), (0.2, 1)])
def test_openai_bills_the_whole_seconds_that_it_states_and_together_the_sound_to_the_millisecond(
    desk, wanted, seconds, stated
):
    made = desk(flavour="openai")
    answer = hear(made, model=b"whisper-1", file=("talk.wav", wav(seconds)), response_format=wanted.encode())
    (entry,) = made.ledger.entries
    assert (answer.status, entry.units.milliseconds) == (200, stated * 1_000)
    assert entry.charge == stated * 100_000_000, "0.006 dollars a minute"
    if wanted.endswith("json"):
        assert json.loads(answer.body)["usage"] == {"type": "duration", "seconds": stated}
    if wanted == "verbose_json":
        assert json.loads(answer.body)["duration"] == seconds
    together = desk()
    assert hear(together, **FILE | {"file": ("talk.wav", wav(seconds))}).status == 200
    assert together.ledger.entries[0].units.milliseconds == round(seconds * 1_000)


def test_together_listens_for_four_hours_at_most(desk):
    quiet = TALK[:24] + (1000).to_bytes(4, "little") * 2 + TALK[32:40] + (2**31).to_bytes(4, "little")
    answer = hear(desk(), model=WHISPER.encode(), file=("long.wav", quiet + bytes(15_000_000)))
    assert json.loads(answer.body)["error"]["code"] == "audio_too_long"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"{}", "application/json"),
        (b"", "multipart/form-data; boundary=b"),
        (b"--b--\r\n", "multipart/form-data"),
        (form(**FILE)[0], "multipart/form-data; boundary=c"),
        (form(**FILE)[0][:-6], "multipart/form-data; boundary=b"),
        (form(**FILE)[0].replace(b"form-data", b"attachment"), "multipart/form-data; boundary=b"),
        (form(**FILE)[0].replace(b"\r\n\r\n", b"\r\n", 1), "multipart/form-data; boundary=b"),
    ],
)
def test_a_broken_form_is_refused(desk, body, kind):
    answer = desk().post("/v1/audio/transcriptions", body, headers={"content-type": kind})
    assert answer.status == 400


def test_forms_of_another_writer_are_read_back():
    data = b"\r\n--no boundary\r\n\x00\xff"
    request = httpx.Request(
        "POST", "http://127.0.0.1", data={"a": "1", "b[]": ["x", "y"]}, files={"file": ("t.wav", data, "audio/wav")}
    )
    fields = read_fields(request.headers["content-type"], request.read())
    assert fields is not None
    assert [(each.name, each.filename, each.data) for each in fields] == [
        ("a", None, b"1"),
        ("b[]", None, b"x"),
        ("b[]", None, b"y"),
        ("file", "t.wav", data),
    ]


@pytest.mark.parametrize("fault", ["no_choices", "no_finish", "absurd_usage", "truncated_json", "empty200", "same_id"])
def test_faults_of_the_body_befall_transcripts_too(desk, fault):
    made = desk(flavour="openai", faults={fault: 1.0})
    assert hear(made, **FILE).status == 200
    assert hear(made, **FILE, response_format=b"srt").status == 200
    assert [entry.billed for entry in made.ledger.entries] == [True, True]


@pytest.mark.anyio
async def test_both_packages_name_a_refused_sound_as_they_name_other_bad_requests():
    for flavour, build, package in (("together", together_client, together), ("openai", openai_client, openai)):
        async with serve(Provider(Settings(flavour=flavour))) as url, build(url) as client:
            with pytest.raises(package.BadRequestError, match="Unrecognized file format"):
                await client.audio.transcriptions.create(model=WHISPER, file=("talk.wav", b"no sound"))

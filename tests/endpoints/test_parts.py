"""Files in the parts of messages: found at load, and put in at send time, with every other byte as it was."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrunner.core.attachments import Attached
from batchrunner.core.mediatypes import IMAGES, SOUNDS, VIDEOS
from batchrunner.endpoints.base import BadBody
from batchrunner.endpoints.registry import CHAT

PNG = b"\x89PNG\r\n\x1a\n\x00\xff"


def body(*parts, **more):
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": list(parts)}], **more}).encode()


def linked(kind, url):
    return {"type": kind, kind: {"url": url}}


def sound(data, **more):
    return {"type": "input_audio", "input_audio": {"data": data, **more}}


def compose(raw, *files):
    made = CHAT.compose(raw, [Attached(name, data, kind) for name, data, kind in files])
    assert made.content_type == "application/json"
    return json.loads(made.body)


def parts_of(sent):
    return sent["messages"][0]["content"]


@pytest.mark.parametrize(
    ("part", "accepts"),
    [
        (linked("image_url", "file:photos/1.jpg"), IMAGES),
        (linked("video_url", "file:photos/1.jpg"), VIDEOS),
        (linked("audio_url", "file:photos/1.jpg"), SOUNDS),
        ({"type": "image_url", "image_url": "file:photos/1.jpg"}, IMAGES),
        (sound("file:photos/1.jpg", format="wav"), ("audio/wav",)),
        (sound("file:photos/1.jpg", format="mp3"), ("audio/mpeg",)),
    ],
)
def test_a_reference_is_found_with_what_may_be_sent_in_its_place(part, accepts):
    facts = CHAT.inspect(body({"type": "text", "text": "What is it?"}, part))
    assert facts.composed
    assert [(file.name, file.accepts) for file in facts.files] == [("photos/1.jpg", accepts)]
    assert facts.files == CHAT.wanted(body({"type": "text", "text": "What is it?"}, part))


@pytest.mark.parametrize(
    "raw",
    [
        body(linked("image_url", "https://example.com/file:photos/1.jpg")),
        body(linked("image_url", "data:image/png;base64,file:")),
        body({"type": "text", "text": "file:photos/1.jpg"}),
        body({"type": "image_url", "text": "file:photos/1.jpg"}),
        body({"type": "text", "text": 'an "image_url": {"url": "file:photos/1.jpg"}'}),
        body(linked("image_url", "FILE:photos/1.jpg")),
        body(linked("image_url", None)),
        body(linked("image_url", ["file:photos/1.jpg"])),
        body("file:photos/1.jpg", 7, None, ["file:x"]),
        body(metadata={"image_url": {"url": "file:photos/1.jpg"}}),
        json.dumps({"model": "m", "messages": [{"role": "user", "content": "file:photos/1.jpg"}]}).encode(),
        json.dumps({"model": "m", "messages": [{"role": "user", "content": {"image_url": "file:x"}}]}).encode(),
    ],
)
def test_what_only_looks_like_a_reference_is_sent_as_it_came(raw):
    facts = CHAT.inspect(raw)
    assert not facts.composed
    assert facts.files == ()
    assert CHAT.compose(raw, []).body is raw


def test_a_reference_that_is_spelled_with_escapes_is_one_all_the_same():
    raw = body(linked("image_url", "file:a.png"))
    for spelled in (b'"\\u0066ile:a.png"', b'"file\\u003aa.png"', b'"file\\u003Aa.png"', b'"fi\\u006ce:a.png"'):
        escaped = raw.replace(b'"file:a.png"', spelled)
        assert json.loads(escaped) == json.loads(raw)
        assert [file.name for file in CHAT.inspect(escaped).files] == ["a.png"]


def test_files_become_data_urls_in_their_order_and_sounds_bare_base64():
    raw = body(
        linked("image_url", "file:1.png"),
        linked("image_url", "https://example.com/2.png"),
        linked("video_url", "file:3.mp4"),
        sound("file:4.wav", format="wav"),
        {"type": "image_url", "image_url": "file:5.png"},
    )
    assert [file.name for file in CHAT.wanted(raw)] == ["1.png", "3.mp4", "4.wav", "5.png"]
    sent = parts_of(
        compose(
            raw,
            ("1.png", PNG, "image/png"),
            ("3.mp4", b"video", "video/mp4"),
            ("4.wav", b"sound", "audio/wav"),
            ("5.png", b"five", "image/jpeg"),
        )
    )
    assert sent[0]["image_url"]["url"] == "data:image/png;base64," + base64.b64encode(PNG).decode()
    assert sent[1] == linked("image_url", "https://example.com/2.png")
    assert sent[2]["video_url"]["url"] == "data:video/mp4;base64," + base64.b64encode(b"video").decode()
    assert sent[3] == sound(base64.b64encode(b"sound").decode(), format="wav")
    assert sent[4]["image_url"] == "data:image/jpeg;base64," + base64.b64encode(b"five").decode()


@pytest.mark.parametrize("size", [1, 2, 3, 393_215, 393_216, 393_217, 1_000_000])
def test_files_of_any_size_come_out_as_they_are(size):
    data = bytes(range(256)) * (size // 256) + bytes(size % 256)
    sent = parts_of(compose(body(linked("image_url", "file:1.png")), ("1.png", data, "image/png")))
    assert base64.b64decode(sent[0]["image_url"]["url"].partition(",")[2], validate=True) == data


def test_the_same_words_as_text_stay_text():
    raw = body({"type": "text", "text": "file:1.png"}, linked("image_url", "file:1.png"))
    sent = parts_of(compose(raw, ("1.png", PNG, "image/png")))
    assert sent[0] == {"type": "text", "text": "file:1.png"}


def test_every_value_beside_keeps_its_bytes():
    odd = b'{"model":"m", "seed":15924764223251450000, "temperature" : 0.10, "stop":"\\u00e9\\/", "messages":[%b]}'
    part = b'{"type":"image_url","image_url":{"url":"file:1.png","detail":"low"}}'
    raw = odd % (b'{"role":"user","name":"\\ud83d\\ude00","content":[%b]}' % part)
    sent = CHAT.compose(raw, [Attached("1.png", b"x", "image/png")]).body
    for kept in (b"15924764223251450000", b"0.10", b'"\\u00e9\\/"', b'"\\ud83d\\ude00"', b'"detail":"low"'):
        assert kept in sent
    assert json.loads(sent)["messages"][0]["content"][0]["image_url"]["url"] == "data:image/png;base64,eA=="


@pytest.mark.parametrize("more", [{}, {"format": None}, {"format": "wave"}, {"format": 7}])
def test_a_sound_without_a_format_that_is_known_is_refused(more):
    with pytest.raises(BadBody, match=r"`input_audio\.format` beside a file must be one of wav, mp3"):
        CHAT.inspect(body(sound("file:talk.wav", **more)))


def test_the_bytes_of_a_reference_are_not_counted_as_text():
    short = CHAT.inspect(body(linked("image_url", "file:1.png"))).est_in
    long = CHAT.inspect(body(linked("image_url", "file:" + "x" * 1000))).est_in
    assert short == long


texts = st.text(max_size=20) | st.sampled_from(["file:", "file:a", '"file:', "\\file:", "image_url"])
leaves = texts | st.none() | st.booleans() | st.integers() | st.just("file:a.png")
values = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3))
parts = st.fixed_dictionaries(
    {"type": texts}, optional=dict.fromkeys(["image_url", "video_url", "audio_url", "text", "input_audio"], values)
) | st.builds(linked, st.sampled_from(["image_url", "video_url"]), texts)


@given(st.lists(parts | values, max_size=4), st.booleans())
def test_whatever_the_parts_are_only_references_change(given_parts, ascii_only):
    raw = json.dumps(
        {"model": "m", "messages": [{"role": "user", "content": given_parts}]}, ensure_ascii=ascii_only
    ).encode("utf-8", "replace")
    try:
        wanted = CHAT.wanted(raw)
    except BadBody:
        return
    assert CHAT.inspect(raw).files == wanted, "the quick look misses one"
    made = CHAT.compose(raw, [Attached(file.name, b"\0", "image/png") for file in wanted])
    before, after = json.loads(raw), json.loads(made.body)
    data = "data:image/png;base64,AA=="
    assert json.dumps(after).count(data) + json.dumps(after).count('"AA=="') >= len(wanted)
    if not wanted:
        assert after == before

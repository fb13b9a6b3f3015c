"""Forms: what is written can be read back by a parser that is not ours, whatever names and values hold."""

import email.parser
import email.policy
import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrunner.core.attachments import Attached
from batchrunner.core.attempt import Reply
from batchrunner.core.http import HttpReply
from batchrunner.core.usage import Usage
from batchrunner.endpoints import multipart as forms
from batchrunner.endpoints.base import BadBody
from batchrunner.endpoints.multipart import FilePart, multipart
from batchrunner.endpoints.registry import TRANSCRIPTIONS, TRANSLATIONS
from tests.endpoints.replies import together
from tests.media import wav


def read(body, content_type):
    """Name, file name, type and data of each part, by the standard library's reader of mail."""
    head = f"Content-Type: {content_type}\r\n\r\n".encode()
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + body)
    assert message.is_multipart()
    return [
        (
            part.get_param("name", header="content-disposition"),
            part.get_filename(),
            part.get_content_type() if part.get_filename() else None,
            part.get_payload(decode=True),
        )
        for part in message.iter_parts()
    ]


def compose(body, *files):
    return TRANSCRIPTIONS.compose(json.dumps(body).encode(), list(files))


TALK = Attached("voice/talk.wav", wav(0.5), "audio/wav")


def test_a_transcription_goes_out_as_a_form_with_the_model_first_and_the_file_last():
    body = {
        "file": "file:voice/talk.wav",
        "language": "en",
        "temperature": 0.20,
        "diarize": True,
        "prompt": None,
        "model": "w",
    }
    made = compose(body, TALK)
    assert read(made.body, made.content_type) == [
        ("model", None, None, b"w"),
        ("language", None, None, b"en"),
        ("temperature", None, None, b"0.2"),
        ("diarize", None, None, b"true"),
        ("file", "talk.wav", "audio/wav", TALK.data),
    ]
    assert made.milliseconds == 500


def test_lists_are_repeated_fields_and_objects_fields_in_brackets():
    body = {
        "model": "w",
        "file": "file:talk.wav",
        "timestamp_granularities": ["segment", "word"],
        "include[]": ["logprobs"],
        "chunking_strategy": {"type": "server_vad", "threshold": 0.5},
    }
    made = compose(body, TALK)
    assert [(name, data) for name, _, _, data in read(made.body, made.content_type)][1:-1] == [
        ("timestamp_granularities[]", b"segment"),
        ("timestamp_granularities[]", b"word"),
        ("include[]", b"logprobs"),
        ("chunking_strategy[type]", b"server_vad"),
        ("chunking_strategy[threshold]", b"0.5"),
    ]


def test_a_url_is_a_plain_text_part_as_together_takes_it():
    made = compose({"model": "w", "file": "https://example.com/a.mp3"})
    assert read(made.body, made.content_type)[-1] == ("file", None, None, b"https://example.com/a.mp3")
    assert made.milliseconds is None


@pytest.mark.parametrize(
    ("name", "sent"),
    [("talk.wav", "talk.wav"), ("a/b/talk.WAV", "talk.WAV"), ("talk", "talk.wav"), ("talk.mp3", "talk.mp3.wav")],
)
def test_the_name_that_is_sent_ends_as_the_content_is(name, sent):
    made = compose({"model": "w", "file": f"file:{name}"}, TALK._replace(name=name))
    assert read(made.body, made.content_type)[-1][1] == sent


def test_the_same_form_gives_the_same_bytes():
    body = {"model": "w", "file": "file:talk.wav"}
    assert compose(body, TALK) == compose(body, TALK)


def test_no_data_can_end_a_part(monkeypatch):
    """Even one that holds the boundary: here the first two are made to be known before."""
    real, known = hashlib.sha256, iter(["0" * 64, "1" * 64])

    class Known:
        def __init__(self, data=b""):
            self._real = real(data)

        def update(self, data):
            self._real.update(data)

        def hexdigest(self):
            return next(known, self._real.hexdigest())

    monkeypatch.setattr(forms.hashlib, "sha256", Known)
    data = b"\r\n--batchrunner-" + b"0" * 40 + b"\r\n--batchrunner-" + b"1" * 40 + b"--\r\n"
    body, content_type = multipart([("a", data)], FilePart("file", "x", "audio/wav", data))
    assert [part[3] for part in read(body, content_type)] == [data, data]


def test_names_cannot_break_out_of_their_quotes():
    name, filename = 'a"\r\nX-Evil: 1', 'b"; filename="c\r\n\r\n.wav'
    body, content_type = multipart([(name, b"1")], FilePart("file", filename, "audio/wav", b"2"))
    (first, _, _, _), (_, second, _, _) = read(body, content_type)
    assert (first, second) == ("a%22%0D%0AX-Evil: 1", "b%22; filename=%22c%0D%0A%0D%0A.wav")
    assert b"X-Evil: 1\r\n" not in body


plain_names = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=12)


@given(
    st.lists(st.tuples(plain_names, st.binary(max_size=200) | st.just(b"\r\n--")), min_size=1, max_size=5),
    st.binary(max_size=300),
)
def test_every_form_can_be_read_back(fields, data):
    body, content_type = multipart(fields, FilePart("file", "x.wav", "audio/wav", data))
    expected = [(name, None, None, value) for name, value in fields] + [("file", "x.wav", "audio/wav", data)]
    found = read(body, content_type)
    # The mail reader turns lone line ends around, so only what has none is compared to the byte.
    assert [part[:3] for part in found] == [part[:3] for part in expected]
    for one, other in zip(found, expected, strict=True):
        if b"\r" not in other[3] and b"\n" not in other[3]:
            assert one[3] == other[3]


@pytest.mark.parametrize(
    ("body", "field", "says"),
    [
        ({"file": "file:a.wav"}, "model", "`model` is missing"),
        ({"model": "w"}, "file", "`file` is missing"),
        ({"model": "w", "file": ""}, "file", "that is not empty"),
        ({"model": "w", "file": 7}, "file", "`file`: expected a string"),
        ({"model": "w", "file": "talk.wav"}, "file", '`file` must be "file:PATH"'),
        ({"model": "w", "file": "data:audio/wav;base64,AA=="}, "file", '`file` must be "file:PATH"'),
        ({"model": "w", "file": "ftp://example.com/a.wav"}, "file", '`file` must be "file:PATH"'),
        ({"model": "w", "file": "file:a.wav", "stream": True}, "stream", "is not streamed"),
    ],
)
def test_what_cannot_be_transcribed_is_refused_with_its_place(body, field, says):
    for endpoint in (TRANSCRIPTIONS, TRANSLATIONS):
        with pytest.raises(BadBody) as caught:
            endpoint.inspect(json.dumps(body).encode())
        assert caught.value.field == field
        assert says in caught.value.reason


def test_a_file_that_is_there_twice_is_refused():
    with pytest.raises(BadBody, match="`file` is there twice"):
        TRANSCRIPTIONS.inspect(b'{"model":"w","file":"file:a.wav","file":"file:b.wav"}')


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"text": "", "duration": 1.25}, 1250),
        ({"text": "", "duration": "1.25"}, 1250),
        ({"text": "", "usage": {"type": "duration", "seconds": 2}}, 2000),
        ({"text": "", "duration": 1.25, "usage": {"type": "duration", "seconds": 2}}, 2000),
        ({"text": "", "duration": 1.2345}, 1235),
        ({"text": ""}, None),
        ({"text": "", "duration": 0}, None),
        ({"text": "", "duration": -1}, None),
        ({"text": "", "duration": True}, None),
        ({"text": "", "duration": 1e300}, None),
        ({"text": "", "duration": "NaN"}, None),
        ({"text": "", "duration": "long"}, None),
        ({"text": "", "usage": "a lot"}, None),
    ],
)
def test_the_length_that_an_answer_tells_is_its_usage_in_whole_milliseconds(answer, expected):
    reply = HttpReply(200, {"content-type": "application/json"}, json.dumps(answer).encode(), 1)
    outcome = TRANSCRIPTIONS.read(reply, together)
    assert isinstance(outcome, Reply)
    assert outcome.usage == (None if expected is None else Usage(milliseconds=expected))

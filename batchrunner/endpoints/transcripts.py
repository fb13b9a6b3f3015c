"""Speech to text: transcriptions and translations.

The line's body is JSON like any other; what is sent is a form (``multipart/form-data``), its file read at send time or
named by a URL, which goes as plain text (Together's way). ``text``, ``srt`` and ``vtt`` answers are no JSON: they are
kept as a JSON string, so that every result stays JSON.
"""

import os.path
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from batchrunner.core.attachments import Attached, Composed, Wanted
from batchrunner.core.attempt import Outcome, Reply
from batchrunner.core.http import HttpReply
from batchrunner.core.mediatypes import SOUNDS, SUFFIXES
from batchrunner.core.sound import milliseconds
from batchrunner.endpoints.answers import UNREADABLE, Answer, Form, Misshapen, load, read_answer
from batchrunner.endpoints.base import BadBody, Classifier, Facts
from batchrunner.endpoints.facts import Asked, Text, decode, keys, refuse_repeats
from batchrunner.endpoints.multipart import FilePart, fields_of, multipart
from batchrunner.endpoints.parts import SCHEME, reference
from batchrunner.endpoints.rules import NAME, SWITCH, TEXT, Rule, either, list_of, number, one_of, whole
from batchrunner.endpoints.units import heard_in
from batchrunner.endpoints.usage import timed

MOST_UPLOAD = 80_000_000
"""Bytes of a sound: Together takes 80 MB, OpenAI 25 MiB."""
LONGEST_TEXT = 8 * 1024 * 1024
"""Bytes of an answer that is plain text; four hours of speech are a fortieth of it."""


class _Body(Asked, gc=False, kw_only=True):
    file: Text
    stream: bool | None = None


class _Raw(msgspec.Struct, gc=False):
    file: msgspec.Raw


class _Transcript(Answer, gc=False):
    text: Any = None


_BODY = msgspec.json.Decoder(_Body)
_RAW = msgspec.json.Decoder(_Raw)
_TRANSCRIPT = msgspec.json.Decoder(_Transcript)
_STRING = msgspec.json.Decoder(str)
_WATCHED = keys("model", "file", "stream")


def _judge(answer: _Transcript) -> None:
    """Raise Misshapen unless there is a text; silence has an empty one."""
    if type(answer.text) is not str:
        raise Misshapen("it has no text")


_FORM = Form("a transcript", _TRANSCRIPT, _judge, timed)

_RULES: Final[Mapping[str, Rule]] = {
    "model": NAME,
    "file": NAME,
    "language": TEXT,
    "prompt": TEXT,
    "response_format": one_of("json", "text", "srt", "verbose_json", "vtt", "diarized_json"),
    "temperature": number(0, 1),
    "timestamp_granularities": either(one_of("segment", "word"), list_of(one_of("segment", "word"))),
    "diarize": SWITCH,
    "min_speakers": whole(1),
    "max_speakers": whole(1),
}


class Transcripts:
    """Speech to text as Together, OpenAI and vLLM speak it, at one of its two paths."""

    streams = False
    rules = _RULES

    def __init__(self, path: str, name: str) -> None:
        self.path = path
        self.name = name

    def inspect(self, body: bytes) -> Facts:
        """Check model and file: ``file:talk.wav`` or an http(s) URL; raises BadBody.

        It is billed by seconds, or by tokens, and nobody can tell them before: none are estimated, and none are bound.
        """
        asked = decode(_BODY, body)
        if asked.stream:
            raise BadBody('the answer of speech to text is not streamed: remove "stream"', "stream")
        refuse_repeats(body, _WATCHED)
        if not asked.file.startswith((SCHEME, "https://", "http://")):
            raise BadBody('`file` must be "file:PATH" beneath the folder of --attachments, or an https:// URL', "file")
        return Facts(asked.model, 0, None, files=self.wanted(body), composed=True)

    def feed(self, body: bytes) -> None:
        """Return None: it comes in one piece."""

    def wanted(self, body: bytes) -> tuple[Wanted, ...]:
        """Return the file to send; none where it is named by a URL."""
        wanted = reference(_RAW.decode(body).file, SOUNDS, MOST_UPLOAD)
        return () if wanted is None else (wanted,)

    def compose(self, body: bytes, files: Sequence[Attached]) -> Composed:
        """Return the form that is sent: ``model`` first, as Together's documentation advises, and the file last."""
        fields = sorted(fields_of(body, without="file"), key=lambda field: field[0] != "model")
        if not files:
            url = _STRING.decode(_RAW.decode(body).file)
            return Composed(*multipart([*fields, ("file", url.encode())], None))
        (file,) = files
        part = FilePart("file", _filename(file), file.media_type, file.data)
        return Composed(*multipart(fields, part), milliseconds(file.data))

    def read(self, reply: HttpReply, classify: Classifier) -> Outcome:
        """Parse an answer of any status. Never raises, whatever the bytes are.

        Plain text counts as an answer where the header says that it is text; its ``body`` is then that text as JSON.
        Where no usage came, the length that the transcript itself tells is the usage.
        """
        text = _plain(reply)
        if text is None:
            outcome = read_answer(reply, classify, _FORM)
            if isinstance(outcome, Reply) and outcome.usage is None:
                outcome = outcome._replace(usage=heard_in(outcome.body))
            return outcome
        as_json = msgspec.json.encode(text)
        outcome = read_answer(reply._replace(body=b'{"text":%b}' % as_json), classify, _FORM)
        return outcome._replace(body=as_json) if isinstance(outcome, Reply) else outcome

    def text(self, body: bytes) -> str | None:
        """Return what was said: the transcript's text, subtitles whole."""
        try:
            return load(_STRING, body) if body[:1] == b'"' else _said(load(_TRANSCRIPT, body).text)
        except UNREADABLE:
            return None


def _plain(reply: HttpReply) -> str | None:
    """Return an answer that is text and says so; None for every other one, empty and broken ones too."""
    kind = reply.headers.get("content-type", "").partition(";")[0].strip().lower()
    if reply.status != 200 or kind == "text/html" or not (kind.startswith("text/") or kind == "application/x-subrip"):
        return None
    body = reply.body
    if not body or len(body) > LONGEST_TEXT or body.lstrip()[:5].lower().startswith((b"{", b"<!", b"<html")):
        return None
    try:
        return body.decode()
    except UnicodeDecodeError:
        return None


def _said(text: Any) -> str | None:
    return text if isinstance(text, str) else None


def _filename(file: Attached) -> str:
    """Return the file's own name, without its folders; with an ending that servers know it by (OpenAI goes by it)."""
    name = file.name.rstrip("/").rpartition("/")[2]
    endings = SUFFIXES.get(file.media_type, ())
    if not endings or os.path.splitext(name)[1].lower().lstrip(".") in endings:  # noqa: PTH122 - a name, not a path
        return name
    return f"{name}.{endings[0]}"

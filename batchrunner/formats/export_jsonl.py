"""Results as JSON Lines: the output shape of OpenAI's Batch API, and one key of our own, ``batchrunner``."""

import json
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import NoReturn

import msgspec

from batchrunner.core.job import Job
from batchrunner.core.labels import label_of
from batchrunner.core.request import RequestState
from batchrunner.core.usage import OTHERS, TOKENS, Usage
from batchrunner.formats.base import Row, exact_seconds, exact_usd, latency_ms, links
from batchrunner.formats.replace import begins_and_ends

BEFORE = b'{"id":"batch_req_%d","custom_id":%b,"response":'
AFTER = (
    b',"error":%b,"batchrunner":{"job":%b,"line":%d,"state":%b,'
    b'"attempts":%d,"latency_ms":%b,%b,"usage":%b,'
    b'"usage_from":%b,"billing":%b,"cost_usd":%b,"flags":%b,"extras":%b%b'
)
NAMES = b'"provider":%b,"model":%b,"echoed_model":%b,"endpoint":%b'
RESPONSE = b'{"status_code":%d,"request_id":%b,"body":'
USAGE = b'{"input_tokens":%d,"cached_tokens":%d,"output_tokens":%d,"reasoning_tokens":%d}'
UNIT_KEYS = {
    "audio_input": "audio_input_tokens",
    "audio_output": "audio_output_tokens",
    "image_input": "image_input_tokens",
    "image_output": "image_output_tokens",
}
"""What units are called in results, where it is not as everywhere else."""
NO_UNITS = Usage()[TOKENS:]
NULL = b"null"
NO_FLAGS = b"[]"
SUCCEEDED = RequestState.SUCCEEDED

_check: Callable[[bytes], msgspec.Raw] = msgspec.json.Decoder(msgspec.Raw).decode
_encode = msgspec.json.encode


class JsonlExporter:
    """One line per request; replies are spliced in as the bytes that came."""

    splits = True

    def __init__(self, job: Job, artifacts: str = "") -> None:
        """``artifacts`` is the artifacts folder as seen from where the results will be."""
        self._artifacts = artifacts
        self._job = _encode(job.name)
        self._mark = b',"job_mark":"%b"}}\n' % job.mark.encode()

    def head(self) -> bytes:
        """Return nothing: JSON Lines has no head."""
        return b""

    def foot(self) -> bytes:
        """Return nothing: JSON Lines end with a line."""
        return b""

    def owns(self, path: Path) -> bool:
        """Tell whether a file is empty, or its last line names this job by its mark. Raises OSError."""
        return begins_and_ends(path, b"", self._mark)

    def line(self, row: Row) -> bytes:
        """Return a row as one line.

        A refusal has both the provider's response and our error; what never was answered has no response.
        """
        state, usage, cost, latency = row.state, row.usage, row.cost, latency_ms(row)
        before = BEFORE % (row.id, _encode(row.custom_id))
        after = AFTER % (
            NULL if state is SUCCEEDED else _error(row),
            self._job,
            row.line,
            _word(state._value_),
            row.attempts,
            NULL if latency is None else b"%d" % latency,
            _names(row.provider, row.model, row.echoed_model, row.endpoint),
            NULL if usage is None else (USAGE % usage[:TOKENS] if usage[TOKENS:] == NO_UNITS else _all_units(usage)),
            _word(row.usage_from),
            _word(row.billing),
            NULL if cost is None else b'"%b"' % exact_usd(cost).encode(),
            _encode(row.flags) if row.flags else NO_FLAGS,
            NULL if row.extras is None else one_line_json(row.extras),
            self._told(row),
        )
        return b"".join((before, *_response(row), after))

    def _told(self, row: Row) -> bytes:
        """Return the keys that few rows have, and the end of the line."""
        if row.ttft is None and not row.partial and not row.artifacts and row.copy_of is None:
            return self._mark
        copy = b"" if row.copy_of is None else b',"copy_of":' + _encode(row.copy_of)
        return _of_stream(row) + (self._files(row) if row.artifacts else b"") + copy + self._mark

    def _files(self, row: Row) -> bytes:
        """Return where the files of an answer are, and what they are: each in its answer's order."""
        paths = links(row, self._artifacts)
        files = [{"path": path, **file._asdict()} for path, file in zip(paths, row.artifacts, strict=True)]
        return b',"artifacts":' + _encode(files)


def _of_stream(row: Row) -> bytes:
    """Return the keys that only streamed answers have: milliseconds to the first token, and whether it broke off."""
    ttft = b"" if row.ttft is None else b',"ttft_ms":%d' % (row.ttft // 1000)
    return ttft + b',"partial":true' if row.partial else ttft


@lru_cache(maxsize=1024)
def _word(value: str | None) -> bytes:
    """Return a word that comes again on most lines as JSON."""
    return _encode(value)


@lru_cache(maxsize=1024)
def _names(*names: str | None) -> bytes:
    """Return provider, model, echoed model and endpoint, of which a job has few combinations, as JSON."""
    return NAMES % tuple(map(_encode, names))


def _all_units(usage: Usage) -> bytes:
    """Return a usage with what was counted beside the plain tokens; time is in seconds, to the millisecond."""
    parts = [USAGE[:-1] % usage[:TOKENS]]
    for name, amount in zip(OTHERS, usage[TOKENS:-1], strict=True):
        if name == "milliseconds" and amount:
            parts.append(b'"seconds":%b' % exact_seconds(amount).encode())
        elif amount:
            parts.append(b'"%b":%d' % (UNIT_KEYS.get(name, name).encode(), amount))
    if usage.cost is not None:
        parts.append(b'"stated_cost_usd":"%b"' % exact_usd(usage.cost).encode())
    return b",".join(parts) + b"}"


def one_line_json(body: bytes) -> bytes:
    """Return a body as JSON on one line: unchanged but for line breaks, or as a string if it is not JSON.

    A line break can stand only between the tokens of JSON, so a space does as well.
    """
    return _on_one_line(body) if _is_json(body) else _encode(body.decode("utf-8", "replace"))


def _on_one_line(body: bytes) -> bytes:
    if b"\n" in body or b"\r" in body:
        return body.replace(b"\n", b" ").replace(b"\r", b" ")
    return body


def _response(row: Row) -> tuple[bytes, ...]:
    """Return the response in parts, so that a long answer is copied once."""
    if row.status is None and not row.partial:
        return (NULL,)
    body = NULL
    if row.body is not None:
        # An answer was parsed before it was taken, and its checksum was just checked; a refusal may be anything.
        body = _on_one_line(row.body) if row.state is SUCCEEDED else one_line_json(row.body)
    return RESPONSE % (row.status or 200, _encode(row.request_id)), body, b"}"


def _error(row: Row) -> bytes:
    message = (row.message or "").encode("utf-8", "replace").decode()  # a refusal may quote half a surrogate pair
    error = {"code": row.failure or row.state, "message": message}
    name = label_of(row.status, row.failure)
    return _encode(error if name is None else {**error, "sdk_class": name})


def _is_json(body: bytes) -> bool:
    try:
        if not body.isascii():
            body.decode("utf-8")
        _check(body)
    except UnicodeDecodeError:
        return False
    except (msgspec.DecodeError, RecursionError):
        # msgspec refuses half a surrogate pair, which an answer cut off in an emoji may hold: it is JSON all the same.
        return b"\\u" in body and _is_json_by_the_letter(body)
    return True


def _is_json_by_the_letter(body: bytes) -> bool:
    try:
        json.loads(body.decode("utf-8"), parse_constant=_refuse, parse_int=str)
    except (ValueError, RecursionError):
        return False
    return True


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")

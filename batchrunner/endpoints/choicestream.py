"""One choice of a streamed answer as it grows: text, refusal, reasoning, tool calls, log probabilities, its end."""

from collections.abc import Mapping

import msgspec

from batchrunner.endpoints.pieces import EMPTY, NONE, NULL, OVERHEAD, Growing, Values, object_of, rendered
from batchrunner.endpoints.toolcalls import ToolCalls

_SPOKEN = frozenset({"content", "refusal", "reasoning", "reasoning_content", "thinking"})
"""Keys of a delta whose texts are pieces of one text."""
_INNER = {"function_call": frozenset({"arguments"}), "audio": frozenset({"data", "transcript"})}
"""Objects in a delta, and their texts that come in pieces."""
_CONSUMED = frozenset({"index", "delta", "message", "text", "logprobs", "finish_reason", "top_logprobs"})


class ChoiceStream:
    """What has come of one choice; what it says is its subclass's to gather."""

    __slots__ = ("_blank", "_extras", "_finish", "_logprobs", "_spoke", "index")

    def __init__(self, index: int) -> None:
        self.index = index
        self._extras = Growing(lists=_token_ids)
        self._logprobs: Growing | None = None
        self._finish = NULL
        self._blank = False
        self._spoke = False

    @property
    def finished(self) -> bool:
        """Whether its finish reason has come; an empty one may stand for none in the middle of a stream."""
        return self._finish != NULL

    @property
    def size(self) -> int:
        """Bytes that are held, about."""
        return 4 * OVERHEAD + self._extras.size + (self._logprobs.size if self._logprobs else 0)

    def take(self, values: Values) -> bool:
        """Take what an event says of this choice; return whether that was a word of the answer."""
        delta = object_of(values.get("delta", NONE))
        if delta is None and not self._spoke:  # some servers send the whole message in one event
            delta = object_of(values.get("message", NONE))
        text = bytes(values.get("text", NONE))
        spoke = self._say(delta or {}, text)
        self._spoke |= spoke
        self.finish(bytes(values.get("finish_reason", NONE)))
        if (logprobs := bytes(values.get("logprobs", NONE))) != NULL:
            self._weigh(object_of(logprobs) or _single(logprobs, values, text, delta or {}))
        for key, raw in values.items():
            if key not in _CONSUMED:
                self._extras.put(key, bytes(raw))
        return spoke

    def finish(self, raw: bytes) -> None:
        """Take a finish reason. It may come twice, and a null after it says nothing."""
        if raw == EMPTY:
            self._blank = True
        elif raw != NULL:
            self._finish = raw

    def json(self, *, ended: bool, error: bytes | None) -> bytes:
        """Return the choice as an ordinary answer has it; ``ended``: the provider said that this was all."""
        finish = EMPTY if self._blank and ended and not self.finished else self._finish
        items = [("index", b"%d" % self.index), self._said(), ("finish_reason", finish)]
        items.append(("logprobs", self._logprobs.json() if self._logprobs else NULL))
        items += self._extras.items()
        if error is not None:
            items.append(("error", error))
        return rendered(items)

    def _say(self, delta: Values, text: bytes) -> bool:
        """Take a piece of what is said; return whether there was one."""
        raise NotImplementedError

    def _said(self) -> tuple[str, bytes]:
        """Return the key and the value that hold what was said."""
        raise NotImplementedError

    def _weigh(self, lists: Mapping[str, bytes | msgspec.Raw]) -> None:
        """Take log probabilities: OpenAI's object, Together's object of lists, or its number for a single token."""
        if self._logprobs is None:
            self._logprobs = Growing(lists=_every)
        for key, raw in lists.items():
            value = bytes(raw)
            one_token = key == "top_logprobs" and value.startswith(b"{")
            self._logprobs.put(key, b"[%b]" % value if one_token else value)


class ChatChoice(ChoiceStream):
    """A choice of a chat: a message."""

    __slots__ = ("_calls", "_message")

    def __init__(self, index: int) -> None:
        super().__init__(index)
        self._message = Growing(_SPOKEN, _every)
        self._calls = ToolCalls()

    @property
    def size(self) -> int:
        """Bytes that are held, about."""
        return super().size + self._message.size + self._calls.size

    def _say(self, delta: Values, text: bytes) -> bool:
        """Take a delta. Together repeats its content as ``text``, which counts only where the delta says nothing."""
        spoke = False
        for key, raw in delta.items():
            spoke |= self._put(key, bytes(raw))
        if not spoke and text not in (NULL, EMPTY):
            self._message.put("content", text)
            return True
        return spoke

    def _put(self, key: str, raw: bytes) -> bool:
        if key == "tool_calls" and self._calls.take(raw):
            return True
        if key in _INNER and (parts := object_of(raw)) is not None:
            inner = self._message.inner(key, _INNER[key])
            for name, part in parts.items():
                inner.put(name, bytes(part))
            return True
        if key != "token_id":  # which is only of the last token
            self._message.put(key, raw)
        return key in _SPOKEN and raw not in (NULL, EMPTY)

    def _said(self) -> tuple[str, bytes]:
        message = {"role": b'"assistant"', "content": NULL, **dict(self._message.items())}
        if self._calls:
            message["tool_calls"] = self._calls.json()
        return "message", rendered(list(message.items()))


class TextChoice(ChoiceStream):
    """A choice of a completion: a text."""

    __slots__ = ("_text",)

    def __init__(self, index: int) -> None:
        super().__init__(index)
        self._text = Growing(frozenset({"text"}))

    @property
    def size(self) -> int:
        """Bytes that are held, about."""
        return super().size + self._text.size

    def _say(self, delta: Values, text: bytes) -> bool:
        """Take a piece: under ``text``, or in a delta, as Together's completions may have it."""
        pieces = [piece for piece in (text, bytes(delta.get("content", NONE))) if piece != NULL]
        piece = next((piece for piece in pieces if piece != EMPTY), pieces[0] if pieces else NULL)
        if piece != NULL:
            self._text.put("text", piece)
        return piece not in (NULL, EMPTY)

    def _said(self) -> tuple[str, bytes]:
        return "text", self._text.get("text")


def _every(_: str) -> bool:
    return True


def _token_ids(key: str) -> bool:
    return key == "token_ids"


def _single(raw: bytes, values: Values, text: bytes, delta: Values) -> dict[str, bytes]:
    """Return the lists of one token whose log probability came as a number, as in Together's chunks."""
    lists = {
        "tokens": text if text != NULL else bytes(delta.get("content", NONE)),
        "token_logprobs": raw,
        "token_ids": bytes(delta.get("token_id", NONE)),
    }
    if "top_logprobs" in values:
        lists["top_logprobs"] = bytes(values["top_logprobs"])
    return {key: b"[%b]" % value for key, value in lists.items()}

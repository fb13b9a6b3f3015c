"""Text completions."""

from typing import Any

import msgspec

from batchrunner.core.attempt import Outcome
from batchrunner.core.estimate import tokens
from batchrunner.core.http import Feed, HttpReply
from batchrunner.endpoints.answers import UNREADABLE, Form, load, read_answer
from batchrunner.endpoints.base import Classifier, Facts
from batchrunner.endpoints.chatfields import COMPLETIONS
from batchrunner.endpoints.choices import Choices, flags, has_text, judge
from batchrunner.endpoints.facts import Count, Generation, bound, decode, keys, may_stream, refuse_repeats
from batchrunner.endpoints.streams import text_stream
from batchrunner.endpoints.texts import texts
from batchrunner.endpoints.usage import generated


class _Body(Generation, gc=False, kw_only=True):
    prompt: msgspec.Raw
    suffix: msgspec.Raw = msgspec.Raw()
    best_of: Count | None = None


class _Choice(msgspec.Struct, gc=False):
    text: Any = None


class _Choices(msgspec.Struct, gc=False):
    choices: list[_Choice]


_BODY = msgspec.json.Decoder(_Body)
_SAID = msgspec.json.Decoder(_Choices)
_WATCHED = keys("model", "prompt", "n", "best_of", "max_tokens", "stream", "stream_tokens")


def _judge(answer: Choices) -> str:
    return judge(answer, has_text)


_FORM = Form("a completion", msgspec.json.Decoder(Choices), _judge, generated, flags)


class Completions:
    """Text completions as Together, OpenAI and vLLM speak them."""

    path = "/v1/completions"
    name = "completions"
    streams = True
    rules = COMPLETIONS

    def inspect(self, body: bytes) -> Facts:
        """Check model and prompt; raises BadBody.

        The output bound is ``max_tokens`` times ``n`` (or ``best_of``, which is generated and charged in full) times
        the number of prompts.
        """
        asked = decode(_BODY, body)
        refuse_repeats(body, _WATCHED)
        prompt = texts(asked.prompt, "prompt")
        estimate = prompt.tokens + (tokens(bytes(asked.suffix)) if asked.suffix else 0)
        answers = max(asked.n or 1, asked.best_of or 1) * prompt.number
        return Facts(asked.model, estimate, bound(asked.max_tokens, answers))

    def feed(self, body: bytes) -> Feed | None:
        """Return what puts a streamed answer together; None where the body asks for none."""
        if not may_stream(body):
            return None
        asked = _BODY.decode(body)
        return text_stream((asked.n or 1) * texts(asked.prompt, "prompt").number) if asked.streams else None

    def read(self, reply: HttpReply, classify: Classifier) -> Outcome:
        """Parse an answer of any status. Never raises, whatever the bytes are."""
        return read_answer(reply, classify, _FORM)

    def text(self, body: bytes) -> str | None:
        """Return the text; that of several choices is joined by blank lines."""
        try:
            choices = load(_SAID, body).choices
        except UNREADABLE:
            return None
        said = [choice.text for choice in choices if isinstance(choice.text, str)]
        return "\n\n".join(said) if said else None

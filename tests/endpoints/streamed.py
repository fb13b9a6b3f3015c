"""Streams as they were documented or seen on the wire, and the answers that the same calls bring without a stream."""

import json
from typing import Any

USAGE = {"prompt_tokens": 45, "completion_tokens": 3, "total_tokens": 48, "cached_tokens": 0}
SEED = 15924764223251450000
"""Beyond signed 64 bits, as Together sends it."""


def event(value: Any, end: bytes = b"\n\n") -> bytes:
    data = value if isinstance(value, bytes) else json.dumps(value, ensure_ascii=False).encode()
    return b"data: " + data + end


def stream(*values: Any, done: bool = True) -> bytes:
    return b"".join(map(event, values)) + (b"data: [DONE]\n\n" if done else b"")


def answer(message: dict[str, Any], finish: str = "stop", **more: Any) -> dict[str, Any]:
    top = {key: more.pop(key) for key in list(more) if key in ("id", "model", "usage", "prompt", "system_fingerprint")}
    choice = {"index": 0, "message": {"role": "assistant"} | message, "finish_reason": finish, "logprobs": None} | more
    return {"id": "o1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]} | top


def chunk(choice: dict[str, Any] | None, **more: Any) -> dict[str, Any]:
    choices = [] if choice is None else [{"index": 0} | choice]
    return {"id": "o1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices} | more


def together(content: str, **more: Any) -> dict[str, Any]:
    """A chunk of 2026: the content also as text, the role in each, the usage null."""
    delta = {"token_id": 271, "role": "assistant", "content": content} | more.pop("delta", {})
    choice = {"text": content, "logprobs": None, "finish_reason": None, "seed": None, "delta": delta} | more
    return chunk(choice, usage=None)


TOGETHER = stream(
    together("Hel"),
    together("lo \u2028 \U0001f642"),
    together("", finish_reason="stop"),
    together("", finish_reason="stop", seed=SEED) | {"usage": USAGE},
)
TOGETHER_TOOLS = stream(
    together("", delta={"tool_calls": [
        {"index": 0, "id": "call_a", "type": "function", "function": {"name": "weather", "arguments": ""}},
    ]}),
    together("", delta={"tool_calls": [{"index": 0, "function": {"arguments": '{"city": "Pa'}}]}),
    together("", delta={"tool_calls": [
        {"index": 1, "id": "call_b", "type": "function", "function": {"name": "time", "arguments": "{}"}},
    ]}),
    together("", delta={"tool_calls": [{"index": 0, "function": {"arguments": 'ris"}'}}]}),
    together("", finish_reason="tool_calls") | {"usage": USAGE},
)  # fmt: skip
CALLS = [
    {"index": 0, "id": "call_a", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Paris"}'}},
    {"index": 1, "id": "call_b", "type": "function", "function": {"name": "time", "arguments": "{}"}},
]
TOGETHER_2024 = stream(
    {"choices": [{"delta": {"content": "Hel"}}], "id": "o1", "token": {"id": 1, "text": "Hel", "logprob": 0,
     "special": False}, "finish_reason": None, "generated_text": None, "stats": None, "usage": None, "created": 1},
    {"choices": [{"delta": {"content": "lo"}}], "id": "o1", "token": {"id": 2, "text": "lo", "logprob": 0,
     "special": False}, "finish_reason": None, "generated_text": None, "stats": None, "usage": None, "created": 1},
    {"choices": [{"delta": {"content": ""}}], "id": "o1", "token": {"id": 3, "text": "", "logprob": 0,
     "special": True}, "finish_reason": "eos", "generated_text": None, "stats": None, "usage": USAGE, "created": 1},
)  # fmt: skip
OPENAI = stream(
    chunk({"delta": {"role": "assistant", "content": "", "refusal": None}, "logprobs": None, "finish_reason": None},
          usage=None, system_fingerprint="fp_1", service_tier="default", obfuscation="xY"),
    chunk({"delta": {"content": "Hel"}, "logprobs": None, "finish_reason": None}, usage=None, obfuscation="zzzz"),
    chunk({"delta": {"content": "lo"}, "logprobs": None, "finish_reason": None}, usage=None, obfuscation=""),
    chunk({"delta": {}, "logprobs": None, "finish_reason": "stop"}, usage=None, obfuscation="q"),
    chunk(None, usage=USAGE, obfuscation="qqqqqqqqq"),
)  # fmt: skip
OPENAI_REFUSAL = stream(
    chunk({"delta": {"role": "assistant", "content": None, "refusal": ""}, "finish_reason": None}),
    chunk({"delta": {"refusal": "I can't "}, "finish_reason": None}),
    chunk({"delta": {"refusal": "do that."}, "finish_reason": None}),
    chunk({"delta": {}, "finish_reason": "content_filter"}),
    chunk(None, usage=USAGE),
)
OPENAI_LOGPROBS = stream(
    chunk({"delta": {"role": "assistant", "content": ""}, "logprobs": {"content": [], "refusal": None},
           "finish_reason": None}),
    chunk({"delta": {"content": "Hi"}, "finish_reason": None, "logprobs": {"refusal": None, "content": [
        {"token": "Hi", "logprob": -0.10, "bytes": [72, 105], "top_logprobs": []}]}}),
    chunk({"delta": {"content": "!"}, "finish_reason": None, "logprobs": {"refusal": None, "content": [
        {"token": "!", "logprob": -9999.0, "bytes": [33], "top_logprobs": []}]}}),
    chunk({"delta": {}, "logprobs": None, "finish_reason": "stop"}),
)  # fmt: skip
OPENAI_TOOLS = stream(
    chunk({"delta": {"role": "assistant", "content": None}, "logprobs": None, "finish_reason": None}, obfuscation="q"),
    chunk({"delta": {"tool_calls": [
        {"index": 0, "id": "call_a", "type": "function", "function": {"name": "weather", "arguments": ""}}]},
        "logprobs": None, "finish_reason": None}, obfuscation=""),
    chunk({"delta": {"tool_calls": [
        {"index": 1, "id": "call_b", "type": "function", "function": {"name": "time", "arguments": "{"}},
        {"index": 0, "function": {"arguments": '{"city": "Pa'}}]}, "finish_reason": None}),
    chunk({"delta": {"tool_calls": [{"index": 1, "function": {"arguments": "}"}}]}, "finish_reason": None}),
    chunk({"delta": {"tool_calls": [{"index": 0, "function": {"arguments": 'ris"}'}}]}, "finish_reason": None}),
    chunk({"delta": {}, "logprobs": None, "finish_reason": "tool_calls"}),
    chunk(None, usage=USAGE),
)  # fmt: skip
"""Two calls whose arguments come in turns."""
VLLM = stream(
    chunk({"delta": {"role": "assistant", "content": ""}, "logprobs": None, "finish_reason": None},
          usage={"prompt_tokens": 45, "total_tokens": 45, "completion_tokens": 0}),
    chunk({"delta": {"reasoning_content": "Let me "}, "logprobs": None, "finish_reason": None},
          usage={"prompt_tokens": 45, "total_tokens": 46, "completion_tokens": 1}),
    chunk({"delta": {"reasoning_content": "think."}, "logprobs": None, "finish_reason": None},
          usage={"prompt_tokens": 45, "total_tokens": 47, "completion_tokens": 2}),
    chunk({"delta": {"content": "Hello"}, "logprobs": None, "finish_reason": "length", "stop_reason": None},
          usage={"prompt_tokens": 45, "total_tokens": 48, "completion_tokens": 3}),
    chunk(None, usage=USAGE),
)  # fmt: skip
SEVERAL = stream(
    chunk({"index": 1, "delta": {"role": "assistant", "content": "one "}, "finish_reason": None}),
    chunk({"index": 0, "delta": {"role": "assistant", "content": "zero "}, "finish_reason": None}),
    chunk({"index": 1, "delta": {"content": "1"}, "finish_reason": "stop"}),
    chunk({"index": 0, "delta": {"content": "0"}, "finish_reason": "length"}),
    chunk(None, usage=USAGE),
)
NUMBERS = stream(
    together("Hi", logprobs=-0.25, delta={"token_id": 5}),
    together("!", logprobs=-1, delta={"token_id": 18446744073709551615}),
    together("", finish_reason="eos") | {"usage": USAGE},
)
"""Log probabilities as Together's chunks have them: a number for each token."""

LISTS = stream(
    together("Hi", logprobs={"tokens": ["Hi"], "token_logprobs": [-0.25], "token_ids": [5],
                             "top_logprobs": [{"Hi": -0.25, "Ho": -2}]}),
    together("!", logprobs={"tokens": ["!"], "token_logprobs": [None], "token_ids": [6], "top_logprobs": {"!": -1}}),
    together("", finish_reason="eos") | {"usage": USAGE},
)  # fmt: skip
"""The same as Together's answers have them: lists of all tokens, and a map of each one's rivals."""


def numbered(index: int) -> str:
    return json.dumps({"n": index})


TWO_CALLING = stream(
    *(together("", index=index, delta={"tool_calls": [
        {"index": 0, "id": f"call_{index}", "type": "function", "function": {"name": "f", "arguments": ""}}]})
      for index in (1, 0)),
    *(together("", index=index, delta={"tool_calls": [{"index": 0, "function": {"arguments": numbered(index)}}]})
      for index in (0, 1)),
    together("", index=0, finish_reason="tool_calls"),
    together("", index=1, finish_reason="tool_calls"),
    together("", index=0, finish_reason="tool_calls"),
    together("", index=1, finish_reason="tool_calls") | {"usage": USAGE},
)  # fmt: skip
"""Two choices of Together's that call tools in turns; the finish reason of each comes twice."""
VLLM_TWO = stream(
    *(chunk({"index": index, "delta": {"role": "assistant", "content": ""}, "finish_reason": None},
            usage={"prompt_tokens": 45, "total_tokens": 45, "completion_tokens": 0}) for index in (0, 1)),
    chunk({"index": 1, "delta": {"content": "one"}, "finish_reason": "stop", "stop_reason": None},
          usage={"prompt_tokens": 45, "total_tokens": 47, "completion_tokens": 2}),
    chunk({"index": 0, "delta": {"content": "zero"}, "finish_reason": "stop", "stop_reason": 7},
          usage={"prompt_tokens": 45, "total_tokens": 46, "completion_tokens": 1}),
    chunk(None, usage=USAGE),
)  # fmt: skip
"""What vLLM counts on each event is that choice's; the last event has all of it."""

HELLO = {"content": "Hello"}
CHATS: dict[str, tuple[bytes, dict[str, Any]]] = {
    "together": (TOGETHER, answer({"content": "Hello \u2028 \U0001f642"}, seed=SEED, usage=USAGE, prompt=[])),
    "together tools": (
        TOGETHER_TOOLS,
        answer({"content": "", "tool_calls": CALLS}, "tool_calls", seed=None, usage=USAGE, prompt=[]),
    ),
    "together 2024": (
        TOGETHER_2024,
        {
            "choices": [
                {"index": 0, "message": {"role": "assistant", **HELLO}, "finish_reason": "eos", "logprobs": None}
            ],
            "id": "o1", "generated_text": None, "stats": None, "usage": USAGE, "created": 1,
        },
    ),
    "openai": (
        OPENAI,
        answer(HELLO | {"refusal": None}, usage=USAGE, system_fingerprint="fp_1") | {"service_tier": "default"},
    ),
    "openai tools": (
        OPENAI_TOOLS, answer({"content": None, "tool_calls": CALLS}, "tool_calls", usage=USAGE),
    ),
    "openai refusal": (
        OPENAI_REFUSAL, answer({"content": None, "refusal": "I can't do that."}, "content_filter", usage=USAGE)
    ),
    "openai logprobs": (
        OPENAI_LOGPROBS,
        answer({"content": "Hi!"}, logprobs={"refusal": None, "content": [
            {"token": "Hi", "logprob": -0.10, "bytes": [72, 105], "top_logprobs": []},
            {"token": "!", "logprob": -9999.0, "bytes": [33], "top_logprobs": []},
        ]}),
    ),
    "vllm": (
        VLLM,
        answer(HELLO | {"reasoning_content": "Let me think."}, "length", stop_reason=None, usage=USAGE),
    ),
    "logprobs as lists": (
        LISTS,
        answer({"content": "Hi!"}, "eos", seed=None, usage=USAGE, prompt=[], logprobs={
            "tokens": ["Hi", "!"], "token_logprobs": [-0.25, None], "token_ids": [5, 6],
            "top_logprobs": [{"Hi": -0.25, "Ho": -2}, {"!": -1}],
        }),
    ),
    "logprobs as numbers": (
        NUMBERS,
        answer({"content": "Hi!"}, "eos", seed=None, usage=USAGE, prompt=[], logprobs={
            "tokens": ["Hi", "!"], "token_logprobs": [-0.25, -1], "token_ids": [5, 18446744073709551615],
        }),
    ),
}  # fmt: skip
"""Streams of one choice, and what the same call brings without a stream."""


def choices_of(*messages: dict[str, Any], finish: str = "stop", **more: Any) -> dict[str, Any]:
    """An answer with several choices."""
    whole = answer({}, **more)
    made = [answer(message, finish)["choices"][0] | {"index": index} for index, message in enumerate(messages)]
    return whole | {"choices": made}


def calling(index: int) -> dict[str, Any]:
    function = {"name": "f", "arguments": numbered(index)}
    return {
        "content": "",
        "tool_calls": [{"index": 0, "id": f"call_{index}", "type": "function", "function": function}],
    }


BOTH: dict[str, tuple[bytes, dict[str, Any]]] = {
    "together tools": (TWO_CALLING, choices_of(calling(0), calling(1), finish="tool_calls", usage=USAGE)),
    "vllm": (VLLM_TWO, choices_of({"content": "zero"}, {"content": "one"}, usage=USAGE)),
}
"""Streams of two choices."""

TEXTS: dict[str, tuple[bytes, dict[str, Any]]] = {
    "together": (
        stream(
            {"id": "o1", "object": "completion.chunk", "created": 1, "token": {"id": 1, "text": "Hel", "logprob": -1,
             "special": False}, "choices": [{"index": 0, "text": "Hel", "delta": {"content": "Hel"}}],
             "finish_reason": None, "usage": None},
            {"id": "o1", "object": "completion.chunk", "created": 1, "token": {"id": 2, "text": "lo", "logprob": -1,
             "special": False}, "choices": [{"index": 0, "text": "", "delta": {"content": "lo"}}],
             "finish_reason": "stop", "usage": USAGE},
        ),
        {"id": "o1", "object": "text.completion", "created": 1, "prompt": [], "usage": USAGE, "choices": [
            {"index": 0, "text": "Hello", "finish_reason": "stop", "logprobs": None}]},
    ),
    "openai": (
        stream(
            {"id": "o1", "object": "text_completion", "created": 1, "model": "m", "usage": None, "choices": [
                {"index": 0, "text": "Hel", "finish_reason": None, "logprobs": {
                    "tokens": ["Hel"], "token_logprobs": [-0.5], "text_offset": [0],
                    "top_logprobs": [{"Hel": -0.5}]}}]},
            {"id": "o1", "object": "text_completion", "created": 1, "model": "m", "usage": None, "choices": [
                {"index": 0, "text": "lo", "finish_reason": "length", "logprobs": {
                    "tokens": ["lo"], "token_logprobs": [None], "top_logprobs": {"lo": -1}, "text_offset": [3]}}]},
            {"id": "o1", "object": "text_completion", "created": 1, "model": "m", "usage": USAGE, "choices": []},
        ),
        {"id": "o1", "object": "text_completion", "created": 1, "model": "m", "usage": USAGE, "choices": [
            {"index": 0, "text": "Hello", "finish_reason": "length", "logprobs": {
                "tokens": ["Hel", "lo"], "token_logprobs": [-0.5, None],
                "top_logprobs": [{"Hel": -0.5}, {"lo": -1}], "text_offset": [0, 3]}}]},
    ),
}  # fmt: skip
"""The same for completions."""

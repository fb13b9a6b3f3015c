"""Models that think: where their thoughts stand, what they count, and that the program keeps them apart."""

import json
from typing import Any

import pytest

from batchrunner.endpoints.reasoning import flattened
from batchrunner.endpoints.registry import CHAT
from batchrunner.simulator import Answer

TAGS, FIELD = "deepseek-ai/DeepSeek-R1-0528", "zai-org/GLM-5.2"


def told(answer: Answer) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(answer.body)
    return found


def test_an_older_model_thinks_between_tags_and_a_newer_one_beside_the_text(desk):
    older = told(desk().chat(model=TAGS))["choices"][0]["message"]
    newer = told(desk().chat(model=FIELD))["choices"][0]["message"]
    assert older["content"].startswith("<think>\n")
    assert "\n</think>\n\n[echo " in older["content"]
    assert "reasoning" not in older
    assert newer["content"].startswith("[echo ")
    assert newer["reasoning"]


@pytest.mark.parametrize("flavour", ["together", "openai"])
def test_thoughts_are_output_and_counted_again_among_the_details(desk, flavour):
    box = desk(flavour=flavour)
    usage = told(box.chat(model=FIELD))["usage"]
    thought = usage["completion_tokens_details"]["reasoning_tokens"]
    assert 0 < thought < usage["completion_tokens"]
    assert box.ledger.entries[-1].output_tokens == usage["completion_tokens"]


def test_who_thinks_up_to_the_bound_has_no_answer_left(desk):
    answer = told(desk().chat(model=FIELD, max_tokens=3))
    (choice,) = answer["choices"]
    assert choice["finish_reason"] == "length"
    assert choice["message"]["content"] == ""
    assert choice["message"]["reasoning"]
    assert answer["usage"]["completion_tokens"] == 3
    cut = told(desk().chat(model=TAGS, max_tokens=3))["choices"][0]["message"]["content"]
    assert cut.startswith("<think>")
    assert "</think>" not in cut


def test_together_does_not_think_where_it_is_told_not_to(desk):
    answer = told(desk().chat(model=FIELD, reasoning={"enabled": False}))
    assert "reasoning" not in answer["choices"][0]["message"]
    assert "completion_tokens_details" not in answer["usage"]


@pytest.mark.parametrize("model", [TAGS, FIELD])
@pytest.mark.parametrize("flavour", ["together", "openai"])
def test_streamed_thoughts_are_those_that_come_without_a_stream(desk, flavour, model):
    box = desk(flavour=flavour, echo=False)
    body = {"model": model, "messages": [{"role": "user", "content": "q"}]}
    plain = told(box.post("/v1/chat/completions", body))
    feed = CHAT.feed(json.dumps(body | {"stream": True}).encode())
    assert feed is not None
    for piece in box.post("/v1/chat/completions", {**body, "stream": True}).pieces:
        feed.take(piece)
    whole = json.loads(feed.whole())
    kept = ("content", "reasoning")
    ours, theirs = whole["choices"][0]["message"], plain["choices"][0]["message"]
    assert {key: ours.get(key) for key in kept} == {key: theirs.get(key) for key in kept}


@pytest.mark.parametrize("model", [TAGS, FIELD])
def test_the_program_keeps_thoughts_and_text_apart(desk, model):
    flat = flattened(CHAT, desk().chat(model=model).body)
    assert flat.text is not None
    assert flat.text.startswith("[echo ")
    assert flat.reasoning
    assert "think>" not in flat.text + flat.reasoning

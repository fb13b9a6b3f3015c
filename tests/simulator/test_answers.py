"""Good answers: deterministic, in the flavour's shape, and counted by a rule that holds."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrunner.simulator import Provider, Settings


def parsed(answer):
    assert answer.status == 200, answer.body
    return json.loads(answer.body)


def test_two_providers_answer_the_same_call_with_the_same_bytes(desk):
    assert desk().chat(seed=7).body == desk().chat(seed=7).body


def test_another_seed_or_prompt_gives_another_text(desk):
    counter = desk(echo=False)
    texts = {
        parsed(counter.chat(text, seed=seed))["choices"][0]["message"]["content"] for text in "ab" for seed in (1, 2)
    }
    assert len(texts) == 4


def test_a_repeated_body_gets_the_same_text_under_a_new_id(desk):
    counter = desk()
    first, second = parsed(counter.chat()), parsed(counter.chat())
    assert first["choices"] == second["choices"]
    assert first["id"] != second["id"]


def test_a_together_chat_answer_has_togethers_quirks(desk):
    answer = parsed(desk(cached_share=0.5).chat("x" * 400))
    assert answer["prompt"] == []
    choice = answer["choices"][0]
    assert choice["message"]["tool_calls"] == []
    assert choice["finish_reason"] in ("stop", "eos", "length")
    assert 2**63 < choice["seed"] < 2**64
    assert answer["usage"]["prompt_tokens"] == 103
    assert answer["usage"]["cached_tokens"] == 51
    assert "prompt_tokens_details" not in answer["usage"]


def test_an_openai_chat_answer_has_detail_objects(desk):
    answer = parsed(desk(flavour="openai", cached_share=0.5).chat("x" * 400))
    assert "prompt" not in answer
    assert answer["id"].startswith("chatcmpl-")
    assert answer["usage"]["prompt_tokens_details"]["cached_tokens"] == 51
    assert answer["usage"]["completion_tokens_details"]["reasoning_tokens"] == 0


@given(text=st.text(max_size=60), most=st.none() | st.integers(1, 90), as_json=st.booleans(), n=st.integers(1, 3))
def test_the_usage_is_what_the_rule_counts(text, most, as_json, n):
    provider = Provider(Settings(mean_output_tokens=30), now=lambda: 0.0, wall=lambda: 0.0)
    body = {"model": "m", "messages": [{"role": "user", "content": text}], "n": n}
    if most is not None:
        body["max_tokens"] = most
    if as_json:
        body["response_format"] = {"type": "json_object"}
    answer = parsed(
        provider.handle("POST", "/chat/completions", {"authorization": "Bearer k"}, json.dumps(body).encode())
    )
    contents = [choice["message"]["content"] for choice in answer["choices"]]
    assert len(contents) == n
    counted = [math.ceil(len(content.encode()) / 4) for content in contents]
    usage = answer["usage"]
    assert usage["prompt_tokens"] == math.ceil(len(text.encode()) / 4) + 3
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert sum(counted) <= usage["completion_tokens"]
    if not as_json:
        assert sum(counted) == usage["completion_tokens"]
    for choice, tokens in zip(answer["choices"], counted, strict=True):
        assert most is None or tokens <= most
        if as_json and choice["finish_reason"] != "length":
            json.loads(choice["message"]["content"])


def test_a_text_longer_than_max_tokens_is_cut_and_says_so(desk):
    answer = parsed(desk().chat(max_tokens=3))
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens"] == 3


def test_the_mean_output_length_is_about_what_was_asked_for(desk):
    counter = desk(mean_output_tokens=80)
    total = sum(parsed(counter.chat(f"q {n}"))["usage"]["completion_tokens"] for n in range(400))
    assert 70 < total / 400 < 90


def test_every_answer_carries_the_echo_of_its_request(desk):
    counter = desk()
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "hello"}]}).encode()
    answer = counter.post("/v1/chat/completions", body)
    echo = hashlib.sha256(body).hexdigest()[:12]
    assert answer.headers["x-sim-echo"] == echo
    assert parsed(answer)["choices"][0]["message"]["content"].startswith(f"[echo {echo}] ")
    assert parsed(answer)["system_fingerprint"] == f"fp_{echo}"
    assert "[echo" not in desk(echo=False).chat().body.decode()


def test_every_answer_carries_the_id_that_its_call_was_given(desk):
    assert desk().chat(headers={"x-client-request-id": "a-17"}).headers["x-sim-for"] == "a-17"
    hostile = {"x-client-request-id": "a\r\nx: y"}
    assert "x-sim-for" not in desk().chat(headers=hostile).headers
    assert "x-sim-for" not in desk().chat().headers


def test_a_base_with_or_without_v1_reaches_the_same_endpoint(desk):
    counter = desk()
    body = {"model": "m", "prompt": "once"}
    assert (
        parsed(counter.post("/v1/completions", body))["choices"]
        == parsed(counter.post("/completions", body))["choices"]
    )


def test_a_together_completion_is_called_text_completion_with_a_dot(desk):
    assert parsed(desk().post("/v1/completions", {"model": "m", "prompt": "a"}))["object"] == "text.completion"


def test_openai_completes_several_prompts_with_sixteen_tokens_each(desk):
    body = {"model": "m", "prompt": ["a", "b"], "n": 2}
    answer = parsed(desk(flavour="openai", output_spread=0).post("/v1/completions", body))
    assert answer["object"] == "text_completion"
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2, 3]
    assert answer["usage"]["completion_tokens"] == 64


def test_together_takes_one_prompt_only(desk):
    assert desk().post("/v1/completions", {"model": "m", "prompt": ["a", "b"]}).status == 400


def test_base64_and_float_embeddings_are_the_same_float32(desk):
    counter = desk()
    body = {"model": "BAAI/bge-base-en-v1.5", "input": ["one", "two"]}
    plain = parsed(counter.post("/v1/embeddings", body))
    packed = parsed(counter.post("/v1/embeddings", {**body, "encoding_format": "base64"}))
    for left, right in zip(plain["data"], packed["data"], strict=True):
        raw = base64.b64decode(right["embedding"])
        assert len(raw) == 4 * 768
        assert struct.pack("<768f", *left["embedding"]) == raw
        assert math.isclose(math.hypot(*left["embedding"]), 1.0, abs_tol=1e-6)
    assert plain["data"][0]["embedding"] != plain["data"][1]["embedding"]


def test_together_embeddings_carry_no_usage_but_the_ledger_knows(desk):
    counter = desk()
    assert "usage" not in parsed(counter.post("/v1/embeddings", {"model": "m", "input": "x" * 40}))
    assert counter.ledger.entries[-1].usage is None
    assert counter.ledger.entries[-1].input_tokens == 10


def test_openai_embeddings_carry_usage_and_can_be_shortened(desk):
    body = {"model": "text-embedding-3-small", "input": "x" * 40, "dimensions": 5}
    answer = parsed(desk(flavour="openai").post("/v1/embeddings", body))
    assert answer["usage"] == {"prompt_tokens": 10, "total_tokens": 10}
    assert len(answer["data"][0]["embedding"]) == 5


@pytest.mark.parametrize("texts", [[], [""], ["a"] * 2049, ["x" * 40_000], 7, [1, "a"]])
def test_openai_refuses_inputs_it_cannot_embed(desk, texts):
    body = {"model": "text-embedding-3-small", "input": texts}
    assert desk(flavour="openai").post("/v1/embeddings", body).status == 400


def test_together_cuts_a_text_that_is_too_long_silently(desk):
    counter = desk()
    body = {"model": "intfloat/multilingual-e5-large-instruct", "input": "x" * 40_000}
    assert counter.post("/v1/embeddings", body).status == 200
    assert counter.ledger.entries[-1].input_tokens == 514


def test_rerank_is_sorted_and_gives_documents_only_on_demand(desk):
    body = {"model": "m", "query": "blue sky", "documents": ["green grass", "a blue sky", {"text": "sky"}]}
    counter = desk()
    answer = parsed(counter.post("/v1/rerank", body))
    scores = [result["relevance_score"] for result in answer["results"]]
    assert scores == sorted(scores, reverse=True)
    assert answer["results"][0] == {"index": 1, "relevance_score": scores[0], "document": None}
    assert answer["usage"]["completion_tokens"] == 0
    short = parsed(counter.post("/v1/rerank", {**body, "top_n": 1, "return_documents": True}))
    assert [result["document"] for result in short["results"]] == [{"text": "a blue sky"}]


def test_together_rerank_refuses_unknown_fields(desk):
    assert desk().post("/v1/rerank", {"model": "m", "query": "q", "documents": ["d"], "color": 1}).status == 400


def test_the_models_list_is_an_array_on_together_and_an_object_on_openai(desk):
    headers = {"authorization": "Bearer k"}
    bare = json.loads(desk().provider.handle("GET", "/v1/models?dedicated=false", headers, b"").body)
    llama = next(item for item in bare if item["id"] == "meta-llama/Llama-3.3-70B-Instruct-Turbo")
    assert llama["pricing"]["input"] == 1.04
    assert llama["context_length"] == 131_072
    listed = json.loads(
        desk(flavour="openai", models=("gpt-4o", "mine")).provider.handle("GET", "/models", headers, b"").body
    )
    assert [item["id"] for item in listed["data"]] == ["gpt-4o", "mine"]

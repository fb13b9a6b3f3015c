"""The official packages of OpenAI and Together talk to the simulator over a real socket and find nothing amiss."""

from __future__ import annotations

import base64
import json
import struct

import openai
import pytest
import together

from batchrunner.simulator import Provider, Settings, serve

QUESTION = [{"role": "user", "content": "Why is the sky blue?"}]


def openai_client(url):
    return openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0, timeout=10)


def together_client(url):
    return together.AsyncTogether(base_url=url, api_key="k", max_retries=0, timeout=10)


@pytest.mark.anyio
async def test_openai_chats_and_completes():
    provider = Provider(Settings(flavour="openai"))
    async with serve(provider) as url, openai_client(url) as client:
        chat = await client.chat.completions.create(model="gpt-4o-mini", messages=QUESTION, max_tokens=12, n=2, seed=1)
        assert [choice.index for choice in chat.choices] == [0, 1]
        assert chat.choices[0].message.content.startswith("[echo ")
        assert chat.usage.prompt_tokens_details.cached_tokens == 0
        assert chat._request_id == chat.id
        done = await client.completions.create(model="gpt-3.5-turbo-instruct", prompt=["one", "two"])
        assert len(done.choices) == 2
    assert provider.ledger.entries[0].usage["total_tokens"] == chat.usage.total_tokens


TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}},
        },
    },
    {"type": "function", "function": {"name": "time", "parameters": {}}},
]


@pytest.mark.anyio
async def test_openai_streams_what_it_brings_without_a_stream():
    provider = Provider(Settings(flavour="openai", echo=False))
    asked = {"model": "gpt-4o-mini", "messages": QUESTION, "seed": 1}
    async with serve(provider) as url, openai_client(url) as client:
        plain = await client.chat.completions.create(**asked)
        async with client.chat.completions.stream(**asked, stream_options={"include_usage": True}) as events:
            whole = await events.get_final_completion()
        assert whole.choices[0].message.content == plain.choices[0].message.content
        assert whole.choices[0].finish_reason == plain.choices[0].finish_reason
        assert whole.usage == plain.usage
        chunks = [chunk async for chunk in await client.chat.completions.create(**asked, stream=True)]
        assert chunks[0].choices[0].delta.role == "assistant"
        assert all(chunk.usage is None for chunk in chunks)
        said = [part async for part in await client.completions.create(model="m", prompt=["one", "two"], stream=True)]
        done = await client.completions.create(model="m", prompt=["one", "two"])
        for choice in done.choices:
            pieces = [one.text for part in said for one in part.choices if one.index == choice.index]
            assert "".join(pieces) == choice.text
            assert len(pieces) > 3
    entries = list(provider.ledger.entries)
    assert [entry.usage is None for entry in entries] == [False, False, True, True, False]
    assert [entry.streamed for entry in entries] == [False, True, True, True, False]
    assert all(entry.written and entry.sent_bytes > 100 for entry in entries)


@pytest.mark.anyio
async def test_openai_calls_tools_whole_and_streamed():
    asked = {"model": "m", "messages": QUESTION, "tools": TOOLS, "tool_choice": "required"}
    async with serve(Provider(Settings(flavour="openai"))) as url, openai_client(url) as client:
        plain = (await client.chat.completions.create(**asked)).choices[0]
        async with client.chat.completions.stream(**asked) as events:
            whole = (await events.get_final_completion()).choices[0]
    assert plain.finish_reason == whole.finish_reason == "tool_calls"
    assert [call.function.name for call in plain.message.tool_calls] == ["weather", "time"]
    # What was said depends on the call's own bytes only through the echo, which is cut out here.
    assert [call.id for call in whole.message.tool_calls] == [call.id for call in plain.message.tool_calls]
    for call in whole.message.tool_calls + plain.message.tool_calls:
        arguments = json.loads(call.function.arguments)
        assert (arguments == {}) == (call.function.name == "time")
        assert arguments.get("days", 7) == 7


@pytest.mark.anyio
async def test_together_streams_texts_and_tool_calls():
    provider = Provider(Settings(echo=False, cached_share=0.5))
    asked = {"model": "meta-llama/Llama-3.2-3B-Instruct", "messages": QUESTION, "max_tokens": 12}
    async with serve(provider) as url, together_client(url) as client:
        plain = await client.chat.completions.create(**asked)
        chunks = [chunk async for chunk in await client.chat.completions.create(**asked, stream=True)]
        assert "".join(chunk.choices[0].delta.content for chunk in chunks) == plain.choices[0].message.content
        assert [chunk.choices[0].finish_reason for chunk in chunks[-2:]] == [plain.choices[0].finish_reason] * 2
        assert chunks[-1].usage == plain.usage
        assert chunks[-1].choices[0].seed == plain.choices[0].seed > 2**63
        tools = [
            chunk.choices[0].delta.tool_calls[0]
            async for chunk in await client.chat.completions.create(**asked, tools=TOOLS, stream=True)
            if chunk.choices[0].delta.tool_calls
        ]
        assert tools[0].function.name == "weather"
        assert json.loads("".join(call.function.arguments for call in tools))["days"] == 7
        done = await client.completions.create(model="m", prompt="Once", max_tokens=9)
        said = [
            part async for part in await client.completions.create(model="m", prompt="Once", max_tokens=9, stream=True)
        ]
        assert "".join(part.choices[0].text for part in said) == done.choices[0].text
        assert said[-1].finish_reason == done.choices[0].finish_reason
    assert all(entry.usage for entry in provider.ledger.entries)


@pytest.mark.anyio
async def test_both_packages_raise_for_an_error_in_the_stream_and_pass_over_comments():
    for flavour, package, build in (("openai", openai, openai_client), ("together", together, together_client)):
        async with serve(Provider(Settings(flavour=flavour, faults={"stream_error": 1}))) as url, build(url) as client:
            stream = await client.chat.completions.create(model="m", messages=QUESTION, stream=True)
            with pytest.raises(package.APIError, match="in the middle of the answer"):
                [chunk async for chunk in stream]
        commented = Settings(flavour=flavour, faults={"stream_comments": 1})
        async with serve(Provider(commented)) as url, build(url) as client:
            stream = await client.chat.completions.create(model="m", messages=QUESTION, stream=True)
            assert len([chunk async for chunk in stream]) > 5


@pytest.mark.anyio
async def test_openai_embeds_with_the_base64_it_asks_for_by_itself_and_with_floats():
    async with serve(Provider(Settings(flavour="openai"))) as url, openai_client(url) as client:
        packed = await client.embeddings.create(model="text-embedding-3-small", input=["a", "b"])
        plain = await client.embeddings.create(
            model="text-embedding-3-small", input=["a", "b"], encoding_format="float"
        )
        for left, right in zip(packed.data, plain.data, strict=True):
            assert len(left.embedding) == 1536
            assert struct.pack("<1536f", *left.embedding) == struct.pack("<1536f", *right.embedding)
        assert packed.usage.total_tokens == plain.usage.total_tokens == 2
        raw = await client.embeddings.create(model="text-embedding-3-small", input="a", encoding_format="base64")
        assert base64.b64decode(raw.data[0].embedding) == struct.pack("<1536f", *plain.data[0].embedding)


@pytest.mark.anyio
async def test_openai_lists_the_models():
    async with serve(Provider(Settings(flavour="openai"))) as url, openai_client(url) as client:
        assert "gpt-4o" in [model.id async for model in client.models.list()]


@pytest.mark.anyio
async def test_the_openai_package_also_speaks_to_the_together_flavour():
    async with serve(Provider(Settings())) as url, openai_client(url) as client:
        chat = await client.chat.completions.create(model="meta-llama/Llama-3.2-3B-Instruct", messages=QUESTION)
        assert chat.choices[0].message.tool_calls == []
        vectors = await client.embeddings.create(model="BAAI/bge-base-en-v1.5", input="a")
        assert len(vectors.data[0].embedding) == 768


@pytest.mark.anyio
async def test_together_chats_completes_embeds_and_reranks():
    async with serve(Provider(Settings(cached_share=0.5))) as url, together_client(url) as client:
        chat = await client.chat.completions.create(model="meta-llama/Llama-3.2-3B-Instruct", messages=QUESTION)
        assert chat.prompt == []
        assert chat.choices[0].seed > 2**63
        assert chat.usage.total_tokens == chat.usage.prompt_tokens + chat.usage.completion_tokens
        done = await client.completions.create(model="meta-llama/Llama-3.2-3B-Instruct", prompt="Once", max_tokens=9)
        assert done.choices[0].finish_reason == "length"
        vectors = await client.embeddings.create(model="BAAI/bge-large-en-v1.5", input=["a", "b", "c"])
        assert [len(item.embedding) for item in vectors.data] == [1024] * 3
        ranked = await client.rerank.create(
            model="Salesforce/Llama-Rank-V1", query="blue", documents=["a blue one", "a red one"], return_documents=True
        )
        assert ranked.results[0].document.text == "a blue one"
        assert ranked.usage.completion_tokens == 0


@pytest.mark.anyio
async def test_together_lists_the_supported_models():
    async with serve(Provider(Settings())) as url, together_client(url) as client:
        models = [model async for model in client.models.list_supported()]
        glm = next(model for model in models if model.name == "zai-org/GLM-5.2")
        assert (glm.pricing.input, glm.pricing.cached_input, glm.context_length) == (1.4, 0.26, "131072")


@pytest.mark.slow
@pytest.mark.anyio
@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"api_key": "other"}, "AuthenticationError"),
        ({"models": ()}, "NotFoundError"),
        ({"faults": {"429": 1.0}}, "RateLimitError"),
        ({"requests_per_minute": 1, "model_limits": {"m": (0, 0)}}, "RateLimitError"),
        ({"faults": {"500": 1.0}}, "InternalServerError"),
        ({"faults": {"529": 1.0}}, "InternalServerError"),
        ({"faults": {"502html": 1.0}}, "InternalServerError"),
        ({"faults": {"422": 1.0}}, "UnprocessableEntityError"),
        ({"poison": "sky"}, "BadRequestError"),
        ({"faults": {"reset_before": 1.0}}, "APIConnectionError"),
        ({"faults": {"close_before": 1.0}}, "APIConnectionError"),
        ({"faults": {"truncate": 1.0}}, "APIConnectionError"),
    ],
)
async def test_both_packages_raise_their_own_exception_for_a_refusal(settings, name):
    for flavour, package, build in (("openai", openai, openai_client), ("together", together, together_client)):
        provider = Provider(Settings(flavour=flavour, **settings))
        async with serve(provider) as url, build(url) as client:
            if "model_limits" in settings:
                await client.chat.completions.create(model="m", messages=QUESTION)
            with pytest.raises(getattr(package, name)):
                await client.chat.completions.create(model="m", messages=QUESTION)


@pytest.mark.anyio
async def test_empty_credit_is_402_to_together_and_a_quota_error_to_openai():
    async with serve(Provider(Settings(credit_calls=0))) as url, together_client(url) as client:
        with pytest.raises(together.APIStatusError) as refused:
            await client.chat.completions.create(model="m", messages=QUESTION)
        assert refused.value.status_code == 402
    async with serve(Provider(Settings(flavour="openai", credit_calls=0))) as url, openai_client(url) as client:
        with pytest.raises(openai.RateLimitError) as quota:
            await client.chat.completions.create(model="m", messages=QUESTION)
        assert quota.value.code == "insufficient_quota"


@pytest.mark.slow
@pytest.mark.anyio
async def test_a_retry_of_the_package_is_seen_in_the_ledger():
    first = iter(["500"])
    provider = Provider(
        Settings(flavour="openai", retry_after_style="ms"),
        fault_for=lambda *_: next(first, None),
    )
    async with serve(provider) as url, openai_client(url).with_options(max_retries=1) as client:
        await client.chat.completions.create(model="m", messages=QUESTION)
    assert [entry.retry_count for entry in provider.ledger.entries] == [0, 1]
    assert provider.ledger.stats()["repeated_calls"] == 1


@pytest.mark.anyio
async def test_openai_gets_responses_whole_cut_off_and_in_a_form():
    provider = Provider(Settings(flavour="openai"))
    async with serve(provider) as url, openai_client(url) as client:
        whole = await client.responses.create(
            model="gpt-4o-mini", input="Why is the sky blue?", instructions="Be brief."
        )
        assert whole.status == "completed"
        assert whole.output_text.startswith("[echo ")
        assert whole.usage.total_tokens == whole.usage.input_tokens + whole.usage.output_tokens
        assert whole.usage.output_tokens_details.reasoning_tokens == 0
        cut = await client.responses.create(model="gpt-4o-mini", input=QUESTION, max_output_tokens=16)
        assert (cut.status, cut.incomplete_details.reason) == ("incomplete", "max_output_tokens")
        schema = {"type": "object", "properties": {"why": {"type": "string"}}, "required": ["why"]}
        form = {"format": {"type": "json_schema", "name": "answer", "schema": schema}}
        formed = await client.responses.create(model="gpt-4o-mini", input="Why?", text=form)
        assert json.loads(formed.output_text).keys() == {"why"}
        with pytest.raises(openai.BadRequestError):
            await client.responses.create(model="gpt-4o-mini", input="Why?", max_output_tokens=1)
    assert provider.ledger.entries[0].usage["total_tokens"] == whole.usage.total_tokens


@pytest.mark.anyio
async def test_openai_gets_moderations():
    async with serve(Provider(Settings(flavour="openai"))) as url, openai_client(url) as client:
        found = await client.moderations.create(model="omni-moderation-latest", input=["hello", "violence and hate"])
        assert [result.flagged for result in found.results] == [False, True]
        assert found.results[1].categories.violence
        assert not found.results[1].categories.self_harm_intent


@pytest.mark.anyio
async def test_together_has_no_responses():
    async with serve(Provider(Settings(flavour="together"))) as url, openai_client(url) as client:
        with pytest.raises(openai.NotFoundError):
            await client.responses.create(model="m", input="Why?")

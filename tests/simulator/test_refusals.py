"""Refusals: status, body and headers as the providers send them; nothing of it is billed."""

from __future__ import annotations

import json
from email.utils import parsedate_to_datetime

import pytest


def error(answer):
    return json.loads(answer.body)["error"]


def test_a_missing_or_wrong_key_is_refused_and_never_repeated(desk):
    counter = desk(api_key="right")
    for key in (None, "", "sk-secret-wrong"):
        answer = counter.chat(key=key)
        assert answer.status == 401
        assert error(answer)["code"] == "invalid_api_key"
        assert b"sk-secret" not in answer.body
    assert b"sk-secret" not in counter.ledger.json_lines()
    assert counter.chat(key="right").status == 200


def test_a_key_is_revoked_after_so_many_calls(desk):
    counter = desk(revoke_after=2)
    assert [counter.chat().status for _ in range(4)] == [200, 200, 401, 401]


def test_credit_runs_out_in_each_flavours_way(desk):
    together, openai = desk(credit_calls=1), desk(flavour="openai", credit_calls=1)
    assert together.chat().status == openai.chat().status == 200
    answer = together.chat()
    assert (answer.status, error(answer)["type"]) == (402, "credit_limit")
    assert "id" in json.loads(answer.body)
    answer = openai.chat()
    assert (answer.status, error(answer)["code"]) == (429, "insufficient_quota")
    assert "Retry-After" not in answer.headers


def test_models_can_be_missing_or_unavailable(desk):
    for flavour in ("together", "openai"):
        counter = desk(
            flavour=flavour, models=("m", "gone", "private"), missing_models=("gone",), unavailable_models=("private",)
        )
        assert counter.chat().status == 200
        for model in ("gone", "never"):
            answer = counter.chat(model=model)
            assert (answer.status, error(answer)["code"]) == (404, "model_not_found")
        answer = counter.chat(model="private")
        assert (answer.status, error(answer)["code"]) == (400, "model_not_available")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"model":"m"}',
        b'{"messages":[]}',
        b'{"model":"m","messages":["x"]}',
        b"\xff",
        b"[" * 100_000,
    ],
)
def test_a_body_that_is_no_request_is_a_400(desk, body):
    assert desk().post("/v1/chat/completions", body).status == 400


def test_a_stream_is_asked_for_with_true_and_nothing_else(desk):
    answer = desk().chat(stream="yes")
    assert answer.status == 400
    assert "'stream' must be true or false" in error(answer)["message"]


def test_an_unknown_path_is_404_and_a_wrong_verb_405(desk):
    counter = desk()
    assert counter.post("/v1/responses", {}).status == 404
    assert counter.provider.handle("GET", "/v1/embeddings", {"authorization": "Bearer k"}, b"").status == 405


def test_a_prompt_that_does_not_fit_is_worded_as_the_flavour_does(desk):
    long, short = "x" * 500, "x" * 40
    together, openai = desk(context_length=100), desk(flavour="openai", context_length=100)
    answer = together.chat(long)
    assert answer.status == 400
    assert "maximum context length is 100 tokens" in error(answer)["message"]
    answer = together.chat(short, max_tokens=90)
    assert (answer.status, error(answer)["param"]) == (422, "max_tokens")
    assert "Given: 13 `inputs` tokens and 90 `max_new_tokens`" in error(answer)["message"]
    assert error(openai.chat(short, max_tokens=90))["code"] == "context_length_exceeded"


def test_a_body_that_is_too_large_is_a_413(desk):
    assert desk(max_body_bytes=50).chat("x" * 100).status == 413


def test_poison_makes_a_pack_of_texts_a_400(desk):
    counter = desk(poison="POISON")
    assert counter.post("/v1/embeddings", {"model": "m", "input": ["a", "b POISON"]}).status == 400
    assert counter.post("/v1/embeddings", {"model": "m", "input": ["a", "b"]}).status == 200


@pytest.mark.parametrize(
    ("limit_type", "kind"),
    [("model", "model_rate_limit"), ("dynamic", "dynamic_request_limited"), ("account", "credit_limit")],
)
def test_a_together_429_names_its_type_and_the_seconds_to_wait(desk, limit_type, kind):
    counter = desk(requests_per_minute=30, limit_type=limit_type)
    good = counter.chat()
    assert good.headers["x-ratelimit-limit"] == "0.5"
    assert good.headers["x-ratelimit-remaining"] == "0"
    answer = counter.chat()
    assert (answer.status, error(answer)["type"]) == (429, kind)
    assert answer.headers["Retry-After"] == "2"


def test_an_openai_429_speaks_go_durations(desk):
    counter = desk(flavour="openai", requests_per_minute=30, tokens_per_minute=600_000)
    good = counter.chat(max_tokens=100)
    assert good.headers["x-ratelimit-limit-requests"] == "30"
    assert good.headers["x-ratelimit-limit-tokens"] == "600000"
    assert good.headers["x-ratelimit-reset-requests"] == "2s"
    assert good.headers["x-ratelimit-reset-tokens"].endswith("ms")
    answer = counter.chat()
    assert (error(answer)["type"], error(answer)["code"]) == ("requests", "rate_limit_exceeded")


@pytest.mark.parametrize(
    ("style", "header", "value"),
    [
        ("seconds", "Retry-After", "2"),
        ("decimal", "Retry-After", "2.000"),
        ("ms", "retry-after-ms", "2000"),
        ("absurd", "Retry-After", "999999999"),
        ("malformed", "Retry-After", "soon"),
        ("negative", "Retry-After", "-1"),
    ],
)
def test_the_wait_is_told_in_every_style(desk, style, header, value):
    counter = desk(requests_per_minute=30, retry_after_style=style)
    counter.chat()
    assert counter.chat().headers[header] == value


def test_the_wait_is_told_as_a_date_or_not_at_all(desk):
    for style, seconds in (("date", 2), ("past_date", -86_400)):
        counter = desk(requests_per_minute=30, retry_after_style=style)
        counter.chat()
        told = parsedate_to_datetime(counter.chat().headers["Retry-After"]).timestamp()
        assert told == 1_760_000_000 + seconds
    counter = desk(requests_per_minute=30, retry_after_style="none")
    counter.chat()
    assert not {"retry-after", "retry-after-ms"} & {name.lower() for name in counter.chat().headers}


def test_more_calls_in_flight_than_the_capacity_are_503(desk):
    counter = desk(capacity=1)
    first = counter.chat(finish=False)
    assert counter.chat().status == 503
    counter.provider.finish(first.number)
    assert counter.chat().status == 200


def test_an_outage_is_503_for_everyone_and_then_over(desk, clock):
    counter = desk(outages=((10, 20),), retry_after_on_503=True, retry_after=3)
    seen = []
    for _ in range(4):
        seen.append(counter.chat().status)
        clock.time += 7
    assert seen == [200, 200, 503, 200]
    assert counter.ledger.faults == {"outage": 1}


def test_a_refused_outage_reads_nothing(desk):
    counter = desk(outages=((0, 1),), outage_kind="refused")
    answer = counter.chat()
    assert (answer.status, answer.fault) == (0, "refused")
    assert not counter.ledger.entries[-1].processed
    assert counter.provider.refusing()


def test_no_refusal_is_billed(desk):
    counter = desk(requests_per_minute=60, credit_calls=2)
    for text in "abc":
        counter.chat(text)
    counter.chat(key=None)
    counter.post("/nowhere", {})
    assert [entry.billed for entry in counter.ledger.entries] == [True, False, False, False, False]

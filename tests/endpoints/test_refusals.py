"""Refusals by status, by the provider's own words, and by its wish to be asked again."""

import itertools

import pytest

from batchrunner.core.attempt import Billing, FailureKind
from batchrunner.core.usage import Usage
from batchrunner.endpoints.registry import CHAT
from tests.canary import CANARY_KEY
from tests.endpoints.replies import generic, openai, reply, together

K = FailureKind
PLAIN = {"error": {"message": "no", "type": None, "param": None, "code": None}}
BY_STATUS = {
    100: K.BAD_REPLY, 201: K.BAD_REPLY, 202: K.BAD_REPLY, 204: K.BAD_REPLY, 206: K.BAD_REPLY,
    301: K.MISCONFIGURED, 302: K.MISCONFIGURED, 307: K.MISCONFIGURED, 407: K.MISCONFIGURED,
    400: K.INVALID_REQUEST, 401: K.AUTH, 402: K.NO_CREDIT, 404: K.MODEL_UNAVAILABLE,
    405: K.INVALID_REQUEST, 406: K.INVALID_REQUEST, 410: K.INVALID_REQUEST, 413: K.INVALID_REQUEST,
    415: K.INVALID_REQUEST, 418: K.INVALID_REQUEST, 422: K.INVALID_REQUEST, 424: K.INVALID_REQUEST,
    431: K.INVALID_REQUEST, 451: K.INVALID_REQUEST, 499: K.INVALID_REQUEST,
    408: K.SERVER_ERROR, 409: K.SERVER_ERROR, 425: K.SERVER_ERROR, 429: K.RATE_LIMITED,
    500: K.SERVER_ERROR, 502: K.SERVER_ERROR, 504: K.SERVER_ERROR, 507: K.SERVER_ERROR, 520: K.SERVER_ERROR,
    521: K.SERVER_ERROR, 522: K.SERVER_ERROR, 523: K.SERVER_ERROR, 524: K.SERVER_ERROR, 525: K.SERVER_ERROR,
    526: K.SERVER_ERROR, 527: K.SERVER_ERROR, 530: K.SERVER_ERROR, 599: K.SERVER_ERROR,
    501: K.INVALID_REQUEST, 505: K.INVALID_REQUEST, 503: K.OVERLOADED, 529: K.OVERLOADED,
}  # fmt: skip


@pytest.mark.parametrize("status", BY_STATUS)
def test_a_status_without_words_has_its_kind(status):
    for classify in (together, openai, generic):
        failure = classify(reply(PLAIN, status))
        assert (failure.kind, failure.status) == (BY_STATUS[status], status)


@pytest.mark.parametrize("status", BY_STATUS)
def test_refusals_below_500_are_not_billed_and_the_rest_is_unknown(status):
    wanted = Billing.NOT_BILLED if 300 <= status < 500 else Billing.UNKNOWN
    assert generic(reply(PLAIN, status)).billing == wanted


@pytest.mark.parametrize("status", [-1, 0, 99, 600, 999])
def test_a_number_that_is_no_status_is_a_bad_reply(status):
    assert generic(reply(PLAIN, status)).kind == K.BAD_REPLY


def test_h10_403_is_a_row_error_on_together_and_a_question_of_permission_elsewhere():
    kinds = [classify(reply(PLAIN, 403)).kind for classify in (together, openai, generic)]
    assert kinds == [K.CONTEXT_LENGTH, K.AUTH, K.AUTH]


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (429, "insufficient_quota", K.NO_CREDIT),
        (429, "credit_balance_exhausted", K.NO_CREDIT),
        (429, "organization_spend_limit_exceeded", K.NO_CREDIT),
        (429, "project_spend_limit_exceeded", K.NO_CREDIT),
        (429, "organization_usage_limit_exceeded", K.NO_CREDIT),
        (429, "rate_limit_exceeded", K.RATE_LIMITED),
        (429, "slow_down", K.RATE_LIMITED),
        (429, "model_rate_limit", K.RATE_LIMITED),
        (429, "credit_limit", K.RATE_LIMITED),
        (429, "dynamic_token_limited", K.RATE_LIMITED),
        (402, "credit_limit", K.NO_CREDIT),
        (503, "slow_down", K.OVERLOADED),
        (503, "server_is_overloaded", K.OVERLOADED),
        (400, "model_not_available", K.MODEL_UNAVAILABLE),
        (400, "model_not_found", K.MODEL_UNAVAILABLE),
        (403, "model_not_found", K.MODEL_UNAVAILABLE),
        (400, "dedicated_endpoint_not_running", K.MODEL_UNAVAILABLE),
        (400, "context_length_exceeded", K.CONTEXT_LENGTH),
        (400, "content_filter", K.CONTENT_FILTER),
        (400, "Invalid_API_Key", K.AUTH),
        (403, "unsupported_country_region_territory", K.AUTH),
    ],
)
def test_a_providers_own_code_says_more_than_its_status(status, code, kind):
    bodies = [
        {"error": {"message": "no", "type": None, "code": code}},
        {"error": {"message": "no", "type": code, "code": None}},
        {"error": {"message": "no", "error_type": code, "code": status}},
        {"error": {"message": "no", "type": None}, "error_type": code},
        {"object": "error", "message": "no", "type": code, "code": status},
    ]
    for body, classify in itertools.product(bodies, (together, openai, generic)):
        assert classify(reply(body, status)).kind == kind, body


@pytest.mark.parametrize(
    "message",
    [
        "This model's maximum context length is 131072 tokens. However, you requested 140000 tokens.",
        "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 8193. Given: 9000 `inputs` tokens",
        "The prompt exceeds the context window of this model",
        "Requested tokens exceed context_length",
        "The context length has been exceeded",
        "The prompt is longer than the maximum model length of 4096",
        "Input validation error: `inputs` must have less than 512 tokens. Given: 515",
        "the request exceeds the available context size, try increasing it",
        "prompt is too long: 210000 tokens > 200000 maximum",
    ],
)
@pytest.mark.parametrize("status", [400, 403, 422])
def test_a_text_about_the_context_is_a_context_error_at_any_provider(message, status):
    for classify in (together, openai, generic):
        failure = classify(reply({"error": {"message": message, "type": "invalid_request_error"}}, status))
        assert failure.kind == K.CONTEXT_LENGTH
        assert "Shorten the input" in failure.message


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, K.AUTH), (404, K.MODEL_UNAVAILABLE), (408, K.SERVER_ERROR), (429, K.RATE_LIMITED), (503, K.OVERLOADED)],
)
def test_other_refusals_may_speak_of_the_context_and_stay_what_they_are(status, kind):
    assert together(reply({"error": "maximum context length"}, status)).kind == kind


def test_the_front_that_cannot_reach_its_engine_is_transient_and_only_with_400():
    body = {"error": {"message": "All connection attempts failed"}}
    assert (together(reply(body, 400)).kind, together(reply(body, 400)).billing) == (K.SERVER_ERROR, Billing.NOT_BILLED)
    assert together(reply(body, 422)).kind == K.INVALID_REQUEST


@pytest.mark.parametrize(
    ("status", "wish", "kind", "billing"),
    [
        (400, "true", K.SERVER_ERROR, Billing.NOT_BILLED),
        (404, "true", K.SERVER_ERROR, Billing.NOT_BILLED),
        (422, "true", K.SERVER_ERROR, Billing.NOT_BILLED),
        (501, "true", K.SERVER_ERROR, Billing.UNKNOWN),
        (402, "true", K.NO_CREDIT, Billing.NOT_BILLED),
        (429, "true", K.RATE_LIMITED, Billing.NOT_BILLED),
        (503, "true", K.OVERLOADED, Billing.UNKNOWN),
        (500, "false", K.INVALID_REQUEST, Billing.UNKNOWN),
        (503, "false", K.OVERLOADED, Billing.UNKNOWN),
        (409, "false", K.INVALID_REQUEST, Billing.NOT_BILLED),
        (429, "false", K.RATE_LIMITED, Billing.NOT_BILLED),
        (401, "false", K.AUTH, Billing.NOT_BILLED),
        (400, "True", K.INVALID_REQUEST, Billing.NOT_BILLED),
        (500, "no", K.SERVER_ERROR, Billing.UNKNOWN),
        (302, "true", K.MISCONFIGURED, Billing.NOT_BILLED),
    ],
)
def test_the_providers_wish_about_retrying_is_obeyed_both_ways(status, wish, kind, billing):
    failure = generic(reply(PLAIN, status, x_should_retry=wish))
    assert (failure.kind, failure.billing) == (kind, billing)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"error": {"message": "one", "type": "t"}, "message": "two"}, "one"),
        ({"error": "one", "message": "two"}, "one"),
        ({"error": {"message": None}, "message": "two"}, "two"),
        ({"message": "two", "detail": "three"}, "two"),
        ({"detail": "three"}, "three"),
        (
            {"detail": [{"loc": ["body", "n"], "msg": "too large"}, {"msg": "and more"}, 7]},
            "body.n: too large; and more",
        ),
        ({"error": {"code": 7}}, '{"error": {"code": 7}}'),
        ({"unheard": "of"}, '{"unheard": "of"}'),
        (["one"], '["one"]'),
        (b"plain text", "plain text"),
        (b"  two\n\tlines\r\n", "two lines"),
        (b"\x1b]0;owned\x07\xe2\x80\xaegnp", "\ufffd]0;owned\ufffd\ufffdgnp"),
        (b"", "an empty body"),
        (b"\xff\xfe", "\ufffd\ufffd"),
    ],
)
def test_the_message_is_found_in_every_shape_of_body(body, message):
    assert generic(reply(body, 418)).message == f"HTTP 418: {message}"


@pytest.mark.parametrize("status", [400, 401, 404, 500])
def test_a_long_message_is_cut_and_its_advice_is_not(status):
    failure = generic(reply({"error": {"message": "long " * 100_000}}, status))
    assert len(failure.message) <= 500
    assert "..." in failure.message
    if status == 404:
        assert failure.message.endswith("check both.")


def test_a_404_names_both_things_that_can_be_wrong():
    message = together(reply({"error": {"message": "Not found"}}, 404)).message
    assert "model" in message
    assert "base URL" in message


KEYS = [
    CANARY_KEY,
    "sk-" + "Ab12Cd34" * 4,
    "tgp_v1_" + "Ab12Cd34" * 4,
    "hf_" + "Ab12Cd34" * 4,
    "0123456789abcdef" * 4,
    "Bearer " + "eyJhbGciOi.J9-_~+/",
]


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key[:8])
@pytest.mark.parametrize("status", [200, 401, 500])
@pytest.mark.parametrize("shape", ["json", "text", "across the cut"])
def test_an_echoed_key_is_nowhere_in_the_failure(key, status, shape):
    body = {
        "json": {"error": {"message": f"Incorrect API key provided: {key}."}, "headers": {"authorization": key}},
        "text": f"Forbidden\nAuthorization: {key}\n".encode(),
        "across the cut": b"x" * (16 * 1024 - 20) + b" " + key.encode(),
    }[shape]
    failure = CHAT.read(reply(body, status), openai)
    secret = key.split()[-1]
    for size in range(12, len(secret)):  # not even the beginning of it
        assert secret[:size] not in repr(failure)
    if shape != "across the cut":
        assert "***" in failure.message
        assert b"***" in failure.body


def test_a_key_under_its_name_is_hidden_whatever_it_looks_like():
    failure = generic(reply({"detail": "x-api-key: Qwertz12345 was refused"}, 401))
    assert "Qwertz12345" not in repr(failure)


def test_ordinary_words_are_left_alone():
    words = "The task-oriented model sk-2 took 12345 tokens; basic auth. Use max_tokens=512 and token_count."
    assert generic(reply({"error": words}, 400)).message == f"HTTP 400: {words}"


def test_a_good_answer_that_holds_something_like_a_key_is_not_touched():
    body = b'{"choices":[{"finish_reason":"stop","message":{"content":"%s"}}]}' % CANARY_KEY.encode()
    assert CHAT.read(reply(body), openai).body == body


@pytest.mark.parametrize(("status", "seconds"), [(429, 5.0), (503, 5.0), (400, 5.0), (302, 5.0), (204, None)])
def test_retry_after_is_read_from_refusals_only(status, seconds):
    assert generic(reply(PLAIN, status, retry_after="5")).retry_after == seconds


def test_a_refusal_that_tells_its_usage_was_billed():
    failure = generic(reply(PLAIN | {"usage": {"prompt_tokens": 9, "completion_tokens": 4}, "model": "m"}, 400))
    assert (failure.billing, failure.usage, failure.model) == (Billing.BILLED, Usage(9, 0, 4, 0), "m")
    assert failure.usage_raw == b'{"prompt_tokens": 9, "completion_tokens": 4}'

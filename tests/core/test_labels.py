"""Errors carry the names that people know from the official SDKs; the SDKs themselves are asked."""

import httpx
import openai
import pytest
import together

from batchrunner.core.attempt import FailureKind
from batchrunner.core.labels import label, label_of


@pytest.mark.slow
@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 405, 408, 409, 413, 418, 422, 429, 500, 502, 503, 529])
@pytest.mark.parametrize("sdk", [openai, together], ids=["openai", "together"])
def test_a_status_has_the_name_of_the_sdks_class(sdk, status):
    client = (sdk.OpenAI if sdk is openai else sdk.Together)(api_key="none", base_url="http://127.0.0.1:1/v1")
    response = httpx.Response(status, request=httpx.Request("POST", "http://127.0.0.1:1/v1/chat/completions"), json={})
    error = client._make_status_error("", body={}, response=response)
    assert label(status) == type(error).__name__
    client.close()


def test_a_call_without_an_answer_is_a_connection_error_or_a_timeout():
    assert label(None) == label(None, FailureKind.CONNECTION) == openai.APIConnectionError.__name__
    assert label(None, FailureKind.ATTACHMENT) == OSError.__name__, "no call was made"
    assert label(None, FailureKind.TIMEOUT) == openai.APITimeoutError.__name__


def test_an_answer_that_is_none_behind_a_good_status_did_not_pass_the_sdks_validation():
    assert label(200, FailureKind.BAD_REPLY) == openai.APIResponseValidationError.__name__
    assert label(200, FailureKind.RATE_LIMITED) == "APIStatusError"


def test_a_stored_word_finds_its_class_and_no_failure_has_none():
    assert label_of(None, "timeout") == "APITimeoutError"
    assert label_of(429, "a word of a later release") == "RateLimitError"
    assert label_of(None, None) is None

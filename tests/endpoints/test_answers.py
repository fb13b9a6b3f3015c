"""A 200 is not a result: what counts as an answer, and what happens to everything else."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from batchrunner.core.attempt import Billing, Failure, FailureKind, Reply
from batchrunner.core.usage import Usage
from batchrunner.endpoints.answers import mend_surrogates
from batchrunner.endpoints.registry import CHAT, COMPLETIONS, EMBEDDINGS, ENDPOINTS, RERANK
from tests.endpoints.replies import chat_answer, generic, reply, together

EVERY = pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.name)


def choice(**changes):
    return {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hello"}} | changes


@EVERY
@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "it is empty"),
        (b"  \n", "it is empty"),
        (b"null", "null"),
        (b"[]", "array"),
        (b"true", "bool"),
        (b'"text"', "str"),
        (b"{}", "it has no"),
        (b"<html></html>", "not JSON"),
        (b'{"id":"a"', "not JSON"),
        (b'{"id":"a"}{"id":"b"}', "trailing"),
        (b"[" * 100_000, "array"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nested too deeply"),
        (b'{"id":"\xff"}', "not UTF-8"),
        (b'{"choices":[],"x":"\xff"}', "not UTF-8"),
        (b'{"x":NaN}', "not JSON"),
        (b'{"choices":null,"data":null,"results":7}', ""),
        (b'{"choices":7,"data":7}', ""),
    ],
)
def test_a_body_that_is_no_answer_is_a_bad_reply_that_may_have_been_billed(endpoint, body, says):
    outcome = endpoint.read(reply(body), generic)
    assert isinstance(outcome, Failure)
    assert (outcome.kind, outcome.billing, outcome.status) == (FailureKind.BAD_REPLY, Billing.UNKNOWN, 200)
    assert says in outcome.message
    assert outcome.usage is None


def test_a_bad_reply_shows_its_type_and_its_beginning_and_keeps_no_more_than_sixteen_kilobytes():
    outcome = CHAT.read(reply(b"<html>\x1b]0;owned\x07" + b"x" * 100_000, content_type="text/html"), generic)
    assert isinstance(outcome, Failure)
    assert "text/html" in outcome.message
    assert "<html>" in outcome.message
    assert outcome.message.isprintable()
    assert len(outcome.message) <= 500
    assert len(outcome.body) == 16 * 1024


@pytest.mark.parametrize(
    "choices",
    [
        [],
        [{}],
        [None],
        [choice(finish_reason=None)],
        [choice(finish_reason=7)],
        [choice(message=None)],
        [choice(message="Hello")],
        [choice(), choice(finish_reason=None)],
        [{"message": {"content": "x"}}],
    ],
)
def test_a_chat_answer_without_a_whole_choice_is_a_bad_reply_and_what_it_used_is_billed(choices):
    outcome = CHAT.read(reply(chat_answer(choices=choices)), together)
    assert isinstance(outcome, Failure)
    assert (outcome.kind, outcome.billing) == (FailureKind.BAD_REPLY, Billing.BILLED)
    assert outcome.usage == Usage(10, 0, 2, 0)
    assert (outcome.model, outcome.request_id) == ("m", "o1")


@given(finish=st.text(max_size=20).filter(lambda word: word != "error"))
@example("")
@example("eos")
@example("content_filter")
def test_h4_any_word_is_a_finish_reason_and_is_kept_as_it_is(finish):
    body = json.dumps(chat_answer(choices=[choice(finish_reason=finish)]), ensure_ascii=False)
    outcome = CHAT.read(reply(body.encode("utf-8", "replace")), together)
    assert isinstance(outcome, Reply)
    assert outcome.finish == finish


@pytest.mark.parametrize(
    ("finishes", "told"),
    [
        (["stop", "stop"], "stop"),
        (["eos", "length", "stop"], "length"),
        (["tool_calls", "content_filter", "length"], "content_filter"),
        (["", "stop"], ""),
    ],
)
def test_h4_of_several_choices_one_that_was_cut_off_speaks_for_all(finishes, told):
    outcome = CHAT.read(reply(chat_answer(choices=[choice(finish_reason=word) for word in finishes])), together)
    assert isinstance(outcome, Reply)
    assert outcome.finish == told


@pytest.mark.parametrize("error", [None, False, "", {}, []])
def test_an_empty_error_beside_a_good_answer_is_none(error):
    answer = chat_answer(error=error, choices=[choice(error=error)])
    assert isinstance(CHAT.read(reply(answer), together), Reply)


@EVERY
@pytest.mark.parametrize(
    ("error", "kind", "billing"),
    [
        ({"code": 429, "message": "slow"}, FailureKind.RATE_LIMITED, Billing.NOT_BILLED),
        ({"code": 402, "message": "pay"}, FailureKind.NO_CREDIT, Billing.NOT_BILLED),
        ({"code": 401, "message": "who"}, FailureKind.AUTH, Billing.NOT_BILLED),
        ({"code": 503, "message": "busy"}, FailureKind.OVERLOADED, Billing.UNKNOWN),
        ({"code": 200, "message": "odd"}, FailureKind.SERVER_ERROR, Billing.UNKNOWN),
        ({"code": 10**30, "message": "odd"}, FailureKind.SERVER_ERROR, Billing.UNKNOWN),
        ({"code": True, "message": "odd"}, FailureKind.SERVER_ERROR, Billing.UNKNOWN),
        ({"code": "insufficient_quota", "message": "pay"}, FailureKind.NO_CREDIT, Billing.UNKNOWN),
        ("a plain text", FailureKind.SERVER_ERROR, Billing.UNKNOWN),
        (["a list"], FailureKind.SERVER_ERROR, Billing.UNKNOWN),
        (7, FailureKind.SERVER_ERROR, Billing.UNKNOWN),
    ],
)
def test_an_error_with_status_200_counts_as_its_own_code_or_as_500(endpoint, error, kind, billing):
    sent = reply({"error": error, "user_id": "u"})
    outcome = endpoint.read(sent, generic)
    assert isinstance(outcome, Failure)
    assert (outcome.kind, outcome.billing) == (kind, billing)
    assert (outcome.status, outcome.body) == (200, sent.body)


def test_an_error_beside_null_choices_is_found():
    outcome = CHAT.read(reply({"choices": None, "error": {"code": 429, "message": "slow"}}), generic)
    assert isinstance(outcome, Failure)
    assert outcome.kind == FailureKind.RATE_LIMITED


@pytest.mark.parametrize("broken", [{"error": {"code": 429, "message": "x"}}, {"finish_reason": "error"}])
def test_an_answer_that_broke_off_may_have_been_billed_whatever_its_code_says(broken):
    unknown = CHAT.read(reply(chat_answer(choices=[choice(**broken)], usage=None)), generic)
    billed = CHAT.read(reply(chat_answer(choices=[choice(**broken)])), generic)
    assert isinstance(unknown, Failure)
    assert isinstance(billed, Failure)
    assert (unknown.billing, billed.billing) == (Billing.UNKNOWN, Billing.BILLED)
    assert billed.usage == Usage(10, 0, 2, 0)


def test_the_body_is_kept_to_the_last_byte():
    body = json.dumps(chat_answer(), indent=3).encode() + b"\r\n "
    outcome = CHAT.read(reply(body), together)
    assert isinstance(outcome, Reply)
    assert outcome.body is not None
    assert outcome.body == body


def test_the_request_id_is_the_bodys_own_then_the_headers():
    headers = {"x_request_id": "req_7", "cf_ray": "9be7-FRA"}
    ids = []
    for sent in ("o1", None, "", 7, "x" * 1000):
        outcome = CHAT.read(reply(chat_answer(id=sent), **headers), together)
        ids.append(outcome.request_id)
    ids.append(CHAT.read(reply(chat_answer(id=None), cf_ray="9be7-FRA"), together).request_id)
    assert ids == ["o1", "req_7", "req_7", "req_7", "req_7", "9be7-FRA"]


@pytest.mark.parametrize("text", [b'"\\ud83d"', b'"\\udc00"', b'"a\\ud83d\\ud83d\\ude00b"', b'"\\\\ud83d\\uDE00"'])
def test_half_an_emoji_does_not_lose_a_paid_answer(text):
    body = b'{"choices":[{"finish_reason":"length","message":{"content":%s}}]}' % text
    outcome = CHAT.read(reply(body), together)
    assert isinstance(outcome, Reply)
    assert outcome.body == body
    assert "\ufffd" in (CHAT.text(body) or "")


@given(text=st.text(alphabet=st.characters(exclude_categories=()), max_size=30))
@example("\\ud83d")
@example("\ud83d\\\ude00")
def test_mending_changes_lone_halves_and_nothing_else(text):
    """Against Python's own reading of the same JSON, where the halves of a pair meet and lone ones stay."""
    sent = json.dumps(text).encode()
    seen = json.loads(sent)
    wanted = "".join("\ufffd" if 0xD800 <= ord(letter) < 0xE000 else letter for letter in seen)
    assert json.loads(mend_surrogates(sent)) == wanted


@pytest.mark.parametrize(
    ("item", "good"),
    [
        ({"embedding": [0.5]}, True),
        ({"embedding": "AACAPw=="}, True),
        ({"embedding": []}, False),
        ({"embedding": ""}, False),
        ({"embedding": None}, False),
        ({"embedding": 7}, False),
        ({"embedding": {"a": 1}}, False),
        ({}, False),
    ],
)
def test_every_item_of_an_embeddings_answer_must_hold_a_vector(item, good):
    outcome = EMBEDDINGS.read(reply({"data": [{"embedding": [0.25]}, item]}), together)
    assert isinstance(outcome, Reply) == good


@pytest.mark.parametrize(
    ("ranking", "good"),
    [
        ({"results": [{"index": 0, "relevance_score": 0.5}]}, True),
        ({"choices": [{"index": 0, "relevance_score": 1}]}, True),
        ({"results": [{"index": 0}]}, False),
        ({"results": [{"relevance_score": 0.5}]}, False),
        ({"results": ["a"]}, False),
        ({"results": []}, False),
    ],
)
def test_a_ranking_needs_an_index_and_a_score_for_each(ranking, good):
    assert isinstance(RERANK.read(reply(ranking), together), Reply) == good


def test_a_ranking_is_charged_by_its_total_and_embeddings_by_their_prompt():
    usage = {"prompt_tokens": 5, "total_tokens": 7}
    ranking = RERANK.read(reply({"results": [{"index": 0, "relevance_score": 0.5}], "usage": usage}), together)
    vectors = EMBEDDINGS.read(reply({"data": [{"embedding": [0.5]}], "usage": usage}), together)
    assert (ranking.usage, vectors.usage) == (Usage(7, 0, 0, 0, searches=1), Usage(5, 0, 0, 0))


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (chat_answer(), "Hello"),
        (chat_answer(choices=[choice(message={"content": ""})]), ""),
        (chat_answer(choices=[choice(message={"content": None})]), None),
        (chat_answer(choices=[choice(message={"content": None, "refusal": "No."})]), "No."),
        (chat_answer(choices=[choice(message={"content": [{"type": "text", "text": "a"}, {"text": "b"}, 7]})]), "ab"),
        (chat_answer(choices=[choice(), choice(message={"content": "Bye"})]), "Hello\n\nBye"),
        (chat_answer(choices=[{"finish_reason": "stop", "text": "old"}]), "old"),
        (chat_answer(choices=[]), None),
        ({"error": {}}, None),
        ([], None),
    ],
)
def test_the_text_of_a_chat_answer_is_what_was_said(answer, text):
    assert CHAT.text(json.dumps(answer).encode()) == text


def test_vectors_and_rankings_have_no_text():
    assert EMBEDDINGS.text(b'{"data":[{"embedding":[1.0]}]}') is None
    assert RERANK.text(b'{"results":[{"index":0,"relevance_score":1.0}]}') is None


def test_the_text_of_a_completion_is_its_choices_texts():
    assert COMPLETIONS.text(b'{"choices":[{"text":"a"},{"text":null},{"text":"b"}]}') == "a\n\nb"
    assert COMPLETIONS.text(b"nonsense") is None

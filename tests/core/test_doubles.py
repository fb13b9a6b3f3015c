"""Answers that bear one id: which are not taken, and what keeps an odd but honest provider at work."""

from hypothesis import given
from hypothesis import strategies as st

from batchrunner.core.attempt import Billing, FailureKind, Reply
from batchrunner.core.doubles import NO_IDS, Doubles
from batchrunner.core.request import Head


def head(id: int, body: bytes = b"") -> Head:
    return Head(id, 1, 1, "/v1/chat/completions", None, 0, 0, 0, 1, 1, body or b"%d" % id)


def reply(id: str | None, text: bytes = b"yes") -> Reply:
    return Reply(200, text, None, request_id=id)


def test_the_second_request_does_not_get_the_first_ones_answer_and_hears_why() -> None:
    doubles = Doubles()
    assert doubles.refuse("together", head(1), reply("o1")) is None
    failure = doubles.refuse("together", head(2), reply("o1"))
    assert failure is not None
    assert (failure.kind, failure.billing) == (FailureKind.BAD_REPLY, Billing.UNKNOWN)
    assert "request 1" in failure.message
    assert doubles.refused == 1


def test_a_hostile_id_is_told_short_and_without_control_characters() -> None:
    doubles = Doubles()
    hostile = "\x1b[2J\u202e" + "x" * 10_000
    doubles.refuse("together", head(1), reply(hostile))
    failure = doubles.refuse("together", head(2), reply(hostile))
    assert failure is not None
    assert failure.message.isascii()
    assert failure.message.isprintable()
    assert len(failure.message) < 500


def test_one_body_may_share_an_answer_and_one_request_may_get_it_twice() -> None:
    doubles = Doubles()
    for request_id, body in ((1, b"same"), (2, b"same"), (1, b"same")):
        assert doubles.refuse("together", head(request_id, body), reply("o1")) is None


def test_another_provider_has_its_own_ids_and_no_id_says_nothing() -> None:
    doubles = Doubles()
    assert doubles.refuse("together", head(1), reply("o1")) is None
    assert doubles.refuse("openai", head(2), reply("o1")) is None
    assert all(doubles.refuse("together", head(n), reply(None)) is None for n in range(10))


def test_a_proxy_that_gives_everybody_one_answer_is_never_believed() -> None:
    doubles = Doubles()
    assert doubles.refuse("together", head(0), reply("o1")) is None
    assert all(doubles.refuse("together", head(n), reply("o1")) for n in range(1, 1000))


def test_a_server_that_draws_its_ids_from_a_few_is_believed_after_a_few() -> None:
    doubles = Doubles()
    refused = [n for n in range(1000) if doubles.refuse("local", head(n), reply(f"chatcmpl-{n % 7}", b"%d" % n))]
    assert len(refused) == NO_IDS == doubles.refused


@given(st.integers(0, 200))
def test_an_answer_is_remembered_over_thousands_of_others_in_bounded_room(others: int) -> None:
    doubles = Doubles(kept=64)
    doubles.refuse("together", head(-1), reply("first"))
    for n in range(others):
        doubles.refuse("together", head(n), reply(f"o{n}"))
    refused = doubles.refuse("together", head(-2), reply("first")) is not None
    assert refused or others >= 64

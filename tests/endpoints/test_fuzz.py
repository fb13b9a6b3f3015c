"""Nothing that a provider can send raises, and nothing half-read passes as an answer."""

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrunner.core.attempt import Billing, Failure, Pending, Reply
from batchrunner.core.continuation import Step
from batchrunner.core.http import HttpReply
from batchrunner.endpoints.registry import ENDPOINTS, FILED, POLLED
from batchrunner.transport.hosts import join
from tests.endpoints.replies import RECEIVED, generic, together

CASES = Path(__file__).parent / "cases"
GOLDEN = {
    endpoint.name: [path.read_bytes() for path in sorted((CASES / endpoint.name).glob("*/reply.*"))]
    for endpoint in ENDPOINTS
}
SPLICES = (
    b"null", b"[]", b"{}", b'""', b"true", b"-1", b"-0", b"1.5", b"1e999", b"NaN", b"Infinity", b"9" * 5000,
    b'"\\ud800"', b"\xff", b"\x00", b'"', b"\\", b",", b"[" * 100_000, b'{"a":' * 50_000,
    b'"error":{"code":429},', b'"choices":[],', b'"usage":{"prompt_tokens":1e308},',
    b'{"prompt_tokens":99999999999999999999,"completion_tokens":1}',
)  # fmt: skip
STATUSES = st.sampled_from(
    [200, 200, 200, 100, 204, 206, 302, 400, 401, 403, 404, 422, 429, 451, 500, 503, 529, 599, 999]
)
HEADERS = st.dictionaries(
    st.sampled_from(["retry-after", "retry-after-ms", "x-should-retry", "content-type", "x-request-id", "date"]),
    st.sampled_from(["", "0", "-1", "nan", "true", "false", "soon", "Wed, 21 Oct 2015 07:28:00 GMT"])
    | st.text(max_size=30),
)


@st.composite
def mutated(draw, bodies):
    body = draw(st.sampled_from(bodies))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(body)))
        end = draw(st.integers(start, min(len(body), start + draw(st.sampled_from([0, 1, 8, 60, 10_000])))))
        body = body[:start] + draw(st.sampled_from(SPLICES) | st.binary(max_size=4) | st.just(b"")) + body[end:]
    return body


def check(endpoint, reply):
    for classify in (together, generic):
        outcome = endpoint.read(reply, classify)
        if isinstance(outcome, Pending):
            check_pending(endpoint, outcome, reply, classify)
            continue
        if isinstance(outcome, Reply):
            assert reply.status == 200
            assert outcome.body == reply.body
            reply.body.decode()
        else:
            assert isinstance(outcome, Failure)
            assert 0 < len(outcome.message) <= 500
            assert len(outcome.body) <= 16 * 1024
            assert outcome.retry_after is None or 0 <= outcome.retry_after <= 3600
            assert outcome.usage is None or outcome.billing is Billing.BILLED
        usage = outcome.usage
        assert usage is None or (
            0 <= usage.cached <= usage.input
            and 0 <= usage.reasoning <= usage.output
            and min(usage[:-1]) == 0
            and (max(usage[:-1]) > 0 or usage.cost is not None)
        )
        assert outcome.usage_raw is None or len(outcome.usage_raw) <= 4096
    text = endpoint.text(reply.body)
    assert text is None or text.encode() is not None


def check_pending(endpoint, outcome, reply, classify):
    """What goes on holds the answer, and can go on: with parts of it, or with a question."""
    continuation = outcome.continuation
    assert reply.status == 200
    assert continuation.answer == reply.body
    if continuation.step is Step.FETCH:
        parts = FILED[endpoint.path].parts(continuation)
        assert parts
        assert all((part.url is None) is not (part.data is None) for part in parts)
    else:
        call = POLLED[endpoint.path].resume(continuation)
        assert (call.method, call.tail) == ("GET", continuation.target)
        assert join("https://host", call.path, call.tail).startswith("https://host/v2/videos/")
        again = POLLED[endpoint.path].go_on(continuation, reply, classify)
        assert isinstance(again, Pending)


@pytest.mark.slow
@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.name)
@given(data=st.data(), status=STATUSES, headers=HEADERS)
def test_a_mutated_reply_never_raises(endpoint, data, status, headers):
    check(endpoint, HttpReply(status, headers, data.draw(mutated(GOLDEN[endpoint.name])), RECEIVED))


@pytest.mark.slow
@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.name)
@given(body=st.binary(max_size=200), status=STATUSES, headers=HEADERS)
def test_random_bytes_never_raise_and_are_never_an_answer(endpoint, body, status, headers):
    reply = HttpReply(status, headers, body, RECEIVED)
    check(endpoint, reply)
    assert isinstance(endpoint.read(reply, generic), Failure)


@pytest.mark.slow
@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.name)
@pytest.mark.parametrize("key", ["id", "model", "usage", "error", "choices", "data", "results", "unheard_of"])
def test_no_value_of_a_known_key_raises(endpoint, key):
    for status, splice in itertools.product((200, 400, 500), SPLICES):
        check(endpoint, HttpReply(status, {}, b'{"%s":%s}' % (key.encode(), splice), RECEIVED))
        check(endpoint, HttpReply(status, {}, b'{"error":{"%s":%s}}' % (key.encode(), splice), RECEIVED))


def cut(body):
    step = max(1, len(body) // 40)
    return [body[:end] for end in range(0, len(body.rstrip()), step)]


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.name)
def test_no_beginning_of_an_answer_is_an_answer(endpoint):
    for body in GOLDEN[endpoint.name]:
        for part in cut(body):
            assert isinstance(endpoint.read(HttpReply(200, {}, part, RECEIVED), generic), Failure)

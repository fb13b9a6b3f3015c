"""What a report reads beside the costs: pace, latencies, failures, what was foreseen, from the attempts themselves."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from batchrunner.core.attempt import Billing, FailureKind
from batchrunner.core.figures import FailedCalls, Flow, Foreseen, Latency, Requests
from batchrunner.core.pricing import RateCard
from batchrunner.core.retry import RetryAt
from batchrunner.store.database import SqliteReader, open_reader, open_store
from batchrunner.store.reportbase import Period
from tests.store.making import INFO, NOW, close, give_up, heads, line, load, refusal, start_calls, succeed

SECOND = 1_000_000
HOUR = 3_600 * SECOND
CARD = RateCard(provider="together", model="m", valid_from=0, source="a page", input=2, output=3)


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[SqliteReader]:
    """Two answers, one of them an hour later; a rate limit, a server error, a refusal; a call that is still open."""
    with open_store(tmp_path / "q.db") as store:
        store.start(INFO, NOW, {"together": "key"})
        lines = [line(n, tags=(("team", "search"),)) if n == 1 else line(n, max_out=None) for n in range(1, 7)]
        job = load(store, lines, tags=(("env", "prod"),))
        rate = store.rate(CARD)
        claimed = heads(store, job)
        first, second, third, fourth = start_calls(store, claimed[:4], rate_id=rate)
        fifth, _ = start_calls(store, claimed[4:], rate_id=rate, opened=NOW + HOUR)
        closings = [
            succeed(first, ended=NOW + 1_234 * 1_000),
            succeed(fifth, ended=NOW + HOUR + 87_900, cost=500),
            close(second, refusal(FailureKind.RATE_LIMITED, status=429), RetryAt(NOW, counts=False)),
            close(
                third, refusal(FailureKind.SERVER_ERROR, status=500, billing=Billing.UNKNOWN), RetryAt(NOW, counts=True)
            ),
            give_up(fourth),
        ]
        store.commit([], closings, [], NOW)
    opened = open_reader(tmp_path / "q.db")
    yield opened
    opened.close()


def test_calls_are_counted_where_they_ended_by_how_they_ended(reader: SqliteReader) -> None:
    at = NOW // HOUR
    assert reader.flows(HOUR) == [Flow(at, 1, 1, 2, 30), Flow(at + 1, 1, 0, 0, 30)]
    assert reader.span() == Period(NOW + 1_000, NOW + HOUR + 87_900)


def test_latencies_are_told_to_two_digits_rounded_down(reader: SqliteReader) -> None:
    assert reader.latencies() == [Latency("m", 87, 1), Latency("m", 1_200, 1)]


def test_failures_have_their_money_and_what_the_first_of_them_said(reader: SqliteReader) -> None:
    assert reader.failed_calls() == [
        FailedCalls("invalid_request", 400, 1, 0, 0, "no"),
        FailedCalls("rate_limited", 429, 1, 0, 0, "no"),
        FailedCalls("server_error", 500, 1, 0, 1_000, "no"),
    ]


def test_what_was_foreseen_stands_beside_what_came(reader: SqliteReader) -> None:
    """Est. input 101 and 105, of which 10 each were used; only the first is bounded, at 50; both were held at 1,000."""
    assert reader.foreseen() == [Foreseen("m", 2, 206, 20, 1, 50, 20, 2, 2_000, 577)]


def test_cards_are_counted_for_calls_that_are_or_may_be_billed(reader: SqliteReader) -> None:
    assert [(rate.card, rate.calls) for rate in reader.rates()] == [(CARD, 3)]


def test_requests_stand_where_they_stand_and_tags_of_jobs_and_lines_are_known(reader: SqliteReader) -> None:
    assert reader.requests() == [Requests("a", 6, 2, 1, 0)]
    assert reader.tag_keys() == ["env", "team"]


def test_a_period_is_of_calls_opened_in_it_both_ends_included(reader: SqliteReader) -> None:
    before, after = Period(0, NOW), Period(NOW + 1, 2 * NOW)
    calls = [sum(sum(flow[1:4]) for flow in reader.flows(HOUR, period)) for period in (before, after)]

    assert calls == [4, 1]
    assert sum(sum(flow[1:4]) for flow in reader.flows(HOUR)) == 5


def test_an_empty_database_has_nothing_to_tell(tmp_path: Path) -> None:
    with open_store(tmp_path / "q.db"):
        pass
    reader = open_reader(tmp_path / "q.db")

    assert reader.span() is None
    assert (
        reader.flows(HOUR) == reader.latencies() == reader.failed_calls() == reader.foreseen() == reader.rates() == []
    )
    reader.close()


def test_reads_of_one_report_see_one_state_whatever_is_written_meanwhile(tmp_path: Path) -> None:
    with open_store(tmp_path / "q.db") as store:
        store.start(INFO, NOW, {"together": "key"})
        job = load(store, [line(1), line(2)])
        first, second = start_calls(store, heads(store, job), rate_id=store.rate(CARD))
        reader = open_reader(tmp_path / "q.db")
        with reader.still():
            before = reader.costs(())
            store.commit([], [succeed(first, ended=NOW + SECOND)], [], NOW)
            assert (reader.costs(()), reader.latencies(), reader.budgets(NOW).newest_attempt) == (before, [], 2)
        assert [row.attempts for row in reader.costs(())] == [1]
        store.commit([], [succeed(second, ended=NOW + SECOND)], [], NOW)
        assert [row.attempts for row in reader.costs(())] == [2]
        reader.close()

"""``costs --reprice``: a comparison that adds up, agrees with the books at their own prices, and changes nothing."""

import hashlib
import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from batchrunner.api.repricing import Sums, merged, reprice, total
from batchrunner.cli import main
from batchrunner.core.attempt import Use
from batchrunner.core.errors import ConfigurationError
from batchrunner.core.pricing import PICO, Price, PriceBook, cost_of
from batchrunner.core.slices import EVERYTHING, Within
from batchrunner.core.terms import Tier
from batchrunner.core.usage import Usage, UsageFrom
from batchrunner.store.database import open_reader, open_store
from tests.store.making import ACCOUNTS, DAY, INFO, NOW, heads, line, load, start_calls, succeed

MODELS = ("m", "n", "o")
CHANGE = NOW + 5 * DAY


@st.composite
def usages(draw: Any) -> Usage | None:
    if draw(st.integers(0, 9)) == 0:
        return None
    given, made = draw(st.integers(0, 9_999)), draw(st.integers(0, 9_999))
    tokens = (given, draw(st.integers(0, given)), made, draw(st.integers(0, made)))
    if draw(st.booleans()):
        return Usage(*tokens)
    stated = draw(st.none() | st.integers(0, 10**9))
    return Usage(*tokens, searches=draw(st.integers(0, 3)), milliseconds=draw(st.integers(0, 99_999)), cost=stated)


@st.composite
def books(draw: Any) -> PriceBook:
    """A book that knows some models, with long prompts, discounts and a change of price."""
    picos = st.integers(0, 10**7)
    rows: list[Price] = []
    for model in MODELS:
        for since in draw(st.lists(st.sampled_from([0, CHANGE]), unique=True)):
            prices = {name: draw(picos) for name in ("input", "output")}
            prices |= {name: pico for name in ("cached", "hour") if (pico := draw(st.none() | picos)) is not None}
            tiers = (Tier(above_tokens=5_000, input=draw(picos)),) if draw(st.booleans()) else ()
            off = draw(st.none() | st.integers(0, 10**6))
            row = Price(provider="together", names=(model,), valid_from=since, tiers=tiers, discount=off, **prices)
            rows += [row]
    return PriceBook(rows)


attempts = st.lists(
    st.tuples(
        st.sampled_from(MODELS),
        st.integers(0, 9),
        usages(),
        st.sampled_from([UsageFrom.PROVIDER, UsageFrom.ESTIMATED]),
        st.sampled_from(list(Use)),
    ),
    max_size=12,
)


def price(book: PriceBook, model: str, at: int, usage: Usage | None) -> int | None:
    """What a call costs, asked of the book by itself."""
    return None if usage is None else cost_of(book.card("together", model, at), usage)


def ledger(path: Path, calls: list[Any], book: PriceBook) -> None:
    """A database in which these calls were made, each priced by the book on its own day."""
    with open_store(path) as store:
        store.start(INFO, NOW, ACCOUNTS)
        job = load(store, [line(n, model=call[0]) for n, call in enumerate(calls, 1)] or [line(1)])
        for head in heads(store, job)[: len(calls)]:
            model, day, usage, told, use = calls[head.id - 1]
            opened = NOW + day * DAY
            ((opened_call),) = start_calls(store, [head], opened=opened)
            end = succeed(
                opened_call,
                usage=usage,
                usage_from=UsageFrom.NONE if usage is None else told,
                use=use,
                cost=price(book, model, opened, usage),
            )
            store.commit([], [end], [], NOW)


def repriced(path: Path, book: PriceBook, at: int, by: Sequence[str] = (), within: Within = EVERYTHING) -> Any:
    with closing(open_reader(path)) as reader:
        return merged(reprice(reader.billed(by, None, within), book, at))


def expected(calls: list[Any], costs: list[int | None]) -> Sums:
    """The sums, added up one by one."""
    sums = {"recorded": 0, "estimated": 0, "wasted": 0, "unpriced": 0}
    for (_, _, _, told, use), cost in zip(calls, costs, strict=True):
        if cost is None:
            sums["unpriced"] += 1
        elif use is Use.WASTED:
            sums["wasted"] += cost
        else:
            sums["recorded" if told is UsageFrom.PROVIDER else "estimated"] += cost
    return Sums(**sums)


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(attempts, books(), books(), st.sampled_from([0, CHANGE - 1, CHANGE, CHANGE + 9 * DAY]))
def test_both_sums_are_those_of_each_call_alone_and_every_slicing_adds_up(
    tmp_path_factory: pytest.TempPathFactory, calls: list[Any], book: PriceBook, other: PriceBook, at: int
) -> None:
    path = tmp_path_factory.mktemp("ledger") / "q.db"
    ledger(path, calls, book)

    whole = total(repriced(path, other, at))
    assert whole.calls == len(calls)
    assert whole.booked == expected(calls, [price(book, call[0], NOW + call[1] * DAY, call[2]) for call in calls])
    assert whole.repriced == expected(calls, [price(other, call[0], at, call[2]) for call in calls])
    for by in (("model",), ("day", "job"), ("endpoint", "provider", "account"), ("outcome", "month", "tag:team")):
        assert total(repriced(path, other, at, by)) == whole


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(attempts, books())
def test_at_the_prices_that_were_booked_there_is_no_difference(
    tmp_path_factory: pytest.TempPathFactory, calls: list[Any], book: PriceBook
) -> None:
    path = tmp_path_factory.mktemp("ledger") / "q.db"
    ledger(path, [(model, 0, *rest) for model, _, *rest in calls], book)
    whole = total(repriced(path, book, NOW))
    assert whole.booked == whole.repriced


def test_slices_tags_and_periods_are_those_of_the_books(tmp_path: Path) -> None:
    path = tmp_path / "q.db"
    book = PriceBook([Price(provider="together", names=("*",), input=10, output=20)])
    ledger(
        path, [(model, n, Usage(100 + n, 0, n), UsageFrom.PROVIDER, Use.USED) for n, model in enumerate("mnomno")], book
    )
    with open_store(path) as store:
        store.retag(1, [("team", "new")], lines=True, now=NOW)
    for by in (("tag:team", "outcome"), ("day",), ("month", "tag:none"), ("model", "provider")):
        for within in (
            Within(),
            Within(NOW // DAY + 1, NOW // DAY + 2),
            Within(zone="Pacific/Kiritimati", since=NOW // DAY + 2),
        ):
            with closing(open_reader(path)) as reader:
                books = {row.key: (row.attempts, row.recorded) for row in reader.costs(by, None, within)}
            found = repriced(path, book, NOW, by, within)
            assert {row.key: (row.calls, row.booked.recorded) for row in found} == books
    assert [row.key for row in repriced(path, book, NOW, ["tag:team"], Within(tags=(("team", "new"),)))] == [("new",)]
    assert repriced(path, book, NOW, ["tag:team"], Within(tags=(("team", None),))) == []
    with closing(open_reader(path)) as reader:
        assert [len(list(reader.billed((), job))) for job in (None, 1, 2)] == [6, 6, 0]
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE attempts SET billing = 'unknown', cost = NULL WHERE id = 1")
    assert total(repriced(path, book, NOW)).calls == 5, "what may have been billed is not in it"


def test_nothing_comes_to_nothing() -> None:
    assert reprice([], PriceBook(), 0) == []
    assert total([]) == ((), 0, Sums(), Sums())


def test_a_slice_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    ledger(tmp_path / "q.db", [], PriceBook())
    with pytest.raises(ConfigurationError, match="moon"):
        repriced(tmp_path / "q.db", PriceBook(), 0, ["moon"])


# -------------------------------------------------------------------------------------------------- on the command line


def test_history_is_shown_beside_other_prices_and_stays_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path, usage = tmp_path / "batchrunner.db", Usage(1_000_000, 0, 0)
    old = PriceBook([Price(provider="together", names=("m",), input=300_000, output=1)])
    ledger(path, [("m", 0, usage, UsageFrom.PROVIDER, Use.USED), ("n", 1, usage, UsageFrom.PROVIDER, Use.USED)], old)
    (tmp_path / "batchrunner.toml").write_text('price_files = ["p.toml"]\n')
    (tmp_path / "p.toml").write_text(
        '[[price]]\nprovider = "together"\nnames = ["m"]\ninput = "0.20"\noutput = "1"\n'
        '[[price]]\nprovider = "together"\nnames = ["*"]\ninput = "0.50"\noutput = "1"\nvalid_from = 2026-12-01\n'
    )
    before = hashlib.sha256(path.read_bytes()).digest(), contents(path)

    facts = run("--by", "model", "--reprice", "2026-12-01")
    earlier = run("--reprice", "2026-11-30")["total"]
    table = CliRunner().invoke(main, ["costs", "--by", "model", "--reprice", "2026-12-01"])

    rows = {row["model"]: row for row in facts["rows"]}
    assert rows["m"]["booked"]["usd"]["recorded"] == "0.3"
    assert rows["m"]["repriced"]["usd"]["recorded"] == "0.2", "an exact name stands above a pattern"
    assert rows["m"]["difference_usd"]["recorded"] == "-0.1"
    assert (rows["n"]["booked"]["unpriced_calls"], rows["n"]["repriced"]["unpriced_calls"]) == (1, 0)
    assert facts["total"]["repriced"]["usd"]["recorded"] == "0.7"
    assert (earlier["repriced"]["usd"]["recorded"], earlier["repriced"]["unpriced_calls"]) == ("0.2", 1)
    assert "-$0.10" in table.stdout
    assert "nothing was changed" in table.stderr
    assert (hashlib.sha256(path.read_bytes()).digest(), contents(path)) == before
    assert run()["total"]["usd"]["recorded"] == "0.3", "the books say what they said"


def test_a_repriced_ledger_is_cut_to_a_period_and_never_written_as_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    book = PriceBook([Price(provider="together", names=("m",), input=300_000, output=1)])
    calls = [("m", day, Usage(1_000_000, 0, 0), UsageFrom.PROVIDER, Use.USED) for day in (0, 1)]
    for name in ("batchrunner.db", "other.db"):
        ledger(tmp_path / name, calls, book)
    first = str(date(1970, 1, 1) + timedelta(days=NOW // DAY))
    facts = run("--reprice", first, "--until", first)
    assert (facts["total"]["calls"], facts["until"]) == (1, first)
    both = run("--reprice", first, "--by", "db,day", "--db", "batchrunner.db", "--db", "other.db")
    assert [(row["db"], row["calls"]) for row in both["rows"]] == [
        (n, 1) for n in ("batchrunner.db", "other.db") for _ in "ab"
    ]
    assert CliRunner().invoke(main, ["prices", "set", "m", "--input", "0.10", "--output", "1"]).exit_code == 0
    own = run("--reprice", first, "--by", "db", "--db", "batchrunner.db", "--db", "other.db")["rows"]
    assert [(row["repriced"]["usd"]["recorded"], row["repriced"]["unpriced_calls"]) for row in own] == [
        ("0.2", 0),
        ("0", 2),
    ]
    for words in (("--csv",), ("--format", "focus"), ("--compare", "previous")):
        refused = CliRunner().invoke(main, ["costs", "--reprice", first, *words])
        assert (refused.exit_code, refused.stdout) == (2, "")


def run(*words: str) -> Any:
    result = CliRunner().invoke(main, ["costs", *words, "--json"])
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def contents(path: Path) -> list[Any]:
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        return [connection.execute(f"SELECT * FROM {table}").fetchall() for table in ("attempts", "totals", "rates")]


def test_differences_are_exact() -> None:
    from batchrunner.cli.reprice import exact_signed

    assert [exact_signed(pico) for pico in (0, 1, -1, -3 * PICO)] == ["0", "0.000000000001", "-0.000000000001", "-3"]

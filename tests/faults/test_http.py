"""What a service can answer, row by row of the fault catalogue (H1 to H24), as a whole job lives through it.

Limits, outages, breakers and pauses (H6, H8, H9, H11, H15 to H18) are policies and are tested where time jumps; odd
bodies and spellings one by one are tested beside their readers. Here they meet the corridor and both ledgers.
"""

import pytest

from tests.faults.play import Played, check, mixed, play
from tests.invariants import ask

pytestmark = pytest.mark.slow

BAD_BODIES = ("truncated_json", "empty200", "html200", "null200", "array200", "deep200", "no_choices", "no_finish")
SERVER_ERRORS = ("500", "502", "502html", "504", "520", "521", "522", "523", "524", "530")
SHARED = ("429", "503", "529")
ONCE = (
    *BAD_BODIES, *SERVER_ERRORS, *SHARED, "408", "409", "425", "error200", "400transient", "billed500",
    "no_usage", "null_usage", "absurd_usage", "odd_json", "same_id", "double", "absurd_limits", "cookies",
)  # fmt: skip
ALWAYS = ("400", "413", "415", "422", "501")


@pytest.fixture(scope="module")
def job(with_key: None, tmp_path_factory: pytest.TempPathFactory) -> Played:
    return play(tmp_path_factory.mktemp("http"), mixed(ONCE, ALWAYS), retry_after_style="none")


def test_all_invariants_hold_after_every_mood_of_the_service(job: Played) -> None:
    check(job)
    assert set(job.provider.ledger.faults) >= {*ONCE, *ALWAYS}
    assert job.report.exit_code == 3


def test_rows_between_the_faults_are_unharmed(job: Played) -> None:
    assert job.state("good") == {"succeeded"}


@pytest.mark.parametrize("kind", BAD_BODIES)
def test_h1_a_200_that_is_no_answer_is_never_a_result(job: Played, kind: str) -> None:
    assert {failure for failure, _ in job.failed_calls(kind)} == {"bad_reply"}
    assert job.state(kind) == {"succeeded"}
    assert len(job.bodies(kind)) == 2


def test_h2_an_error_that_says_200_is_classified_by_its_own_code(job: Played) -> None:
    job.recovered("error200", "server_error")


@pytest.mark.parametrize("kind", ["no_usage", "null_usage", "absurd_usage"])
def test_h3_missing_or_absurd_usage_is_a_result_of_estimated_cost_and_sums_stay_finite(job: Played, kind: str) -> None:
    job.unharmed(kind)
    assert {end.usage_from for ends in job.ends(kind) for end in ends} == {"estimated"}
    (tokens, cost) = ask(job.scenario.db, "SELECT sum(tin + tout), sum(cost) FROM totals")[0]
    assert 0 < tokens < 10**7
    assert 0 < cost < 10**12


def test_h5_odd_json_beside_the_answer_is_kept_byte_for_byte(job: Played) -> None:
    job.unharmed("odd_json")
    assert all(body.startswith(b'{"odd":["\\ud83d","\\u0000",9999') for body in job.bodies("odd_json"))


@pytest.mark.parametrize("kind", ["429", "503", "529"])
def test_h6_a_refusal_for_load_uses_up_no_try(job: Played, kind: str) -> None:
    assert job.state(kind) == {"succeeded"}
    tries = ask(job.scenario.db, f"SELECT sum(tries) FROM requests WHERE custom_id LIKE '{kind}-%'")
    assert tries == [(0,)]


@pytest.mark.parametrize("kind", ALWAYS)
def test_h12_h14_a_refusal_of_the_row_itself_costs_one_call(job: Played, kind: str) -> None:
    assert job.state(kind) == {"failed"}
    assert {tuple(end.outcome for end in ends) for ends in job.ends(kind)} == {("failure",)}


@pytest.mark.parametrize("kind", [*SERVER_ERRORS, "408", "409", "425", "400transient"])
def test_h13_h14_what_passes_is_tried_again(job: Played, kind: str) -> None:
    assert job.state(kind) == {"succeeded"}
    assert {ends[-1].outcome for ends in job.ends(kind)} == {"reply"}


def test_h19_done_and_billed_but_reported_failed_counts_as_possibly_billed(job: Played) -> None:
    job.recovered("billed500", "server_error")


def test_h20_an_answer_with_the_id_of_another_rows_answer_is_not_taken_and_told(job: Played) -> None:
    job.recovered("double", "bad_reply")
    assert sorted(len(ends) for ends in job.ends("same_id")) == [1, 2], "the first one keeps its answer"
    assert job.state("same_id") == {"succeeded"}
    told = [end.error or "" for kind in ("double", "same_id") for ends in job.ends(kind) for end in ends[:-1]]
    assert len(told) == job.report.doubles == 3
    assert all("bears the id of the one to request" in error for error in told)


def test_h21_absurd_limit_headers_stall_nobody(job: Played) -> None:
    job.unharmed("absurd_limits")
    assert job.report.ended - job.report.started < 30_000_000


def test_h24_no_cookie_is_kept_or_sent_back(job: Played) -> None:
    job.unharmed("cookies")

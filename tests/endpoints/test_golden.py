"""Bodies and replies as they were documented or seen on the wire; what is expected of each was written by hand."""

import hashlib
import json
from pathlib import Path

import pytest

from batchrunner.core.attempt import Billing, Failure, FailureKind, Pending, Reply
from batchrunner.core.continuation import Artifact
from batchrunner.core.http import HttpReply
from batchrunner.core.usage import Usage
from batchrunner.endpoints.registry import ENDPOINTS
from tests.endpoints.replies import RECEIVED, generic, openai, together

CASES = Path(__file__).parent / "cases"
FOLDERS = sorted(folder for folder in CASES.glob("*/*") if folder.is_dir())
BY_NAME = {endpoint.name: endpoint for endpoint in ENDPOINTS}
CLASSIFIERS = {"together": together, "openai": openai, "generic": generic}


def name_of(folder):
    return f"{folder.parent.name}/{folder.name}"


def usage_of(figures):
    """Tokens as a list, or whatever was counted by name."""
    if figures is None:
        return None
    return Usage(**figures) if isinstance(figures, dict) else Usage(*figures)


def read(folder):
    expected = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
    raw = next(path for path in (folder / "reply.json", folder / "reply.bin") if path.exists()).read_bytes()
    return expected, HttpReply(expected["status"], expected["headers"], raw, RECEIVED)


def test_every_endpoint_has_cases():
    assert {folder.parent.name for folder in FOLDERS} == set(BY_NAME)
    assert len(FOLDERS) >= 25


@pytest.mark.parametrize("folder", FOLDERS, ids=name_of)
def test_the_body_gives_the_facts(folder):
    expected, _ = read(folder)
    facts = BY_NAME[folder.parent.name].inspect((folder / "body.json").read_bytes())
    wanted = expected["facts"]
    assert (facts.model, facts.max_out) == (wanted["model"], wanted["max_out"])
    assert "units" not in wanted or facts.units == usage_of(wanted["units"])
    assert facts.est_in > 0 or facts.composed  # speech to text is not billed by tokens that anybody could foresee


@pytest.mark.parametrize("folder", [f for f in FOLDERS if "reply" in read(f)[0]], ids=name_of)
def test_the_answer_is_read(folder):
    expected, reply = read(folder)
    endpoint = BY_NAME[folder.parent.name]
    outcome = endpoint.read(reply, CLASSIFIERS[expected["profile"]])
    wanted = expected["reply"]
    assert isinstance(outcome, Reply), outcome
    assert outcome.status == 200
    assert outcome.body == (json.dumps(wanted["kept"], ensure_ascii=False).encode() if "kept" in wanted else reply.body)
    assert outcome.usage == usage_of(wanted["usage"])
    assert outcome.usage_raw is None or outcome.usage_raw in reply.body
    assert (outcome.finish, outcome.model, outcome.request_id) == (
        wanted["finish"],
        wanted["model"],
        wanted["request_id"],
    )
    assert endpoint.text(outcome.body) == expected["text"]


@pytest.mark.parametrize("folder", [f for f in FOLDERS if "pending" in read(f)[0]], ids=name_of)
def test_what_goes_on_is_known(folder):
    expected, reply = read(folder)
    endpoint = BY_NAME[folder.parent.name]
    outcome = endpoint.read(reply, CLASSIFIERS[expected["profile"]])
    wanted = expected["pending"]
    assert isinstance(outcome, Pending), outcome
    continuation = outcome.continuation
    assert (continuation.step, continuation.target) == (wanted["step"], wanted["target"])
    assert continuation.answer == reply.body
    assert continuation.request_id == wanted["request_id"]
    assert outcome.not_before == RECEIVED + wanted["wait_us"]
    if "parts" not in wanted:
        return
    parts = endpoint.parts(continuation)
    assert [[part.place, part.url] for part in parts] == wanted["parts"]
    for part in parts:
        if part.data is not None:
            assert hashlib.sha256(part.data()).hexdigest() == wanted["sha256"]
    files = tuple(Artifact(part.place, "ab" * 32, "image/png", 5, "x.png") for part in parts)
    whole = endpoint.whole(continuation, files)
    assert whole.usage == usage_of(wanted["usage"])
    assert (whole.status, whole.model, whole.request_id) == (200, wanted["model"], wanted["request_id"])
    assert json.loads(whole.body) == wanted.get("body", json.loads(reply.body) if whole.body == reply.body else None)


@pytest.mark.parametrize("folder", [f for f in FOLDERS if "failure" in read(f)[0]], ids=name_of)
def test_the_refusal_is_understood(folder):
    expected, reply = read(folder)
    outcome = BY_NAME[folder.parent.name].read(reply, CLASSIFIERS[expected["profile"]])
    wanted = expected["failure"]
    assert isinstance(outcome, Failure), outcome
    assert outcome.kind == FailureKind(wanted["kind"]), outcome.message
    assert outcome.billing == Billing(wanted["billing"])
    assert outcome.status == expected["status"]
    assert wanted["says"] in outcome.message
    assert len(outcome.message) <= 500
    assert outcome.usage == usage_of(wanted["usage"])
    assert outcome.retry_after == wanted["retry_after"]
    assert outcome.request_id == wanted["request_id"]
    if "never" in wanted:
        assert wanted["never"] not in f"{outcome!r}"

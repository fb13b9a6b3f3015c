"""``check``: each wrong body is named by its field, its line and what is expected; what is merely unknown passes."""

import json
from pathlib import Path

import pytest

from batchrunner.endpoints.registry import BY_PATH
from tests.cli.conftest import chat, run_cli, write

SAID = [{"role": "user", "content": "Hello"}]
CHAT, COMPLETIONS, EMBEDDINGS, RERANK = "/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/rerank"
IMAGES, SPEECH, VIDEOS = "/v1/images/generations", "/v1/audio/speech", "/v2/videos"
TRANSCRIPTIONS, TRANSLATIONS = "/v1/audio/transcriptions", "/v1/audio/translations"
RESPONSES, MODERATIONS, SCORE = "/v1/responses", "/v1/moderations", "/score"
GOOD = {
    CHAT: {"model": "m", "messages": SAID},
    COMPLETIONS: {"model": "m", "prompt": "p"},
    EMBEDDINGS: {"model": "m", "input": "i"},
    RERANK: {"model": "m", "query": "q", "documents": ["d"]},
    IMAGES: {"model": "m", "prompt": "p"},
    TRANSCRIPTIONS: {"model": "m", "file": "https://host.invalid/talk.wav"},
    TRANSLATIONS: {"model": "m", "file": "https://host.invalid/talk.wav"},
    SPEECH: {"model": "m", "input": "i", "voice": "v"},
    VIDEOS: {"model": "m", "prompt": "p"},
    RESPONSES: {"model": "m", "input": "i"},
    MODERATIONS: {"model": "m", "input": "i"},
    SCORE: {"model": "m", "text_1": "a", "text_2": "b"},
}
REFUSED = [
    (CHAT, {"model": None}, "model", "a string"),
    (CHAT, {"model": ""}, "model", 'a string that is not empty, not ""'),
    (CHAT, {"messages": []}, "messages", "a list that is not empty, not []"),
    (CHAT, {"messages": "Hello"}, "messages", "a list"),
    (CHAT, {"messages": [{"content": "Hello"}]}, "messages", "[0].role` is missing"),
    (CHAT, {"max_tokens": "many"}, "max_tokens", "a whole number"),
    (CHAT, {"max_tokens": -1}, "max_tokens", "a whole number of at least 0, not -1"),
    (CHAT, {"n": 0}, "n", "a whole number of at least 1, not 0"),
    (CHAT, {"stream": "yes"}, "stream", "true or false or null, got a string"),
    (COMPLETIONS, {"prompt": 7}, "prompt", "a string or a list"),
    (COMPLETIONS, {"prompt": ["a", 1]}, "prompt", "use one kind"),
    (EMBEDDINGS, {"input": []}, "input", "is empty"),
    (RERANK, {"documents": []}, "documents", "a list that is not empty"),
    (RERANK, {"documents": [7]}, "documents", "a string or an object, got a whole number"),
    (RERANK, {"query": 1}, "query", "a string"),
    (IMAGES, {"prompt": None}, "prompt", "a string, got null"),
    (IMAGES, {"n": 11}, "n", "a whole number of at most 10, not 11"),
    (IMAGES, {"size": "big"}, "size", 'a size such as "1024x1024", or "auto", not "big"'),
    (IMAGES, {"response_format": "file"}, "response_format", '"b64_json" or "base64" or "url", not "file"'),
    (
        TRANSCRIPTIONS,
        {"file": "talk.wav"},
        "file",
        '"file:PATH" beneath the folder of --attachments, or an https:// URL',
    ),
    (TRANSLATIONS, {"file": ["talk.wav"]}, "file", "a string, got a list"),
    (SPEECH, {"voice": 7}, "voice", "a string or an object, got a whole number"),
    (SPEECH, {"response_format": "mp4"}, "response_format", '"wav", not "mp4"'),
    (SPEECH, {"speed": 9}, "speed", "a number of at most 4, not 9"),
    (VIDEOS, {"steps": 5}, "steps", "a whole number of at least 10, not 5"),
    (VIDEOS, {"seconds": "five"}, "seconds", 'a number of seconds as a string, such as "5", not "five"'),
    (VIDEOS, {"output_format": "GIF"}, "output_format", '"MP4" or "WEBM", not "GIF"'),
    (RESPONSES, {"input": {"role": "user"}}, "input", "a string or a list"),
    (RESPONSES, {"max_output_tokens": "9"}, "max_output_tokens", "a whole number or null, got a string"),
    (MODERATIONS, {"input": []}, "input", "a string or a list that is not empty"),
    (SCORE, {"text_2": 7}, "text_2", "a string or a list"),
    (SCORE, {"text_1": ["a", "b"], "text_2": ["a", "b", "c"]}, "text_2", "one text, or 2 as in `text_1`, not 3"),
]
WARNED = [
    (CHAT, {"temperature": 3}, "temperature", "a number from 0 to 2, not 3"),
    (CHAT, {"temperature": "hot"}, "temperature", 'a number from 0 to 2, not "hot"'),
    (CHAT, {"top_p": 1.5}, "top_p", "a number from 0 to 1"),
    (CHAT, {"top_k": 0}, "top_k", "-1 or a whole number of at least 1"),
    (CHAT, {"presence_penalty": -3}, "presence_penalty", "a number from -2 to 2"),
    (CHAT, {"repetition_penalty": 0}, "repetition_penalty", "a number greater than 0"),
    (CHAT, {"max_tokens": 0}, "max_tokens", "a whole number of at least 1, not 0"),
    (CHAT, {"seed": 1.5}, "seed", "a whole number"),
    (CHAT, {"stop": [1]}, "stop[0]", "a string, not 1"),
    (CHAT, {"logit_bias": {"50256": 101}}, "logit_bias", "a number from -100 to 100"),
    (CHAT, {"logprobs": 21}, "logprobs", "a whole number from 0 to 20 or true or false"),
    (
        CHAT,
        {"tools": [{"type": "function", "function": {}}]},
        "tools[0].function.name",
        "is missing: expected a string of 1 to 64 characters",
    ),
    (CHAT, {"tool_choice": "maybe"}, "tool_choice", '"none" or "auto" or "required" or an object'),
    (CHAT, {"response_format": {"type": "xml"}}, "response_format.type", '"json_object"'),
    (CHAT, {"response_format": {"type": "json_schema", "json_schema": {"name": "n" * 65}}}, "response_format", "64"),
    (CHAT, {"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role", '"system" or "user"'),
    (
        CHAT,
        {"messages": [{"role": "user", "content": [{"type": "image_url"}, {}]}]},
        "messages[0].content[1].type",
        "t",
    ),
    (CHAT, {"messages": [{"role": "user"}]}, "messages[0].content", "is missing: expected a string or a list of parts"),
    (CHAT, {"messages": [{"role": "tool", "content": "4"}]}, "messages[0].tool_call_id", "the id of the call"),
    (CHAT, {"context_length_exceeded_behavior": "cut"}, "context_length_exceeded_behavior", '"error" or "truncate"'),
    (COMPLETIONS, {"min_p": -0.1}, "min_p", "a number from 0 to 1"),
    (EMBEDDINGS, {"encoding_format": "hex"}, "encoding_format", '"float" or "base64"'),
    (EMBEDDINGS, {"dimensions": 0}, "dimensions", "a whole number of at least 1"),
    (RERANK, {"top_n": 0}, "top_n", "a whole number of at least 1"),
    (EMBEDDINGS, {"dimensions": "big"}, "dimensions", 'not "big"'),
    (IMAGES, {"width": 100}, "width", "a multiple of 8 from 256 to 1920, not 100"),
    (IMAGES, {"image_url": "file:fox.png"}, "image_url", 'an https:// or a data: URL, not "file:fox.png"'),
    (IMAGES, {"image_loras": [{"scale": 1}]}, "image_loras[0].path", "is missing: expected a string that is not empty"),
    (TRANSCRIPTIONS, {"response_format": "xml"}, "response_format", '"verbose_json"'),
    (TRANSCRIPTIONS, {"temperature": 3}, "temperature", "a number from 0 to 1, not 3"),
    (
        TRANSLATIONS,
        {"timestamp_granularities": ["word", "line"]},
        "timestamp_granularities[1]",
        '"segment" or "word", not "line"',
    ),
    (SPEECH, {"response_format": "mulaw"}, "response_format", '"pcm"'),
    (VIDEOS, {"output_quality": 1000}, "output_quality", "a whole number from 0 to 100, not 1000"),
    (RESPONSES, {"max_output_tokens": 1}, "max_output_tokens", "a whole number of at least 16, not 1"),
    (RESPONSES, {"reasoning": {"effort": "huge"}}, "reasoning.effort", 'not "huge"'),
    (MODERATIONS, {"input": ["a", 7]}, "input[1]", "a string, not 7"),
    (SCORE, {"text_2": ["b", 3]}, "text_2[1]", "a string, not 3"),
    (RERANK, {"documents": ["d"] * 1025}, "documents", "a list that is not empty of at most 1,024, not one of 1,025"),
]


def file_with(here: Path, url: str, changes: dict[str, object]) -> Path:
    """A file whose third line has the wrong body."""
    good = [{"custom_id": f"g{n}", "method": "POST", "url": CHAT, "body": GOOD[CHAT]} for n in range(2)]
    bad = {"custom_id": "bad", "method": "POST", "url": url, "body": {**GOOD[url], **changes}}
    path = here / "job.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in [*good, bad]))
    return path


def column_of(path: Path, field: str) -> int:
    top = field.partition(".")[0].partition("[")[0]
    line = path.read_text().splitlines()[2]
    return line.index(f'"{top}": ', line.index('"body"')) + len(f'"{top}": ') + 1


def test_there_are_thirty_of_them_and_some_of_every_endpoint():
    assert len(REFUSED) + len(WARNED) >= 30
    assert {url for url, *_ in (*REFUSED, *WARNED)} == {
        path for path in BY_PATH if path not in ("/rerank", "/v2/rerank")
    }


@pytest.mark.parametrize("url", BY_PATH)
def test_of_every_endpoint_what_is_needed_is_named_where_it_is_missing_and_unknown_fields_pass(here, url):
    good = GOOD[RERANK if "rerank" in url else url]
    needed = [name for name in good if (url, name) != (VIDEOS, "prompt")]  # some models want a first frame alone
    lines = [{"url": url, "body": {key: value for key, value in good.items() if key != name}} for name in needed]
    path = here / "job.jsonl"
    path.write_text("".join(json.dumps({"custom_id": f"{n}", **line}) + "\n" for n, line in enumerate(lines)))
    facts = json.loads(run_cli("check", str(path), "--json").stdout)
    assert [(each["line"], each["reason"]) for each in facts["problems"]] == [
        (n, f"`{name}` is missing") for n, name in enumerate(needed, 1)
    ]
    path.write_text(json.dumps({"custom_id": "a", "url": url, "body": {**good, "never_heard_of": 1}}) + "\n")
    facts = json.loads(run_cli("check", str(path), "--json").stdout)
    assert (facts["valid"], facts["warned"]) == (True, 0)
    assert [(each["field"], each["first_line"]) for each in facts["unknown_fields"]] == [("never_heard_of", 1)]


@pytest.mark.parametrize(("url", "changes", "field", "expected"), REFUSED)
def test_what_can_not_be_queued_is_refused_with_field_line_and_what_is_expected(here, url, changes, field, expected):
    path = file_with(here, url, changes)
    result = run_cli("check", str(path), "--json", "--provider", "openai")
    (problem,) = json.loads(result.stdout)["problems"]
    assert result.exit_code == 5
    assert (problem["line"], problem["column"]) == (3, column_of(path, field))
    assert problem["reason"].startswith(f"`{field}")
    assert expected in problem["reason"]


@pytest.mark.parametrize(("url", "changes", "field", "expected"), WARNED)
def test_what_the_provider_will_refuse_is_a_warning(here, url, changes, field, expected):
    path = file_with(here, url, changes)
    (here / "batchrunner.toml").write_text('[providers.local]\nbase_url = "http://127.0.0.1:1"\nkey_env = ""\n')
    result = run_cli("check", str(path), "--json", "--provider", "local")
    facts = json.loads(result.stdout)
    assert (result.exit_code, facts["valid"], facts["warned"]) == (0, True, 1)
    (warning,) = facts["warnings"]
    assert (warning["line"], warning["column"]) == (3, column_of(path, field))
    assert warning["reason"].startswith(f"`{field}")
    assert "expected" in warning["reason"]
    assert expected in warning["reason"]


def test_unknown_fields_pass_with_a_note(here):
    path = file_with(here, CHAT, {"temprature": 1, "top_k": None})
    result = run_cli("check", str(path))
    assert result.exit_code == 0
    note = (
        "`temprature` is no known field of /v1/chat/completions (did you mean `temperature`?): sent as it is (line 3)"
    )
    assert f"note: {note}" in result.stderr
    assert "warning" not in result.stderr


def test_a_bad_line_keeps_no_other_mistake_of_the_file_from_being_told(here):
    path = here / "job.jsonl"
    bodies = [
        {**GOOD[CHAT], "temperature": 3},
        {**GOOD[CHAT], "max_tokens": "many", "top_p": 7, "temprature": 1},
        {**GOOD[EMBEDDINGS], "encoding_format": "hex"},
    ]
    path.write_text(
        "not json\n" + "".join(json.dumps({"custom_id": f"{n}", "body": b}) + "\n" for n, b in enumerate(bodies))
    )
    result = run_cli("check", str(path))
    assert result.exit_code == 5
    told = [line.rpartition("job.jsonl:")[2] for line in result.stderr.splitlines()]
    assert [line.split(":")[0] for line in told if "`" in line or "JSON" in line] == ["2", "3", "4", "note", "1", "3"]
    assert sum("max_tokens" in line for line in told) == 1
    facts = json.loads(run_cli("check", str(path), "--json").stdout)
    assert [each["line"] for each in facts["problems"]] == [1, 3]
    assert [each["line"] for each in facts["warnings"]] == [2, 3, 4]
    assert [each["field"] for each in facts["unknown_fields"]] == ["temprature"]


def test_an_url_that_is_nearly_right_is_told_the_right_one(here):
    path = here / "job.jsonl"
    path.write_text(json.dumps({"custom_id": "a", "url": "/v1/chat/completion", "body": GOOD[CHAT]}) + "\n")
    assert "is no endpoint: did you mean /v1/chat/completions?" in run_cli("check", str(path)).stderr


def test_a_warning_is_shown_with_its_place_and_keeps_no_file_from_being_loaded(here):
    path = file_with(here, CHAT, {"temperature": 3})
    result = run_cli("check", str(path))
    assert f"job.jsonl:3:{column_of(path, 'temperature')}: warning: `temperature`: expected a number" in result.stderr
    assert run_cli("load", str(path)).exit_code == 0


@pytest.mark.parametrize(
    ("provider", "more", "warned"),
    [
        ("openai", {}, 1),
        ("openai", {"stream_options": {"include_usage": False}}, 1),
        ("openai", {"stream_options": {"include_usage": True}}, 0),
        ("together", {}, 0),
    ],
)
def test_a_stream_that_will_not_tell_its_usage_is_a_warning(here, provider, more, warned):
    path = file_with(here, CHAT, {"stream": True, **more})
    facts = json.loads(run_cli("check", str(path), "--json", "--provider", provider).stdout)
    assert (facts["valid"], facts["warned"]) == (True, warned)
    assert all("include_usage" in warning["reason"] for warning in facts["warnings"])


@pytest.mark.parametrize(("provider", "warned"), [("together", 1), ("openai", 0)])
def test_a_providers_own_rules_count_for_it_alone(here, provider, warned):
    path = file_with(here, CHAT, {"stop": "END"})
    facts = json.loads(run_cli("check", str(path), "--json", "--provider", provider).stdout)
    assert facts["warned"] == warned


BATCH = {"custom_id": "a", "method": "POST", "url": CHAT, "body": GOOD[CHAT]}


def problems_for(here: Path, purpose: str, *lines: object) -> list[str]:
    path = here / "other.jsonl"
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    result = run_cli("check", str(path), "--json", "--for", purpose)
    facts = json.loads(result.stdout)
    assert result.exit_code == (0 if facts["valid"] else 5)
    return [f"{problem['line']} {problem['reason']}" for problem in facts["problems"]]


@pytest.mark.parametrize("purpose", ["together-batch", "openai-batch"])
def test_a_good_batch_file_is_good(here, purpose):
    assert problems_for(here, purpose, BATCH, {**BATCH, "custom_id": "b"}) == []


@pytest.mark.parametrize(
    ("purpose", "change", "said"),
    [
        ("together-batch", {"custom_id": "x" * 65}, "at most 64 characters, not 65"),
        ("together-batch", {"custom_id": "a"}, 'custom_id "a" was used on line 1'),
        ("together-batch", {"url": EMBEDDINGS, "body": GOOD[EMBEDDINGS]}, "has no /v1/embeddings"),
        ("together-batch", {"body": {**GOOD[CHAT], "model": "other"}}, "expected 'm' as on the first line"),
        ("openai-batch", {"url": EMBEDDINGS, "body": GOOD[EMBEDDINGS]}, 'expected "/v1/chat/completions" as on'),
        ("openai-batch", {"url": RERANK, "body": GOOD[RERANK]}, "has no /v1/rerank"),
        ("openai-batch", {"body": {**GOOD[CHAT], "model": "other"}}, "a batch is of one model"),
    ],
)
def test_batch_files_are_held_to_the_providers_rules(here, purpose, change, said):
    found = problems_for(here, purpose, BATCH, {**BATCH, "custom_id": "b", **change})
    assert any(problem.startswith("2 ") and said in problem for problem in found), found


def test_openais_batch_wants_method_and_url_and_an_id_of_its_own(here):
    found = problems_for(here, "openai-batch", {"body": GOOD[CHAT]}, GOOD[CHAT])
    assert [problem.split(":")[0] for problem in found] == [
        '1 "custom_id" is missing', '1 "method" is missing', '1 "url" is missing',
        '2 openai-batch wants "custom_id" and "body"; this is a bare body',
    ]  # fmt: skip


PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
TUNE = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}


@pytest.mark.parametrize(
    "line",
    [
        TUNE,
        {"text": "once"},
        {"prompt": "a", "completion": "b"},
        {
            "input": {"messages": [{"role": "user", "content": "Hi"}]},
            "preferred_output": [{"role": "assistant", "content": "Hello"}],
            "non_preferred_output": [{"role": "assistant", "content": "No"}],
        },
        {"messages": [{"role": "user", "content": [PICTURE]}, {"role": "assistant", "content": "a dot", "weight": 1}]},
    ],
)
def test_examples_to_fine_tune_with_are_good(here, line):
    assert problems_for(here, "fine-tune", line) == []


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({"question": "?"}, "expected one of these sets of fields"),
        ({**TUNE, "more": 1}, "`more`: expected no field but messages"),
        ({"text": 1}, "`text`: expected a string"),
        ({"messages": []}, "a list of messages that is not empty"),
        ({"messages": TUNE["messages"][:1]}, "at least one message of an assistant"),
        ({"messages": [*TUNE["messages"], TUNE["messages"][1]]}, "`messages[2].role`: expected another role"),
        ({"messages": [{"role": "robot", "content": ""}, *TUNE["messages"]]}, "`messages[0].role`"),
        ({"messages": [{**TUNE["messages"][0], "weight": 2}, TUNE["messages"][1]]}, "`messages[0].weight`"),
        ("{", "invalid JSON"),
        ("[]", "a line must be a JSON object"),
    ],
)
def test_examples_that_together_would_refuse_are_named(here, line, said):
    found = problems_for(here, "fine-tune", line)
    assert any(said in problem for problem in found), found


def test_all_examples_of_a_file_have_the_same_fields(here):
    (first, second) = problems_for(here, "fine-tune", TUNE, {"text": "once"})
    assert first.startswith("2 `messages` is missing")
    assert second.startswith("2 `text`: expected no field but messages")


def test_the_command_that_follows_says_again_where_things_are(here):
    (here / "own.toml").write_text('[providers.lab]\nbase_url = "http://127.0.0.1:9"\nkey_env = ""\n', encoding="utf-8")
    write(here / "a.jsonl", [chat("a", "x")])
    ended = run_cli("check", "a.jsonl", "--config", "own.toml", "--provider", "lab", "--db", "q.db")
    assert ended.stderr.splitlines()[-1] == (
        f"next: batchrunner run a.jsonl --provider lab -o out.jsonl --config {here / 'own.toml'} --db {here / 'q.db'}"
    )
    plain = run_cli("check", "a.jsonl")
    assert plain.stderr.splitlines()[-1] == "next: batchrunner run a.jsonl -o out.jsonl"

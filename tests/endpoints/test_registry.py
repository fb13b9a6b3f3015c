"""A job file can name the fixed paths and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrunner.endpoints.base import BadBody
from batchrunner.endpoints.registry import (
    CHAT,
    COMPLETIONS,
    EMBEDDINGS,
    ENDPOINTS,
    IMAGES,
    MODERATIONS,
    RERANK,
    RESPONSES,
    SCORE,
    SPEECH,
    TRANSCRIPTIONS,
    TRANSLATIONS,
    VIDEOS,
    by_path,
    infer,
    resolve,
)

PATHS = {
    "/v1/chat/completions": CHAT,
    "/v1/completions": COMPLETIONS,
    "/v1/embeddings": EMBEDDINGS,
    "/v1/rerank": RERANK,
    "/v1/responses": RESPONSES,
    "/v1/moderations": MODERATIONS,
    "/score": SCORE,
    "/v1/audio/transcriptions": TRANSCRIPTIONS,
    "/v1/audio/translations": TRANSLATIONS,
    "/v1/images/generations": IMAGES,
    "/v1/audio/speech": SPEECH,
    "/v2/videos": VIDEOS,
    "/rerank": by_path("/rerank"),
    "/v2/rerank": by_path("/v2/rerank"),
}
HOSTILE = [
    "https://evil.example/v1/chat/completions",
    "http://evil.example/v1/chat/completions",
    "HTTPS://evil.example/v1/chat/completions",
    "https:/evil.example/v1/chat/completions",
    "https:evil.example/v1/chat/completions",
    "//evil.example/v1/chat/completions",
    "///evil.example/v1/chat/completions",
    "/\\evil.example/v1/chat/completions",
    "\\\\evil.example/v1/chat/completions",
    "\\/evil.example/v1/chat/completions",
    "/v1\\chat\\completions",
    "@evil.example/v1/chat/completions",
    "/@evil.example/v1/chat/completions",
    ":80@evil.example/v1/chat/completions",
    ".evil.example/v1/chat/completions",
    "https://api.together.xyz@evil.example/v1/chat/completions",
    "https://api.together.xyz/v1/chat/completions",
    "/v1/../v1/chat/completions",
    "/v1/chat/completions/..",
    "/v1/chat/completions/../../files",
    "/v1/./chat/completions",
    "/v1/..%2f..%2fadmin",
    "/v1/chat%2fcompletions",
    "/v1/chat%2Fcompletions",
    "/%76%31/chat/completions",
    "/v1/chat/completions%00",
    "/v1/chat/completions\x00",
    "/v1/chat/completions\r\nHost: evil.example",
    "/v1/chat/completions HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    "/v1/chat/completions\n",
    "\t/v1/chat/completions",
    " /v1/chat/completions",
    "/v1/chat/completions ",
    "/v1/chat/completions?api_key=1",
    "/v1/chat/completions#x",
    "/v1/chat/completions;x",
    "/v1/chat/completions/",
    "/v1//chat/completions",
    "/V1/Chat/Completions",
    "v1/chat/completions",
    "/chat/completions",
    "/v1/v1/chat/completions",
    "/v1/chat\u2215completions",
    "/v1/ch\u0430t/completions",
    "\uff0fv1/chat/completions",
    "/v1/files",
    "/v1/batches",
    "/v1/fine-tunes",
    "file:///etc/passwd",
    "javascript:alert(1)",
    "data:,x",
    "*",
    "",
]


@pytest.mark.parametrize("url", HOSTILE, ids=ascii)
def test_a_hostile_url_is_refused(url):
    with pytest.raises(BadBody) as caught:
        resolve(url)
    assert caught.value.field == "url"
    assert caught.value.reason.isprintable()
    assert by_path(url) is None


@given(
    st.text() | st.sampled_from(sorted(PATHS)).flatmap(lambda path: st.text(max_size=3).map(lambda more: path + more))
)
def test_nothing_but_the_fixed_paths_is_taken(url):
    if url in PATHS:
        assert resolve(url) is PATHS[url]
        return
    with pytest.raises(BadBody) as caught:
        resolve(url)
    assert len(caught.value.reason) < 1000


@pytest.mark.parametrize("path", PATHS)
def test_a_path_finds_its_endpoint(path):
    assert resolve(path) is by_path(path) is PATHS[path]
    assert PATHS[path].path == path


def test_all_endpoints_are_listed_under_their_names():
    assert [endpoint.name for endpoint in ENDPOINTS] == [
        *("chat", "completions", "embeddings", "rerank", "responses", "moderations"),
        *("transcriptions", "translations", "images", "speech", "videos"),
        *("score", "rerank", "rerank"),
    ]


def test_a_refused_url_names_what_is_there():
    with pytest.raises(BadBody, match="/v1/chat/completions, /v1/completions, /v1/embeddings, /v1/rerank"):
        resolve("/v1/images/edits")


@pytest.mark.parametrize(
    ("keys", "endpoint"),
    [
        (["model", "messages"], CHAT),
        (["messages", "prompt", "input", "query", "documents"], CHAT),
        (["prompt"], COMPLETIONS),
        (["prompt", "input"], COMPLETIONS),
        (["query", "documents"], RERANK),
        (["query", "documents", "input"], RERANK),
        (["input"], EMBEDDINGS),
        (["input", "query"], EMBEDDINGS),
        (["query"], None),
        (["documents"], None),
        (["model"], None),
        ([], None),
    ],
)
def test_the_keys_of_a_body_tell_its_endpoint(keys, endpoint):
    assert infer(keys) is endpoint
    assert infer(dict.fromkeys(keys)) is endpoint
    assert infer(frozenset(keys)) is endpoint

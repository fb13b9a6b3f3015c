"""Tokens counted by a local tokenizer.json, and nothing that goes out for one."""

import json
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers

from batchrunner.api import check, session
from batchrunner.config import load_settings
from batchrunner.core.errors import ConfigurationError
from batchrunner.core.job import JobOptions
from batchrunner.endpoints.chat import IMAGE_TOKENS, MESSAGE_TOKENS
from batchrunner.endpoints.counting import counted
from batchrunner.formats.tokenizer import LocalTokenizer

WORDS = ("[CLS]", "[SEP]", "[UNK]", "[PAD]", "one", "two", "three")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A tokenizer of words, with a model's habits of cutting, filling and framing texts."""
    made = Tokenizer(models.WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", None, [("[CLS]", 0), ("[SEP]", 1)])
    made.enable_truncation(3)
    made.enable_padding(length=128, pad_id=3, pad_token="[PAD]")
    made.save(str(tmp_path / "tokenizer.json"))
    return tmp_path / "tokenizer.json"


def job(folder: Path, *bodies: dict[str, Any]) -> str:
    path = folder / "job.jsonl"
    path.write_text("".join(json.dumps({"custom_id": str(n), "body": body}) + "\n" for n, body in enumerate(bodies)))
    return str(path)


def chat(content: Any, **more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": content}], "max_tokens": 5, **more}


def test_texts_are_neither_cut_nor_filled_to_be_counted(file: Path) -> None:
    counter = LocalTokenizer(file)
    assert counter.counts(["one two three one two", "", "two"], special=False) == [5, 0, 1]
    assert counter.counts(["one two three one two", "two"], special=True) == [7, 3]
    assert counter.counts(["one \ud800 two"], special=False) == [3]
    assert counter.counts([], special=False) == []


def count(endpoint: str, body: dict[str, Any], file: Path) -> int:
    return counted(endpoint, json.dumps(body).encode(), 999, LocalTokenizer(file))


def test_each_endpoint_counts_what_becomes_its_prompt(file: Path) -> None:
    parts = [{"type": "text", "text": "one two"}, {"type": "image_url", "image_url": {"url": "https://x/y.png"}}]
    assert count("chat", chat("one two three one"), file) == 4 + MESSAGE_TOKENS
    assert count("chat", chat("\u006fne\n\ntwo"), file) == 2 + MESSAGE_TOKENS  # the text, not its spelling in JSON
    assert count("chat", chat(parts), file) == 2 + IMAGE_TOKENS + MESSAGE_TOKENS
    assert count("chat", chat(None), file) == MESSAGE_TOKENS
    assert count("completions", {"prompt": ["one", "two two"], "suffix": "three"}, file) == 3 + 2 * 2 + 1
    assert count("embeddings", {"input": "one two"}, file) == 4
    assert count("rerank", {"query": "one two", "documents": ["one", "two", "three"]}, file) == 3 * 3 + 3 * 2


@pytest.mark.parametrize(
    ("endpoint", "body"),
    [
        ("chat", chat([{"type": "input_audio", "input_audio": {}}])),
        ("embeddings", {"input": [1, 2, 3]}),
        ("embeddings", {"input": [[1], [2]]}),
        ("rerank", {"query": "one", "documents": [{"text": "two"}]}),
        ("videos", {"prompt": "one"}),
    ],
)
def test_what_no_tokenizer_can_count_stays_a_guess(endpoint: str, body: dict[str, Any], file: Path) -> None:
    assert count(endpoint, body, file) == 999


def test_load_estimate_and_check_use_it_and_the_job_stays_the_same(file: Path, tmp_path: Path) -> None:
    path = job(tmp_path, chat("one two three " * 20), chat("two"))
    exact = 60 + 1 + 2 * MESSAGE_TOKENS
    counter = LocalTokenizer(file)
    assert check(path, JobOptions(provider="together"), tokenizer=counter).input_tokens == exact
    assert check(path, JobOptions(provider="together")).input_tokens != exact
    flags = {"db": str(tmp_path / "q.db"), "tokenizer": str(file)}
    with session(load_settings(flags, {}, tmp_path, None)) as held:
        loaded = held.load(path)
        assert held.estimate([loaded.job]).input_tokens == exact
    with session(load_settings({"db": flags["db"]}, {}, tmp_path, None)) as held:
        again = held.load(path)
        assert (again.added, again.job.key) == (0, loaded.job.key)


@pytest.mark.parametrize("content", [b"", b"not json", b"{}", b'{"model":{"type":"BPE"}}'])
def test_a_file_that_is_no_tokenizer_is_refused_by_name(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "t.json").write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"t\.json is no tokenizer"):
        LocalTokenizer(tmp_path / "t.json")


@pytest.mark.parametrize("name", ["bert-base-uncased", "openai/gpt-oss-20b", "https://huggingface.co/x/y", "."])
def test_a_name_of_the_hub_is_a_file_that_is_not_there(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with pytest.raises(ConfigurationError, match="there is no file"):
        LocalTokenizer(Path(name))


def test_a_project_file_may_not_name_it(tmp_path: Path, file: Path) -> None:
    (tmp_path / "batchrunner.toml").write_text(f'tokenizer = "{file}"\n')
    with pytest.raises(ConfigurationError, match="tokenizer"):
        load_settings({}, {}, tmp_path, None)


@pytest.mark.slow
def test_no_socket_is_opened_whatever_the_hubs_variables_say(file: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as hub:
        hub.settimeout(0.2)
        code = """
import sys
def audit(event, args):
    if event.startswith("socket."):
        raise SystemExit(f"a socket: {event}")
sys.addaudithook(audit)
from pathlib import Path
from batchrunner.formats.tokenizer import LocalTokenizer
print(LocalTokenizer(Path(sys.argv[1])).counts(["one two"], special=False))
"""
        address = f"http://127.0.0.1:{hub.getsockname()[1]}"
        env = {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "hf"), "HTTPS_PROXY": address, "HTTP_PROXY": address}
        ended = subprocess.run(
            [sys.executable, "-c", code, str(file)], env={"PYTHONPATH": ":".join(sys.path), **env},
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert (ended.returncode, ended.stdout) == (0, "[2]\n"), ended.stderr
        with pytest.raises(TimeoutError):
            hub.accept()
    assert not (tmp_path / "hf").exists()


def test_without_the_extra_the_error_names_it(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ConfigurationError) as refused:
        LocalTokenizer(file)
    assert "tokenizers" in refused.value.message
    assert "batchrunner[tokens]" in (refused.value.hint or "")


@given(st.text("one two三\U0001f600x \n", max_size=300), st.integers(1, 12))
def test_parts_are_the_text_and_none_has_more_tokens_than_it_may(text: str, most: int) -> None:
    counter = _WORDS.counter()
    parts = counter.cut(text, most)
    assert "".join(parts) == text
    for part, size in zip(parts, counter.counts(parts, special=True), strict=True):
        assert size <= max(most, 3) or len(part) == 1, part


def test_a_part_ends_at_a_space_where_there_is_one(file: Path) -> None:
    assert LocalTokenizer(file).cut("one two three " * 3, 6) == ["one two three ", "one two three ", "one two three "]


class _Words:
    """A tokenizer of bytes and some pairs of them, which takes words apart by what stands around them."""

    def counter(self) -> LocalTokenizer:
        if self._counter is None:
            with tempfile.TemporaryDirectory() as folder:
                made = Tokenizer(models.BPE())
                made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
                letters = pre_tokenizers.ByteLevel.alphabet()
                made.train_from_iterator(
                    ["one two one two xx"] * 9,
                    trainers.BpeTrainer(vocab_size=270, initial_alphabet=letters, special_tokens=["[C]", "[S]"]),
                )
                made.post_processor = processors.TemplateProcessing("[C] $A [S]", None, [("[C]", 0), ("[S]", 1)])
                made.save(f"{folder}/tokenizer.json")
                self._counter = LocalTokenizer(Path(folder) / "tokenizer.json")
        return self._counter

    _counter: LocalTokenizer | None = None


_WORDS = _Words()

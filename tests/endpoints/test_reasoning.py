"""Reasoning is kept apart from the answer, wherever a provider puts it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrunner.endpoints.reasoning import apart, flattened
from batchrunner.endpoints.registry import CHAT, COMPLETIONS, EMBEDDINGS


@pytest.mark.parametrize(
    ("text", "reasoning", "answer"),
    [
        ("Yes.", None, "Yes."),
        ("<think>Hm.\n</think>\n\nYes.", "Hm.", "Yes."),
        ("\n<think>\n</think>Yes.", "", "Yes."),
        ("Hm, so </think>Yes.", "Hm, so", "Yes."),  # the opening tag was in the prompt
        ("<think>Hm, and then", "Hm, and then", ""),  # cut off while it was thinking
        ("Tags look like <think>this</think>.", None, "Tags look like <think>this</think>."),
        ("", None, ""),
    ],
)
def test_a_text_is_taken_apart(text, reasoning, answer):
    assert apart(text) == (reasoning, answer)


@given(st.text(), st.text())
def test_what_was_thought_and_what_was_said_come_back_whole(thought, said):
    thought, said = thought.replace("think>", ""), said.replace("think>", "")
    assert apart(f"<think>{thought}</think>{said}") == (thought.strip(), said.lstrip())


def chat(*messages):
    return json.dumps({"choices": [{"message": message} for message in messages]}).encode()


@pytest.mark.parametrize("name", ["reasoning", "reasoning_content"])
def test_a_field_of_its_own_is_read_under_both_names(name):
    assert flattened(CHAT, chat({"content": "Yes.", name: "Hm."})) == ("Yes.", "Hm.")


def test_empty_fields_are_no_reasoning():
    assert flattened(CHAT, chat({"content": "Yes.", "reasoning": None, "reasoning_content": ""})) == ("Yes.", None)


def test_choices_are_joined_on_both_sides():
    body = chat({"content": "<think>a</think>A"}, {"content": "B", "reasoning": "b"})
    assert flattened(CHAT, body) == ("A\n\nB", "a\n\nb")


def test_completions_think_in_their_text():
    body = json.dumps({"choices": [{"text": "<think>a</think>A"}]}).encode()
    assert flattened(COMPLETIONS, body) == ("A", "a")


@pytest.mark.parametrize("body", [b'{"data":[],"reasoning":1}', b"think>", b'{"choices":"reasoning"}', b"[]"])
def test_what_is_no_text_has_none(body):
    assert flattened(EMBEDDINGS, body) == (None, None)

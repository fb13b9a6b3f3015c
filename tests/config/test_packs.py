"""What files say of embedding: the model before its provider, and both before the tables."""

import pytest

from batchrunner.config import packs_for
from batchrunner.core.packing import PackBounds, limits

BGE = "BAAI/bge-base-en-v1.5"


def test_a_model_is_heard_before_its_provider_and_both_before_the_tables(desk):
    desk.project(
        f"""
        [providers.together]
        pack_texts = 64
        pack_tokens = "20k"
        [providers.together.models."{BGE}"]
        pack_texts = 16
        text_tokens = 500
        [providers.together.models.own]
        dimensions = 384
        rpm = 5
        """
    )
    settings = desk.load().settings
    assert packs_for(settings, "together", BGE) == PackBounds(16, 20_000, 500, None)
    assert packs_for(settings, "together", "own") == PackBounds(64, 20_000, None, 384)
    assert packs_for(settings, "openai", BGE) == PackBounds()
    assert limits("together", BGE, None, packs_for(settings, "together", BGE))[:3] == (16, 20_000, 500)


def test_where_each_of_them_comes_from_can_be_seen(desk):
    desk.project(f'[providers.together.models."{BGE}"]\ntext_tokens = 500\n')
    origin = desk.load().origins[f'providers.together.models."{BGE}".text_tokens']
    assert (origin.value, origin.source) == (500, f"file {desk.project_file}:2")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("pack_text = 5", "Did you mean 'pack_texts'?"),
        ("text_token = 5", "Did you mean 'text_tokens'?"),
        ("dimension = 5", "Did you mean 'dimensions'?"),
        ("pack_texts = 0", "pack_texts = 100"),
        ('pack_tokens = "many"', 'pack_tokens = "300k"'),
    ],
)
@pytest.mark.parametrize("table", ["providers.together", "providers.together.models.m"])
def test_what_is_misspelled_or_cannot_be_is_told_with_what_was_meant(desk, table, line, said):
    desk.project(f"[{table}]\n{line}\n")
    refused = desk.refused()
    assert said in f"{refused.hint}"
    assert f"{desk.project_file}:2" in refused.message

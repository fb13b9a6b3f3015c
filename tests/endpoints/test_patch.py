"""A flag changes what it names, and not a byte of anything else."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrunner.endpoints.patch import patch

BODY = (
    b'{ "model" : "a",\n "messages":[ {"role":"user", "content":"\\u00e9\xc3\xa9"} ], "temperature": 0.10,'
    b' "seed":15924764223251450000 }'
)


def test_nothing_asked_changes_nothing():
    assert patch(BODY, None, []) is BODY


def test_what_is_there_already_changes_nothing():
    assert patch(BODY, "a", [("temperature", b"0.10")]) is BODY


def test_other_values_keep_their_bytes_and_their_order():
    assert patch(BODY, "b", [("max_tokens", b"512")]) == (
        b'{"model":"b","messages":[ {"role":"user", "content":"\\u00e9\xc3\xa9"} ],"temperature":0.10,'
        b'"seed":15924764223251450000,"max_tokens":512}'
    )


def test_one_change_is_enough_to_write_the_body_anew():
    assert patch(b'{"a": 1, "b": 2}', None, [("a", b"1"), ("b", b"3")]) == b'{"a":1,"b":3}'


def test_a_setting_wins_over_the_model_and_a_later_one_over_an_earlier():
    assert patch(b'{"model":"a"}', "b", [("model", b'"c"'), ("n", b"1"), ("n", b"2")]) == b'{"model":"c","n":2}'


def test_a_model_is_quoted_as_json():
    assert json.loads(patch(b"{}", 'a"\\\n\u00e9', [])) == {"model": 'a"\\\n\u00e9'}


def test_what_is_no_object_is_an_error():
    with pytest.raises(ValueError, match="object"):
        patch(b"[]", "a", [])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(["model", "n", "max_tokens", "stop"]) | st.text(max_size=4)


@pytest.mark.slow
@given(
    body=st.dictionaries(NAMES, JSON),
    model=st.none() | st.text(),
    settings=st.dictionaries(NAMES, JSON),
    indent=st.none() | st.just(2),
    ascii_only=st.booleans(),
)
def test_a_patched_body_is_the_body_with_the_settings_and_patching_again_changes_nothing(
    body, model, settings, indent, ascii_only
):
    sent = json.dumps(body, indent=indent, ensure_ascii=ascii_only).encode()
    asked = [(key, json.dumps(value).encode()) for key, value in settings.items()]
    patched = patch(sent, model, asked)
    wanted = body | ({} if model is None else {"model": model}) | settings
    assert json.loads(patched) == wanted
    assert list(json.loads(patched)) == list(wanted)
    assert patch(patched, model, asked) == patched

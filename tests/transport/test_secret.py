"""A key does not show itself."""

import copy
import json
import pickle
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrunner.core.errors import ConfigurationError
from batchrunner.transport.secret import Secret
from tests.canary import CANARY_KEY


@pytest.mark.parametrize(
    "show", [str, repr, "{}".format, "{!r:>10}".format, "%s".__mod__, "%r".__mod__, lambda key: f"{key:>60}", ascii]
)
def test_s15_it_shows_as_stars(show):
    assert CANARY_KEY not in show(Secret(CANARY_KEY))
    assert "***" in show(Secret(CANARY_KEY))
    assert CANARY_KEY not in repr({"key": [Secret(CANARY_KEY)]})


@pytest.mark.parametrize("write", [pickle.dumps, copy.deepcopy, json.dumps, vars])
def test_it_can_not_be_written(write):
    with pytest.raises(TypeError) as refused:
        write(Secret(CANARY_KEY))
    assert CANARY_KEY not in str(refused.value)


def test_it_reveals_itself_when_asked():
    assert Secret(CANARY_KEY).reveal() == CANARY_KEY


@given(st.sampled_from([" ", "\n", "\r\n", "\t", "\x00", "\x7f", "é", "\u200b", "‘"]), st.integers(0, len(CANARY_KEY)))
def test_s6_what_no_header_can_carry_is_refused_without_being_quoted(char, at):
    with pytest.raises(ConfigurationError) as refused:
        Secret(CANARY_KEY[:at] + char + CANARY_KEY[at:])
    told = "".join(traceback.format_exception(refused.value)) + repr(refused.value) + str(refused.value.hint)
    assert CANARY_KEY[:at] + char not in told or at < 8
    assert CANARY_KEY not in told


def test_an_empty_key_is_refused():
    with pytest.raises(ConfigurationError):
        Secret("")

"""What ``--stream`` makes of a body."""

import json

import pytest

from batchrunner.endpoints.patch import ask_for_stream

BODY = b'{ "model":"m", "messages": [], "temperature": 0.10 }'


@pytest.mark.parametrize("asked", [b'{"stream": true, "x": 1}', b'{"stream_tokens":true}'])
def test_a_body_that_streams_already_is_not_touched(asked):
    assert ask_for_stream(asked, usage=True) == asked


def test_a_stream_is_asked_for_and_its_usage_where_it_has_to_be():
    assert ask_for_stream(BODY, usage=False) == b'{"model":"m","messages":[],"temperature":0.10,"stream":true}'
    assert json.loads(ask_for_stream(BODY, usage=True))["stream_options"] == {"include_usage": True}
    said_no = b'{"stream":false,"stream_options":{"include_usage":false,"include_obfuscation":false}}'
    assert json.loads(ask_for_stream(said_no, usage=True)) == {
        "stream": True, "stream_options": {"include_usage": True, "include_obfuscation": False},
    }  # fmt: skip
    assert json.loads(ask_for_stream(b'{"stream_options":null}', usage=True))["stream_options"] == {
        "include_usage": True
    }

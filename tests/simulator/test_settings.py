"""Settings: immutable, checked, changed by a JSON patch, never showing the key."""

from __future__ import annotations

import pytest

from batchrunner.simulator import Settings


def test_a_patch_takes_json_types_and_fault_text():
    changed = Settings().patched(
        {
            "faults": "500=0.5",
            "outages": [[1, 2]],
            "model_limits": {"m": [60, None]},
            "credit_calls": 0,
            "models": ["m"],
        }
    )
    assert changed.faults == {"500": 0.5}
    assert changed.outages == ((1.0, 2.0),)
    assert changed.limits_of("m") == (60, None)
    assert changed.models == ("m",)


@pytest.mark.parametrize(
    "patch",
    [
        {"unknown": 1},
        {"latency": "fast"},
        {"latency": -1},
        {"flavour": "azure"},
        {"faults": {"what": 1}},
        {"cached_share": 2},
        {"tokens_per_second": 0},
    ],
)
def test_a_patch_that_makes_no_sense_is_refused(patch):
    with pytest.raises(ValueError, match=next(iter(patch)) if "faults" not in patch else "unknown fault"):
        Settings().patched(patch)


def test_the_key_is_never_shown():
    assert Settings(api_key="sk-canary").shown()["api_key"] == "set"
    assert "canary" not in repr(Settings(api_key="sk-canary"))

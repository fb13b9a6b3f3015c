"""Answers checked against JSON schemas, with the extra ``schema`` (jsonschema-rs).

The schemas come with job files, so they are taken for hostile: no reference leads out of them (nothing is fetched,
neither from the network nor from the disk), patterns are matched in linear time and within bounded memory, and what an
answer may cost is bounded before it is looked at.
"""

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from batchrunner.core.errors import ConfigurationError
from batchrunner.core.flags import SCHEMA, UNCHECKED, flag
from batchrunner.endpoints.redact import kept_message
from batchrunner.endpoints.unfolding import Unfolding, Unusable

if TYPE_CHECKING:
    import jsonschema_rs

MOST_BYTES: Final = 256 * 1024
"""Of a schema; a larger one is no description of an answer."""
_KEPT: Final = 64
"""Compiled schemas that are kept: a job has one or a few."""
_MOST_SAID: Final = 300
"""Characters of what is said of an answer."""
_PATTERN_SIZE: Final = 1 << 20
"""Bytes that a compiled pattern may take."""


class MissingExtraError(ConfigurationError):
    """The package that checks schemas is not installed."""

    def __init__(self) -> None:
        super().__init__(
            "answers are checked for being JSON only, not against the JSON schemas of their requests: the package"
            " jsonschema-rs is not installed",
            hint="pip install 'batchrunner[schema]'",
        )


class _Compiled(NamedTuple):
    validator: "jsonschema_rs.Validator"
    unfolding: Unfolding


class Schemas:
    """Checks values against schemas, and keeps the compiled ones. Not for more than one thread."""

    def __init__(self) -> None:
        """Raise MissingExtraError where the package is not there."""
        try:
            import jsonschema_rs
        except ImportError:
            raise MissingExtraError from None
        self._rs = jsonschema_rs
        self._kept: OrderedDict[bytes, _Compiled | str] = OrderedDict()

    def problem(self, schema: bytes, value: Any, values: int) -> str | None:
        """Return the flag of a value that is not valid against a schema (JSON), or can't be checked; None: it is valid.

        ``values`` is how many values it holds, itself included, or more.
        """
        compiled = self._kept.get(schema)
        if compiled is None:
            compiled = self._kept[schema] = self._compile(schema)
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        if isinstance(compiled, str):
            return compiled
        try:
            compiled.unfolding.refuse_work(value, values)
            error = next(iter(compiled.validator.iter_errors(value)), None)
        except (Unusable, ValueError, RecursionError) as reason:
            return _unchecked(reason)
        return None if error is None else flag(SCHEMA, _told(error))

    def _compile(self, schema: bytes) -> "_Compiled | str":
        """Return a compiled schema, or the flag of what can't be checked with it."""
        if len(schema) > MOST_BYTES:
            return _unchecked(f"it has {len(schema):,} bytes, and {MOST_BYTES:,} are the most")
        try:
            decoded = msgspec.json.decode(schema)
            unfolding = Unfolding(decoded)
            validator = self._rs.validator_for(
                decoded,
                validate_formats=False,
                offline=True,
                pattern_options=self._rs.RegexOptions(size_limit=_PATTERN_SIZE, dfa_size_limit=_PATTERN_SIZE),
            )
        except self._rs.ValidationError as error:
            return _unchecked(error.message)
        except (Unusable, ValueError, TypeError, RecursionError) as reason:
            return _unchecked(reason)
        return _Compiled(validator, unfolding)


def _unchecked(reason: object) -> str:
    return flag(UNCHECKED, kept_message(f"its schema can't be used: {reason}", _MOST_SAID))


def _told(error: "jsonschema_rs.ValidationError") -> str:
    path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.instance_path)
    return kept_message(f"${path}: {error.message}", _MOST_SAID)

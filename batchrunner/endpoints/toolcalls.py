"""Tool calls of a streamed answer as they grow: joined by their index (OpenAI's and Together's wire format)."""

import msgspec

from batchrunner.endpoints.pieces import EMPTY, NONE, NULL, Growing, Values, object_of, objects

_ARGUMENTS = frozenset({"arguments"})


class ToolCalls:
    """The calls of one message, in the order in which they began."""

    __slots__ = ("_by_index", "_calls")

    def __init__(self) -> None:
        self._by_index: dict[int, _Call] = {}
        self._calls: list[_Call] = []

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self._calls)

    @property
    def size(self) -> int:
        """Bytes that are held, about."""
        return sum(call.own.size for call in self._calls)

    def take(self, raw: bytes) -> bool:
        """Take the ``tool_calls`` of a delta; return whether they said anything."""
        deltas = objects(raw) or []
        for values in deltas:
            self._call_of(values).take(values)
        return bool(deltas)

    def json(self) -> bytes:
        """Return the list of calls."""
        return b"[%b]" % b",".join(call.own.json() for call in self._calls)

    def _call_of(self, values: Values) -> "_Call":
        """Return the call that a delta continues, or a new one.

        Where a server leaves the index out, or counts every call as the first, a new id with a name begins a new call.
        """
        index = whole_number(values.get("index", NONE))
        if index is None:
            known = self._calls[-1] if self._calls else None
        else:
            known = self._by_index.get(index)
        if known is None or known.is_another(values):
            known = _Call()
            self._calls.append(known)
            if index is not None:
                self._by_index[index] = known
        return known


class _Call:
    """One call."""

    __slots__ = ("own",)

    def __init__(self) -> None:
        self.own = Growing()

    def is_another(self, values: Values) -> bool:
        """Whether a delta is not of this call: it has another id, and a name."""
        own, id_ = self.own.get("id"), bytes(values.get("id", NONE))
        if own == NULL or id_ in (NULL, EMPTY, own):
            return False
        function = object_of(values.get("function", NONE)) or {}
        return bytes(function.get("name", NONE)) not in (NULL, EMPTY)

    def take(self, values: Values) -> None:
        for key, raw in values.items():
            if key != "function":
                self.own.put(key, bytes(raw))
        for key, raw in (object_of(values.get("function", NONE)) or {}).items():
            self.own.inner("function", _ARGUMENTS).put(key, bytes(raw))


def whole_number(raw: msgspec.Raw) -> int | None:
    """Return an index, None where it is none."""
    text = bytes(raw)
    return int(text) if text.isdigit() and len(text) < 10 else None

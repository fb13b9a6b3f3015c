"""Changing a body as a flag asks for, and nothing else of it."""

from collections.abc import Sequence

import msgspec

_BODY = msgspec.json.Decoder(dict[str, msgspec.Raw])
_encode = msgspec.json.Encoder().encode


def patch(body: bytes, model: str | None, settings: Sequence[tuple[str, bytes]]) -> bytes:
    """Return the body with ``model`` and the settings put in place of, or after, its top-level keys.

    ``settings`` are keys and JSON texts, as ``--set`` gives them; where they name ``model`` too, they win. The bytes of
    every other value stay as they are, the keys stay in order and new ones follow in the order given; the space between
    them goes. The same arguments give the same bytes, and where every value is there already the body comes back
    untouched. The body must be a JSON object that was checked; raises msgspec.DecodeError where it is not.
    """
    wanted = ({} if model is None else {"model": _encode(model)}) | dict(settings)
    if not wanted:
        return body
    values = _BODY.decode(body)
    changes = {key: msgspec.Raw(value) for key, value in wanted.items() if _differs(values.get(key), value)}
    return _encode(values | changes) if changes else body


def _differs(present: msgspec.Raw | None, wanted: bytes) -> bool:
    return present is None or bytes(present) != wanted


_TRUE = b"true"
_ASKED = msgspec.Raw(_TRUE)


def ask_for_stream(body: bytes, *, usage: bool) -> bytes:
    """Return the body with ``"stream": true``, and with its usage asked for where ``usage`` says so.

    That is ``stream_options.include_usage``; other stream options stay. A body that asks for a stream already, also
    under its old name ``stream_tokens``, comes back untouched. The body must be a JSON object that was checked.
    """
    values = _BODY.decode(body)
    if any(bytes(values.get(key, b"")) == _TRUE for key in ("stream", "stream_tokens")):
        return body
    changes = {"stream": _ASKED}
    if usage:
        options = bytes(values.get("stream_options", b""))
        kept = _BODY.decode(options) if options.startswith(b"{") else {}
        changes["stream_options"] = msgspec.Raw(_encode(kept | {"include_usage": _ASKED}))
    return _encode(values | changes)

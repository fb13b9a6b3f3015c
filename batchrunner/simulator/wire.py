"""What each fault of the wire puts on a connection, as a script of bytes, waits and an ending. Pure: no socket here."""

from __future__ import annotations

import itertools
import math
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from enum import Enum
from functools import cache
from typing import Final

from batchrunner.simulator.errors import reason
from batchrunner.simulator.settings import Settings
from batchrunner.simulator.verdicts import Answer


class Ending(Enum):
    """How a script leaves the connection; without one it is closed."""

    CLOSE = "close"
    RESET = "reset"
    KEEP = "keep"
    """Open, for the next request."""


Step = bytes | float | Ending
"""Bytes to write, seconds to wait, or how to end."""
Script = Iterator[Step]

_BEFORE_RESET: Final = 0.01
"""Seconds that the first half of an answer gets on its way before the reset overtakes it."""
_HUGE_FIELD: Final = 100_000
_HUGE_BODY: Final = 100_000_000
_PIECE: Final = 1 << 16
_BOMB_BYTES: Final = 512 << 20
_BOMB_MEMBER: Final = 4 << 20
_COOKIES: Final = 60
_STRAY_ECHO: Final = b"0" * 12
_ECHO: Final = re.compile(rb"(fp_|\[echo )[0-9a-f]{12}")


def script(answer: Answer, settings: Settings) -> Script:
    """What to do instead of simply sending `answer`, by its fault. An answer without one is sent whole and kept."""
    return _SCRIPTS.get(answer.fault or "", _plain)(answer, settings)


def stray(answer: Answer) -> bytes:
    """Another call's good answer, whole, as a connection that has lost count would send it."""
    body = _ECHO.sub(lambda found: found[1] + _STRAY_ECHO, answer.body)
    marks = {"x-sim-echo": _STRAY_ECHO.decode(), "x-sim-for": "stray"}
    return _head(replace(answer, headers={**answer.headers, **marks}), len(body), keep=True) + body


@cache
def bomb(size: int = _BOMB_BYTES) -> bytes:
    """Gzip that unpacks to `size` zero bytes; members in a row are one stream (RFC 1952 2.2), so it costs nothing."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    member = packer.compress(bytes(_BOMB_MEMBER)) + packer.flush()
    return member * max(1, size // _BOMB_MEMBER)


def packed(body: bytes) -> bytes:
    """`body` as gzip."""
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)
    return packer.compress(body) + packer.flush()


def _head(answer: Answer, length: int | None, *more: str, keep: bool = False) -> bytes:
    """Status line and headers by hand; `length` is what they promise, whatever is then sent."""
    lines = [f"HTTP/1.1 {answer.status or 200} {reason(answer.status or 200)}"]
    lines += [f"{name}: {value}" for name, value in answer.headers.items()]
    if length is not None:
        lines.append(f"Content-Length: {length}")
    lines += [*more, f"Connection: {'keep-alive' if keep else 'close'}", "", ""]
    return "\r\n".join(lines).encode("latin-1")


def _whole(answer: Answer, *more: str, keep: bool = False) -> bytes:
    return _head(answer, len(answer.body), *more, keep=keep) + answer.body


def _coded(answer: Answer, coding: str, data: bytes) -> bytes:
    return _head(answer, len(data), f"Content-Encoding: {coding}") + data


def _plain(answer: Answer, settings: Settings) -> Script:
    yield _whole(answer, keep=True)
    yield Ending.KEEP


def _hang(answer: Answer, settings: Settings) -> Script:
    yield math.inf if settings.hang_seconds is None else settings.hang_seconds


def _hang_head(answer: Answer, settings: Settings) -> Script:
    head = _head(answer, len(answer.body))
    yield head[: len(head) // 2]
    yield from _hang(answer, settings)


def _hang_mid(answer: Answer, settings: Settings) -> Script:
    yield _cut(answer)
    yield from _hang(answer, settings)


def _stream_stall(answer: Answer, settings: Settings) -> Script:
    half = b"".join(answer.pieces[: max(1, len(answer.pieces) // 2)])
    yield _head(answer, None, "Transfer-Encoding: chunked") + b"%x\r\n%b\r\n" % (len(half), half)
    yield from _hang(answer, settings)


def _close_before(answer: Answer, settings: Settings) -> Script:
    yield Ending.CLOSE


def _reset_before(answer: Answer, settings: Settings) -> Script:
    yield Ending.RESET


def _cut(answer: Answer) -> bytes:
    return _head(answer, len(answer.body)) + answer.body[: len(answer.body) // 2]


def _truncate(answer: Answer, settings: Settings) -> Script:
    yield _cut(answer)


def _reset_mid(answer: Answer, settings: Settings) -> Script:
    yield _cut(answer)
    yield _BEFORE_RESET
    yield Ending.RESET


def _drip(answer: Answer, settings: Settings) -> Script:
    for place, byte in enumerate(_whole(answer)):
        if place:
            yield settings.drip_interval
        yield bytes((byte,))


def _promises(answer: Answer, settings: Settings) -> Script:
    while True:
        yield b"HTTP/1.1 102 Processing\r\n\r\n"
        yield max(settings.drip_interval, 0.001)


def _stray(answer: Answer, settings: Settings) -> Script:
    yield _whole(answer, keep=True) + stray(answer)
    yield Ending.KEEP


def _closing(answer: Answer, settings: Settings) -> Script:
    yield _whole(answer)


def _no_length(answer: Answer, settings: Settings) -> Script:
    yield _head(answer, None) + answer.body


def _no_length_cut(answer: Answer, settings: Settings) -> Script:
    yield _head(answer, None) + answer.body[: len(answer.body) * 2 // 3]


def _short_length(answer: Answer, settings: Settings) -> Script:
    yield _head(answer, len(answer.body) * 2 // 3, keep=True) + answer.body
    yield Ending.KEEP


def _two_lengths(answer: Answer, settings: Settings) -> Script:
    yield _head(answer, len(answer.body), f"Content-Length: {len(answer.body) + 1}") + answer.body


def _huge_head(answer: Answer, settings: Settings) -> Script:
    yield _whole(answer, f"x-padding: {'y' * _HUGE_FIELD}")


def _nul_head(answer: Answer, settings: Settings) -> Script:
    yield _whole(answer, "x-odd: a\0b")


def _not_http(answer: Answer, settings: Settings) -> Script:
    yield b"220 mail.example.com ESMTP \x1b[31mready\x1b[0m\r\n"
    yield _BEFORE_RESET


def _chunk_cut(answer: Answer, settings: Settings) -> Script:
    yield _head(answer, None, "Transfer-Encoding: chunked") + b"%x\r\n" % len(answer.body) + answer.body[:-1]


def _bad_chunk(answer: Answer, settings: Settings) -> Script:
    yield _head(answer, None, "Transfer-Encoding: chunked") + b"zz\r\n" + answer.body + b"\r\n0\r\n\r\n"


def _gzip(answer: Answer, settings: Settings) -> Script:
    yield _coded(answer, "gzip", packed(answer.body))


def _gzip_cut(answer: Answer, settings: Settings) -> Script:
    whole = packed(answer.body)
    yield _coded(answer, "gzip", whole[: len(whole) // 2])


def _bomb(answer: Answer, settings: Settings) -> Script:
    yield _coded(answer, "gzip", bomb())


def _bomb_twice(answer: Answer, settings: Settings) -> Script:
    yield _coded(answer, "gzip, gzip", packed(bomb()))


def _br(answer: Answer, settings: Settings) -> Script:
    yield _coded(answer, "br", b"\x0b" + answer.body)


def _huge(answer: Answer, settings: Settings) -> Script:
    yield _head(answer, _HUGE_BODY)
    for _ in range(_HUGE_BODY // _PIECE):
        yield b" " * _PIECE


def _endless(answer: Answer, settings: Settings) -> Script:
    yield _head(answer, None, "Transfer-Encoding: chunked")
    yield from itertools.repeat(b"%x\r\n%b\r\n" % (_PIECE, b" " * _PIECE))


def _cookies(answer: Answer, settings: Settings) -> Script:
    flood = (f"Set-Cookie: c{number}={answer.number}; Path=/; Max-Age=86400" for number in range(_COOKIES))
    yield _whole(answer, *flood, keep=True)
    yield Ending.KEEP


_SCRIPTS: Final[dict[str, Callable[[Answer, Settings], Script]]] = {
    "hang": _hang,
    "hang_head": _hang_head,
    "hang_mid": _hang_mid,
    "stream_stall": _stream_stall,
    "close_before": _close_before,
    "reset_before": _reset_before,
    "refused": _reset_before,
    "truncate": _truncate,
    "reset_mid": _reset_mid,
    "drip": _drip,
    "promises": _promises,
    "stray": _stray,
    "closing": _closing,
    "no_length": _no_length,
    "no_length_cut": _no_length_cut,
    "short_length": _short_length,
    "two_lengths": _two_lengths,
    "huge_head": _huge_head,
    "nul_head": _nul_head,
    "not_http": _not_http,
    "chunk_cut": _chunk_cut,
    "bad_chunk": _bad_chunk,
    "gzip": _gzip,
    "gzip_cut": _gzip_cut,
    "bomb": _bomb,
    "bomb_twice": _bomb_twice,
    "br": _br,
    "huge": _huge,
    "endless": _endless,
    "cookies": _cookies,
}

"""What is kept of a refusal: never a key, never more than is of use.

Providers echo keys ("Incorrect API key provided: ..."), so everything that looks like one is replaced by ``***`` before
it reaches a message, a table or an export. Answers that were paid for are never touched.
"""

import re

MOST_MESSAGE = 500
"""Characters of a message."""
MOST_BODY = 16 * 1024
"""Bytes of a refused body; the rest is cut off, so a kept body may be broken JSON."""

_SHAPES = (
    # A scheme and its credentials, as in an echoed Authorization header.
    r"(?i:\b(?:bearer|basic)[ \t]{1,4})[A-Za-z0-9._~+/=*-]{8,}",
    # Prefixed keys: OpenAI and its likes (sk-), Together (tgp_, tok_), NVIDIA, Perplexity; Hugging Face, Groq, xAI.
    r"(?<![A-Za-z0-9])(?:sk|tgp|tok|nvapi|pplx)[-_][A-Za-z0-9_*.-]{8,}",
    r"(?<![A-Za-z0-9])(?:hf_|gsk_|xai-)[A-Za-z0-9]{16,}",
    # Together's first keys: 64 hexadecimal digits and nothing else.
    r"(?<![A-Za-z0-9])[0-9a-fA-F]{64}(?![A-Za-z0-9])",
    # A value that is called a key.
    r"(?i:\b(?:x-)?api[_-]?key[\"']?[ \t]{0,4}[:=][ \t]{0,4}[\"']?)[A-Za-z0-9_*.~+/=-]{8,}",
)
_TEXT = re.compile("|".join(_SHAPES))
_BYTES = re.compile("|".join(_SHAPES).encode())
_SLACK = 1024  # a key that crosses the cut is still seen whole


def redact(text: str) -> str:
    """Return the text with everything that looks like a key replaced by ``***``."""
    return _TEXT.sub("***", text)


def kept_message(text: str, most: int = MOST_MESSAGE) -> str:
    """Return one redacted line of at most ``most`` characters, all of them printable."""
    line = " ".join(redact(text[: most * 4 + _SLACK]).split())
    if len(line) > most:
        line = f"{line[: most - 3]}..."
    return line if line.isprintable() else "".join(sign if sign.isprintable() else "\ufffd" for sign in line)


def kept_body(body: bytes) -> bytes:
    """Return the beginning of a refused body, redacted, in at most 16 KB."""
    return _BYTES.sub(b"***", body[: MOST_BODY + _SLACK])[:MOST_BODY]

"""Which answer belongs to which endpoint."""

from __future__ import annotations

from typing import Any

from batchrunner.simulator import answers, neighbours, transcripts, vectors
from batchrunner.simulator.answers import Work
from batchrunner.simulator.settings import Settings


def answer_to(work: Work, settings: Settings, *, call_id: str, created: int, echo: str) -> dict[str, Any] | str:
    """The good answer to a call, without its usage; text where text was asked for."""
    match work.call.endpoint:
        case "chat":
            return answers.chat_answer(work, settings, call_id=call_id, created=created, echo=echo)
        case "completions":
            return answers.completion_answer(work, settings, call_id=call_id, created=created, echo=echo)
        case "embeddings":
            return vectors.embedding_answer(work, settings)
        case "rerank":
            return vectors.rerank_answer(work, settings, call_id=call_id)
        case "transcriptions" | "translations":
            (choice,) = work.choices
            opening = f"[echo {echo}] " if settings.echo else ""
            return transcripts.transcript_answer(work.call, choice.digest, choice.tokens, opening)
        case _:
            return neighbours.answer(work, settings, call_id, created, echo)

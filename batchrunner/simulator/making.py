"""Answers of images, speech and videos, and the jobs that videos are."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any, Final

from batchrunner.simulator import files
from batchrunner.simulator.answers import Work
from batchrunner.simulator.bill import Units
from batchrunner.simulator.settings import Settings
from batchrunner.simulator.text import digest_of, fraction

_MS_PER_CHARACTER: Final = 20
_LONGEST_MS: Final = 4_000


@dataclass(slots=True)
class Film:
    """One video job."""

    id: str
    model: str
    seed: str
    size: tuple[int, int]
    seconds: str
    created: float
    ready: float
    fails: bool
    cost: float


class Films:
    """The jobs of one provider, by id. They end by the clock."""

    def __init__(self) -> None:
        self._films: dict[str, Film] = {}

    def create(self, work: Work, settings: Settings, call_id: str, now: float) -> Film:
        """A new job; whether it will fail is drawn from its id."""
        body = work.call.body
        seed = digest_of("video", settings.seed, work.call.model, body.get("prompt"), body.get("seed")).hex()[:16]
        film = Film(
            id=f"vid_{call_id.replace('-', '')}",
            model=work.call.model,
            seed=seed,
            size=(body.get("width") or 1280, body.get("height") or 720),
            seconds=body.get("seconds") or "5",
            created=now,
            ready=now + settings.video_seconds,
            fails=fraction(digest_of("fails", settings.seed, call_id), 0) < settings.video_failures,
            cost=settings.video_cost,
        )
        self._films[film.id] = film
        return film

    def find(self, film_id: str) -> Film | None:
        """The job of this id."""
        return self._films.get(film_id)


def film_answer(film: Film, settings: Settings, *, base: str, now: float, wall: float) -> dict[str, Any]:
    """A job as Together tells of it now."""
    ended = now >= film.ready
    created = int(wall - (now - film.created))
    answer: dict[str, Any] = {
        "id": film.id,
        "object": "video",
        "model": film.model,
        "status": "in_progress",
        "created_at": created,
        "size": f"{film.size[0]}x{film.size[1]}",
        "seconds": film.seconds,
    }
    if not ended:
        return answer
    answer |= {
        "status": "failed" if film.fails else "completed",
        "completed_at": created + int(film.ready - film.created),
    }
    if film.fails:
        answer["error"] = {"code": "internal_error", "message": "The video could not be generated."}
        answer["outputs"] = {"cost": 0}
    else:
        url = base + files.link("vid", film.size, film.seed, int(wall + settings.url_seconds))
        answer["outputs"] = {"cost": film.cost, "video_url": url}
    return answer


def image_answer(work: Work, settings: Settings, *, call_id: str, created: int, base: str) -> dict[str, Any]:
    """Pictures by address, or as base64 text. Together says `object: list` and each one's type, OpenAI `created`."""
    body, units, together = work.call.body, work.call.units or Units(), settings.flavour == "together"
    size = units.width, units.height
    inline = body.get("response_format") in ("base64", "b64_json") or (
        not together and work.call.model.startswith("gpt-image")
    )
    data: list[dict[str, Any]] = []
    for index in range(units.images):
        what = (settings.seed, work.call.model, body.get("prompt"), body.get("seed"), index)
        seed = digest_of("image", *what).hex()[:16]
        item: dict[str, Any] = {"index": index} if together else {}
        if inline:
            item |= {"b64_json": base64.b64encode(files.png(*size, seed)).decode()}
        else:
            item |= {"url": base + files.link("img", size, seed, created + int(settings.url_seconds))}
        if together:
            item |= {"type": "b64_json" if inline else "url", "timings": {"inference": 0.1}}
        data.append(item)
    if together:
        return {"id": call_id, "model": work.call.model, "object": "list", "data": data}
    return {"created": created, "data": data, "size": f"{size[0]}x{size[1]}", "output_format": "png"}


def spoken(work: Work, settings: Settings) -> tuple[str, bytes]:
    """Content type and bytes of a text that is read out: 20 ms a character, four seconds at most."""
    body = work.call.body
    seed = digest_of("speech", settings.seed, work.call.model, body["input"], body["voice"]).hex()[:16]
    milliseconds = min(_LONGEST_MS, _MS_PER_CHARACTER * len(body["input"]))
    form = body["response_format"]
    return files.TYPES[form], files.speech(form, milliseconds, seed)

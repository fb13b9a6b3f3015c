"""What a provider makes of each call, and what can be looked at afterwards: the state of video jobs, and files."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec

from batchrunner.simulator import files, making, served
from batchrunner.simulator.answers import Work
from batchrunner.simulator.errors import Refusal
from batchrunner.simulator.faults import UNANSWERED_KINDS, WIRE_KINDS
from batchrunner.simulator.settings import Settings
from batchrunner.simulator.verdicts import Arrival, Verdict

VIDEOS: Final = "/v2/videos/"
Sound = tuple[str, bytes]
"""Content type and bytes of an answer that is no JSON."""


class Made(NamedTuple):
    """What was made of a call."""

    answer: dict[str, Any] | str
    """Without its usage; text where text was asked for."""
    sound: Sound | None = None
    free: bool = False
    """A film that will fail costs nothing."""


def is_look(route: str) -> bool:
    """Whether a path leads to a job or a file: looking at them costs nothing."""
    return route.startswith((VIDEOS, files.FILES))


class Looks:
    """The jobs of one provider; files need no state."""

    def __init__(self) -> None:
        self._films = making.Films()

    def needs_key(self, route: str) -> bool:
        """Files are behind links that anybody may follow."""
        return not route.startswith(files.FILES)

    def find(self, arrival: Arrival, settings: Settings, fault: str | None) -> Verdict | Refusal:
        """What is there."""
        if arrival.method != "GET":
            return Refusal(405, f"Not allowed to {arrival.method} on {arrival.path}.")
        if self.needs_key(arrival.route):
            film = self._films.find(arrival.route.removeprefix(VIDEOS))
            if film is None:
                return Refusal(404, "There is no video job of this id.")
            told = making.film_answer(film, settings, base=_base(arrival), now=arrival.time, wall=arrival.wall)
            return _whole(Verdict(status=200, body=msgspec.json.encode(told), model=film.model), fault)
        file = files.behind(arrival.path)
        if file is None:
            return Refusal(404, "There is no such file.")
        if arrival.wall >= file.until:
            return Refusal(403, "Request has expired")
        return _whole(Verdict(status=200, content_type=file.content_type, body=file.body), fault)

    def make(self, work: Work, settings: Settings, arrival: Arrival, call_id: str) -> Made:
        """The good answer to a call."""
        endpoint, base = work.call.endpoint, _base(arrival)
        if endpoint == "speech":
            return Made({}, making.spoken(work, settings))
        if endpoint == "images":
            return Made(making.image_answer(work, settings, call_id=call_id, created=int(arrival.wall), base=base))
        if endpoint == "videos":
            film = self._films.create(work, settings, call_id, arrival.time)
            told = making.film_answer(film, settings, base=base, now=arrival.time, wall=arrival.wall)
            return Made(told, free=film.fails)
        created, echo = int(arrival.wall), arrival.echo
        return Made(served.answer_to(work, settings, call_id=call_id, created=created, echo=echo))


def _base(arrival: Arrival) -> str:
    """Scheme and host as the client wrote them: files are served by this provider itself."""
    return f"http://{arrival.headers.get('host', '127.0.0.1')}"


def _whole(verdict: Verdict, fault: str | None) -> Verdict:
    if fault not in WIRE_KINDS:
        return verdict
    return Verdict(
        status=0 if fault in UNANSWERED_KINDS else 200,
        content_type=verdict.content_type,
        body=verdict.body,
        fault=fault,
        wire=fault,
        model=verdict.model,
    )

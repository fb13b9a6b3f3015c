"""``check``: everything that loading a file checks, without a store."""

from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise

from batchrunner.core.attachments import Attachments
from batchrunner.core.errors import Problem
from batchrunner.core.job import JobOptions
from batchrunner.core.request import NewRequest
from batchrunner.formats.source import Source, open_source
from batchrunner.runner.compile import Compiler
from batchrunner.runner.loader import Problems, chunks


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A job file that could be loaded."""

    path: str
    requests: int
    by_lane: tuple[tuple[str, str, int], ...]
    """(endpoint, model, requests), most frequent first."""
    input_tokens: int
    """Estimated."""
    output_tokens: int
    """Sum of the output bounds that are set."""
    unbounded: int
    """Requests without an output bound."""


def check(path: str, options: JobOptions, attachments: Attachments | None = None) -> Checked:
    """Check a job file line by line. Raises InputError with the bad lines; nothing is stored.

    Memory holds 8 bytes a line, to find a repeated custom_id. ``attachments`` are the local files that lines may refer
    to; None: they may not.
    """
    compiler = Compiler(options, attachments)
    problems, lanes, seen = Problems(), Counter[tuple[str, str]](), array("Q")
    tokens = [0, 0, 0]
    with open_source(path) as file:
        for request in _requests(file, compiler, problems):
            lanes[request.endpoint, request.model] += 1
            seen.append(_mark(request.custom_id))
            tokens[0] += request.est_in
            tokens[1] += request.max_out or 0
            tokens[2] += request.max_out is None
        for problem in _repeated(file, compiler, seen):
            problems.add(problem)
        if problems.count:
            raise problems.refuse(file.path)
        return Checked(
            path=file.path,
            requests=len(seen),
            by_lane=tuple((endpoint, model, n) for (endpoint, model), n in lanes.most_common()),
            input_tokens=tokens[0],
            output_tokens=tokens[1],
            unbounded=tokens[2],
        )


def _requests(file: Source, compiler: Compiler, problems: Problems) -> Iterator[NewRequest]:
    for chunk in chunks(file, compiler, problems):
        yield from chunk


def _repeated(file: Source, compiler: Compiler, seen: "array[int]") -> Iterator[Problem]:
    """Yield the lines that repeat a custom_id; reads the file again only where marks say that there may be one."""
    ordered = sorted(seen)
    suspects = {mark for mark, following in pairwise(ordered) if mark == following}
    if not suspects:
        return
    first: dict[str, int] = {}
    for request in _requests(file, compiler, Problems()):
        if _mark(request.custom_id) in suspects:
            line = first.setdefault(request.custom_id, request.line)
            if line != request.line:
                yield Problem(request.line, 1, f'custom_id "{request.custom_id}" was used on line {line} already')


def _mark(custom_id: str) -> int:
    return int.from_bytes(blake2b(custom_id.encode(), digest_size=8).digest(), "big")

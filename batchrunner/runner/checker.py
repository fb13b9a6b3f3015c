"""``check``: everything that loading a file checks, what its provider will refuse, and the rules of other files."""

from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise
from types import MappingProxyType
from typing import Any

import msgspec

from batchrunner.core.attachments import Attachments
from batchrunner.core.errors import ConfigurationError, InputError, Problem
from batchrunner.core.estimate import Tokenizer
from batchrunner.core.job import JobOptions
from batchrunner.core.request import NewRequest
from batchrunner.endpoints.base import BadBody
from batchrunner.endpoints.bodies import look
from batchrunner.formats.batchfile import OPENAI, TOGETHER, BatchFile, BatchRules
from batchrunner.formats.finetune import finetune_problems
from batchrunner.formats.jobfile import Line, iter_lines
from batchrunner.formats.source import Source, open_source
from batchrunner.runner.compile import Compiler
from batchrunner.runner.loader import Problems

BATCHES: Mapping[str, BatchRules] = MappingProxyType({rules.name: rules for rules in (TOGETHER, OPENAI)})
FINE_TUNE = "fine-tune"
PURPOSES = (*BATCHES, FINE_TUNE)
"""What a file can be checked for besides being run here."""

_BODY = msgspec.json.Decoder(dict[str, Any])


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
    warnings: tuple[Problem, ...] = ()
    """What the provider will probably refuse: the first of them."""
    warned: int = 0
    """How many there are."""
    unknown: tuple[tuple[str, str, int, int], ...] = ()
    """(endpoint, field, requests, first line) of fields that nobody describes; they are sent as they are."""


class RefusedFileError(InputError):
    """A file that can't be loaded, and what else was found in it."""

    def __init__(self, refused: InputError, found: Checked) -> None:
        super().__init__(
            refused.message, hint=refused.hint, path=refused.path, problems=refused.problems, count=refused.count
        )
        self.found = found


def check(
    path: str,
    options: JobOptions,
    attachments: Attachments | None = None,
    *,
    dialects: Mapping[str, str] = MappingProxyType({}),
    purpose: str | None = None,
    tokenizer: Tokenizer | None = None,
) -> Checked:
    """Check a job file line by line. Raises InputError with the bad lines; nothing is stored.

    It is a RefusedFileError where the file could be read to its end.

    ``dialects`` are the configured providers, and whose rules their fields are looked at by (``together``, ``openai``,
    ``generic``); ``purpose`` is the other file that it is to be (one of ``PURPOSES``). ``attachments`` are the local
    files that lines may refer to; None: they may not. ``tokenizer`` counts the tokens that are guessed without. Memory
    holds 8 bytes a line, to find a repeated custom_id.
    """
    if purpose not in (None, *PURPOSES):
        raise ConfigurationError(f"a file can't be checked for {purpose!r}", hint=f"one of {', '.join(PURPOSES)}")
    with open_source(path) as file:
        if purpose == FINE_TUNE:
            return _check_examples(file)
        compiler = Compiler(options, attachments, dialects, tokenizer)
        return _Check(file, options, compiler, dialects, None if purpose is None else BATCHES[purpose]).checked()


class _Check:
    """One look at one file."""

    def __init__(
        self,
        file: Source,
        options: JobOptions,
        compiler: Compiler,
        dialects: Mapping[str, str],
        rules: BatchRules | None,
    ) -> None:
        self._file = file
        self._dialects = dialects
        self._provider = options.provider
        self._compiler = compiler
        self._batch = None if rules is None else BatchFile(rules)
        self._bad, self._warned = Problems(), Problems()
        self._lanes: Counter[tuple[str, str]] = Counter()
        self._unknown: dict[tuple[str, str], list[int]] = {}
        self._seen = array("Q")
        self._tokens = [0, 0, 0]

    def checked(self) -> Checked:
        for line, request in _requests(self._file, self._compiler, self._refuse):
            self._count(request)
            self._look(line, request.endpoint, request.body, request.provider)
            if self._batch is not None:
                for problem in self._batch.line(line, request.endpoint):
                    self._bad.add(problem)
        for problem in _repeated(self._file, self._compiler, self._seen):
            self._bad.add(problem)
        if self._batch is not None:
            for problem in self._batch.size(self._file.size):
                self._bad.add(problem)
        if self._bad.count:
            raise RefusedFileError(self._bad.refuse(self._file.path), self._found())
        return self._found()

    def _found(self) -> Checked:
        return Checked(
            path=self._file.path,
            requests=len(self._seen),
            by_lane=tuple((endpoint, model, n) for (endpoint, model), n in self._lanes.most_common()),
            input_tokens=self._tokens[0],
            output_tokens=self._tokens[1],
            unbounded=self._tokens[2],
            warnings=tuple(self._warned.first),
            warned=self._warned.count,
            unknown=tuple((*place, *found) for place, found in self._unknown.items()),  # type: ignore[misc]
        )

    def _count(self, request: NewRequest) -> None:
        self._lanes[request.endpoint, request.model] += 1
        self._seen.append(_mark(request.custom_id))
        self._tokens[0] += request.est_in
        self._tokens[1] += request.max_out or 0
        self._tokens[2] += request.max_out is None

    def _refuse(self, problem: Problem, line: Line | None) -> None:
        """Count a bad line; the rest of its body is looked at too, so that all of it can be mended at once."""
        self._bad.add(problem)
        if line is None:
            return
        try:
            endpoint = self._compiler.endpoint(line)
        except BadBody:
            return
        self._look(line, endpoint.path, line.body, line.provider, told=problem.column)

    def _look(self, line: Line, endpoint: str, body: bytes, provider: str | None, *, told: int = 0) -> None:
        """Look at the fields of a body, but for the one at a column of which is told already."""
        dialect = self._dialects.get(provider or self._provider, "generic")
        looked = look(endpoint, _BODY.decode(body), dialect)
        for finding in looked.findings:
            column = line.body_column(finding.field.partition(".")[0].partition("[")[0])
            if column != told:
                self._warned.add(Problem(line.number, column, str(finding)))
        for name in looked.unknown:
            self._unknown.setdefault((endpoint, name), [0, line.number])[0] += 1


def _check_examples(file: Source) -> Checked:
    """Check a file to fine-tune with; its lines are examples, and none of them is a request."""
    bad, lines = Problems(), 0
    for found in finetune_problems(file):
        if isinstance(found, Problem):
            bad.add(found)
        else:
            lines += 1
    if not lines and not bad.count:
        raise InputError(f"{file.path} has no rows", hint="an example is one JSON object on a line", path=file.path)
    if bad.count:
        raise bad.refuse(file.path)
    return Checked(path=file.path, requests=lines, by_lane=(), input_tokens=0, output_tokens=0, unbounded=0)


def _requests(
    file: Source, compiler: Compiler, bad: Callable[[Problem, Line | None], None]
) -> Iterator[tuple[Line, NewRequest]]:
    for line in iter_lines(file):
        if isinstance(line, Problem):
            bad(line, None)
        elif isinstance(request := compiler.request(line), Problem):
            bad(request, line)
        else:
            yield line, request


def _repeated(file: Source, compiler: Compiler, seen: "array[int]") -> Iterator[Problem]:
    """Yield the lines that repeat a custom_id; reads the file again only where marks say that there may be one."""
    ordered = sorted(seen)
    suspects = {mark for mark, following in pairwise(ordered) if mark == following}
    if not suspects:
        return
    first: dict[str, int] = {}
    for _, request in _requests(file, compiler, lambda *_: None):
        if _mark(request.custom_id) in suspects:
            line = first.setdefault(request.custom_id, request.line)
            if line != request.line:
                yield Problem(request.line, 1, f'custom_id "{request.custom_id}" was used on line {line} already')


def _mark(custom_id: str) -> int:
    return int.from_bytes(blake2b(custom_id.encode(), digest_size=8).digest(), "big")

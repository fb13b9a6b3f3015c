"""A line of a job file becomes a request: its endpoint is found, its body checked, changed on request, measured."""

import hashlib
from collections.abc import Collection, Sequence

from batchrunner.core.attachments import Attachments, NoAttachments, Unattachable, Wanted
from batchrunner.core.errors import ConfigurationError, Problem
from batchrunner.core.estimate import Tokenizer
from batchrunner.core.job import JobOptions
from batchrunner.core.request import NewRequest
from batchrunner.endpoints.base import BadBody, Endpoint, Facts
from batchrunner.endpoints.counting import counted
from batchrunner.endpoints.patch import ask_for_stream, patch
from batchrunner.endpoints.registry import BY_PATH, infer, resolve
from batchrunner.formats.jobfile import Line


def _named(endpoint: str) -> Endpoint:
    try:
        return resolve(endpoint)
    except BadBody as bad:
        raise ConfigurationError(f"--endpoint: {bad.reason}", hint="--endpoint /v1/chat/completions") from None


class Compiler:
    """Compiles the lines of one file, in order. Raises ConfigurationError for an endpoint that there is none of.

    Local files that a line refers to are looked at (never read whole): one that could not be sent is a Problem now.
    ``providers`` are the names that a line may ask for: a line can choose among configured hosts, and bring none.
    ``tokenizer`` counts the input tokens that are guessed otherwise.
    """

    def __init__(
        self,
        options: JobOptions,
        attachments: Attachments | None = None,
        providers: Collection[str] = (),
        tokenizer: Tokenizer | None = None,
    ) -> None:
        self._tokenizer = tokenizer
        self._options = options
        self._attachments = attachments or NoAttachments()
        self._providers = {options.provider, *providers}
        self._default = _named(options.endpoint) if options.endpoint else None
        self._settings = tuple((key, value.encode()) for key, value in options.settings)
        self._patches = bool(options.model or self._settings)
        self._streams = options.stream
        self._asks_usage = options.stream_usage and "stream_options" not in dict(options.settings)

    def request(self, line: Line) -> NewRequest | Problem:
        """Return the request that a line asks for, or what is wrong with the line."""
        try:
            endpoint = BY_PATH.get(line.url) or self.endpoint(line)  # type: ignore[arg-type]  # None is in no dict
        except BadBody as bad:
            return Problem(line.number, line.column("url") if line.url is not None else 1, bad.reason)
        try:
            body = patch(line.body, self._options.model, self._settings) if self._patches else line.body
            if self._streams and endpoint.streams:
                body = ask_for_stream(body, usage=self._asks_usage)
            facts = endpoint.inspect(body)
        except BadBody as bad:
            return Problem(line.number, line.body_column(bad.field), bad.reason)
        est_in = facts.est_in
        if self._tokenizer is not None:
            est_in = counted(endpoint.name, body, est_in, self._tokenizer)
        digest = hashlib.sha256(body).digest()[:16]
        request = NewRequest(
            line.number,
            line.custom_id,
            endpoint.path,
            facts.model,
            body,
            digest,
            est_in,
            facts.max_out,
            line.priority,
            line.extras,
            line.tags,
            facts.units,
        )
        return self._unlike_most(request, line, facts) if facts.composed or line.provider is not None else request

    def _unlike_most(self, request: NewRequest, line: Line, facts: Facts) -> NewRequest | Problem:
        """Return the request with its files and the provider that it asks for, or what is wrong with them."""
        if facts.files and (problem := self._missing(line, facts.files)) is not None:
            return problem
        if line.provider is not None and line.provider not in self._providers:
            return self._no_provider(line)
        return request._replace(composed=facts.composed, files=len(facts.files), provider=line.provider)

    def endpoint(self, line: Line) -> Endpoint:
        """Return the endpoint that a line names, or that its body tells of. Raises BadBody."""
        if line.url is not None:
            return resolve(line.url)
        endpoint = self._default or infer(line.keys)
        if endpoint is None:
            raise BadBody(
                'no "url", and the body does not tell its endpoint ("messages", "prompt", "input", or "query" with'
                ' "documents"); add "url" or give --endpoint',
            )
        return endpoint

    def _no_provider(self, line: Line) -> Problem:
        known = ", ".join(sorted(self._providers))
        return Problem(
            line.number,
            line.column("metadata"),
            f'"metadata.provider": there is no provider {ascii(line.provider)[:80]}; configured: {known}',
        )

    def _missing(self, line: Line, files: Sequence[Wanted]) -> Problem | None:
        """Return what is wrong with the first file that could not be sent, at the column of its reference."""
        for wanted in files:
            try:
                self._attachments.look(wanted)
            except Unattachable as refused:
                start = line.body_column(None) - 1
                return Problem(line.number, max(line.raw.find(wanted.spelled, start), start) + 1, str(refused))
        return None

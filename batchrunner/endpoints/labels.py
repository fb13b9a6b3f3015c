"""The names under which the official SDKs raise the same errors, for people who know them from there."""

from batchrunner.core.attempt import FailureKind

_LABELS = {
    400: "BadRequestError",
    401: "AuthenticationError",
    403: "PermissionDeniedError",
    404: "NotFoundError",
    409: "ConflictError",
    422: "UnprocessableEntityError",
    429: "RateLimitError",
}


def label(status: int | None, kind: FailureKind | None = None) -> str:
    """Return the class name that the OpenAI and Together SDKs give to a status; None: no answer came.

    402 and every other status they have no class for is a plain APIStatusError. A local file that can't be read is no
    error of theirs, but Python's own.
    """
    if kind is FailureKind.ATTACHMENT:
        return "OSError"
    if status is None:
        return "APITimeoutError" if kind is FailureKind.TIMEOUT else "APIConnectionError"
    return "InternalServerError" if status >= 500 else _LABELS.get(status, "APIStatusError")

"""Foreign errors become Failures that are true about money: never sent, or sent and maybe billed."""

import ssl
from collections.abc import Mapping

import httpx

from batchrunner.core.attempt import Billing, Failure, FailureKind
from batchrunner.transport.hosts import host_label
from batchrunner.transport.wire import MalformedReply, StaleConnection

MESSAGE_LENGTH = 300
WRONG_TLS = frozenset({"WRONG_VERSION_NUMBER", "UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION", "HTTP_REQUEST"})
NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)


def failure_of(error: httpx.RequestError, host: str) -> Failure:
    """Say what an engine's error means for the call and for the bill.

    What is not surely unsent may be billed. TLS and proxies that refuse are no outage: a person must act.
    """
    if (broken := _tls_fault(error)) is not None:
        return _misconfigured(_tls_message(broken, host))
    detail = str(error)
    if isinstance(error, httpx.ProxyError):
        return _misconfigured(f"the proxy refused to connect to {host}: {detail}; check the proxy's address and login")
    if isinstance(error, NEVER_SENT):
        return connection_failure(f"could not connect to {host}: {detail}; nothing was sent", Billing.NOT_BILLED)
    if isinstance(error, StaleConnection):
        text = f"{host} had closed this idle connection when the call was sent; it goes out again on another one"
        return Failure(FailureKind.STALE_CONNECTION, cut(text), Billing.NOT_BILLED)
    if isinstance(error, MalformedReply):
        text = f"{host} answered something that is not HTTP: {detail}; it may have been billed"
        return Failure(FailureKind.BAD_REPLY, cut(text), Billing.UNKNOWN)
    return connection_failure(f"the connection to {host} broke after sending: {detail}; it may have been billed")


def deadline_failure(host: str, seconds: float, *, sent: bool) -> Failure:
    """Say what it means that a call's time was up."""
    if not sent:
        text = f"could not connect to {host} within {seconds:g} s; nothing was sent"
        return connection_failure(text, Billing.NOT_BILLED)
    text = f"no complete answer from {host} within {seconds:g} s; it may have been billed"
    return Failure(FailureKind.TIMEOUT, cut(text), Billing.UNKNOWN)


def silence_failure(host: str, seconds: float, *, begun: bool) -> Failure:
    """Say that a stream was given up because nothing came any more."""
    when = "in the middle of a streamed answer" if begun else "before the first token of a streamed answer"
    text = f"{host} was silent for {seconds:g} s {when}; it may have been billed"
    return Failure(FailureKind.TIMEOUT, cut(text), Billing.UNKNOWN)


def unreadable_failure(host: str, reason: str) -> Failure:
    """Say that a stream was given up because of what came."""
    return Failure(
        FailureKind.BAD_REPLY, cut(f"{host} sent a stream that can't be read: {reason}"), Billing.UNKNOWN, 200
    )


def interrupted_failure(host: str, *, sent: bool) -> Failure:
    """Say what it means that we dropped a call: by a second stop, or after the machine had slept."""
    if not sent:
        return Failure(FailureKind.INTERRUPTED, "stopped before it was sent", Billing.NOT_BILLED)
    text = f"the call to {host} was dropped by us; it may have been billed"
    return Failure(FailureKind.INTERRUPTED, cut(text), Billing.UNKNOWN)


def connection_failure(text: str, billing: Billing = Billing.UNKNOWN) -> Failure:
    """Return a fault of the network."""
    return Failure(FailureKind.CONNECTION, cut(text), billing)


def refusal_of(status: int, headers: Mapping[str, str], host: str, max_response: int) -> Failure | None:
    """Refuse by its head (names in lower case) an answer that is not to be read; None where it is.

    Redirects are never followed: a 307 would carry the prompts to the other host (RFC 9110 15.4.8).
    """
    if 300 <= status < 400:
        return _misconfigured(_redirect_message(status, headers.get("location", ""), host), status)
    if status == 407:
        return _misconfigured("a proxy asks for a login (407); check the proxy's address and login", status)
    if headers.get("content-encoding", "identity").strip().lower() not in ("identity", ""):
        text = f"{host} answered {status} compressed, which it was asked not to; it may have been billed"
        return Failure(FailureKind.BAD_REPLY, cut(text), Billing.UNKNOWN, status)
    length = headers.get("content-length", "")
    if length.isdigit() and int(length[:20]) > max_response:
        return too_large(host, status, max_response)
    return None


def too_large(host: str, status: int, max_response: int) -> Failure:
    """Say that an answer's body was given up at the cap."""
    text = f"{host} answered {status} with more than {max_response} bytes, which is the cap; it may have been billed"
    return Failure(FailureKind.RESPONSE_TOO_LARGE, cut(text), Billing.UNKNOWN, status)


def cut(text: str) -> str:
    """Keep messages short: they are stored with every attempt."""
    return text if len(text) <= MESSAGE_LENGTH else text[: MESSAGE_LENGTH - 1] + "…"


def _misconfigured(text: str, status: int | None = None) -> Failure:
    return Failure(FailureKind.MISCONFIGURED, cut(text), Billing.NOT_BILLED, status)


def _redirect_message(status: int, location: str, host: str) -> str:
    target = host_label(location) if "//" in location[:8] else "another path of the same host"
    return (
        f"{host} answered {status}, a redirect to {target}, which is never followed: "
        "set the base URL to where the API is"
    )


def _tls_fault(error: BaseException) -> ssl.SSLError | None:
    cause: BaseException | None = error
    for _ in range(10):
        if cause is None:
            break
        if isinstance(cause, ssl.SSLCertVerificationError):
            return cause
        if isinstance(cause, ssl.SSLError) and cause.reason in WRONG_TLS:
            return cause
        cause = cause.__cause__ or cause.__context__
    return None


def _tls_message(fault: ssl.SSLError, host: str) -> str:
    if isinstance(fault, ssl.SSLCertVerificationError):
        return (
            f"the certificate of {host} does not verify ({fault.verify_message}); nothing was sent. Check the base URL "
            "and the clock; behind a proxy with an authority of its own, give its certificates with --ca-file"
        )
    return f"{host} does not speak TLS as it must ({fault.reason}); nothing was sent. Check the base URL"

"""What Stripe's failures mean for an event: each becomes an outcome of the engine's closed set.

    worker.outcomes             here          when
    ├── Park                    Refused       400, 402, 404: the request is wrong, and Stripe says why
    ├── Retry                   Conflict      409: another request holds the object or the key
    └── Unavailable             Down          no answer, half an answer, a 5xx, or a 429
        └── with alarm=True     Denied        401, 403, or the wrong account: only a person can fix it

Whether one says something *definite* about a write decides on the next try's idempotency key. Once an
endpoint has begun, Stripe keeps its answer under the key and repeats it, 500s included; requests refused
before that leave the key unused (https://docs.stripe.com/api/idempotent_requests). So a definite answer is
never asked for again: one looks up what is there, and continues with a new key. All else keeps its key.

Messages carry Stripe's own words and request id, shortened, and without anything that looks like a key.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import stripe

from worker import Outcome, Park, Retry, Unavailable

_KEY = re.compile(r"\b[a-z]{2}_(test|live)_[\w*]+")
_LONGEST_MESSAGE = 300


class StripeOutcome(Outcome):
    """What all of Stripe's failures share.

    result      a word for the metric of calls
    definite    Stripe has answered, and may repeat that answer for as long as the idempotency key is the same
    again       a short retry of the same call with the same key is worth it
    wait        seconds after which Stripe asks to be called again (Retry-After), if it said so
    """

    result = "error"
    definite = False
    again = False
    wait: float | None = None


class Refused(StripeOutcome, Park):
    """Stripe refused the request as it is; `code` is Stripe's error code (https://docs.stripe.com/error-codes)."""

    result = "refused"
    definite = True

    def __init__(self, reason: str, code: str | None) -> None:
        super().__init__(reason)
        self.code = code


class Conflict(StripeOutcome, Retry):
    """Another request holds the object, or the idempotency key was used for something else."""

    result = "conflict"

    def __init__(self, reason: str, *, definite: bool) -> None:
        super().__init__(reason)
        self.definite = definite
        self.again = not definite


class Down(StripeOutcome, Unavailable):
    """Stripe did not answer, answered with half a message, failed, or asked to be left alone for a while."""

    result = "down"

    def __init__(self, reason: str, *, wait: float | None = None, definite: bool = False, again: bool = True) -> None:
        super().__init__(reason, after=wait)
        self.wait = wait
        self.definite = definite
        self.again = again


class Limited(Down):
    """Stripe asked for fewer requests (429)."""

    result = "limited"


class Denied(StripeOutcome, Unavailable):
    """Stripe, or the account guard, does not let this key in: every event would fail, so everything stops."""

    result = "denied"
    definite = True

    def __init__(self, reason: str) -> None:
        super().__init__(reason, alarm=True)


def outcome_of(error: BaseException, call: str) -> StripeOutcome:
    """The outcome for what went wrong in `call`: an error of the SDK, or of aiohttp, that it let through."""
    if not isinstance(error, stripe.StripeError) or error.http_status is None:
        return Down(f"Stripe did not answer {call}: {_network_reason(error)}")
    return _answered(error, error.http_status, _story(error, call))


def _answered(error: stripe.StripeError, status: int, about: str) -> StripeOutcome:
    if isinstance(error, stripe.RateLimitError):
        return Limited(f"Stripe asks for fewer requests: {about}", wait=_retry_after(error.headers))
    if status == 409:
        return Conflict(f"Stripe is busy with the same object: {about}", definite=False)
    if isinstance(error, stripe.IdempotencyError):
        return Conflict(f"Stripe knows this idempotency key from another request: {about}", definite=True)
    if status in (401, 403):
        return Denied(f"Stripe denies STRIPE_SECRET_KEY this: {about}. Set a key that has the permission, and restart")
    if 400 <= status < 500:
        return Refused(f"Stripe refused {about}", _field(error, "code"))
    return _server_error(error, status, about)


def _server_error(error: stripe.StripeError, status: int, about: str) -> Down:
    """A 5xx, or a success whose body is no JSON (the SDK raises APIError for both).

    One that Stripe repeats from memory will not change under this key, nor will one that comes with
    `Stripe-Should-Retry: false`. Any other 500 is worth another try; if it stays, it counts as remembered.
    """
    if status < 400:
        return Down(f"Stripe's answer could not be read: {about}")
    headers = _lower(error.headers)
    remembered = headers.get("idempotent-replayed") == "true" or headers.get("stripe-should-retry") == "false"
    return Down(
        f"Stripe failed: {about}",
        wait=_retry_after(error.headers),
        definite=remembered or status == 500,
        again=not remembered,
    )


def _story(error: stripe.StripeError, call: str) -> str:
    """`products.create (HTTP 400, parameter_missing, request req_1): Missing required param: name.`"""
    request_id = _lower(error.headers).get("request-id")
    marks = [f"HTTP {error.http_status}", _field(error, "code"), request_id and f"request {request_id}"]
    return f"{call} ({', '.join(mark for mark in marks if mark)}){_stripes_words(error)}"


def _stripes_words(error: stripe.StripeError) -> str:
    """Stripe's own message. Without one, the SDK's text holds the raw body, and that belongs in no log."""
    words = _KEY.sub("(a key)", _field(error, "message") or "")
    if not words:
        return ""
    return ": " + (words if len(words) <= _LONGEST_MESSAGE else words[:_LONGEST_MESSAGE] + "…")


def _field(error: stripe.StripeError, name: str) -> str | None:
    """A field of the error object in Stripe's body (the SDK keeps `code` for some classes of error only)."""
    body = error.json_body.get("error") if isinstance(error.json_body, dict) else None
    value = body.get(name) if isinstance(body, dict) else None
    return value if isinstance(value, str) else None


def _network_reason(error: BaseException) -> str:
    cause = error.__cause__ if isinstance(error, stripe.StripeError) and error.__cause__ else error
    words = str(cause)
    return f"{type(cause).__name__}: {words}" if words else type(cause).__name__


def _retry_after(headers: Mapping[str, str] | None) -> float | None:
    """Seconds of Retry-After. Its other form, a date, is not one that Stripe sends."""
    value = _lower(headers).get("retry-after", "")
    return float(value) if re.fullmatch(r"\d+(\.\d+)?", value) else None


def _lower(headers: Mapping[str, str] | None) -> dict[str, str]:
    """The SDK hands on whatever its HTTP client gives, or a plain dict: names are compared without case."""
    return {name.lower(): value for name, value in (headers or {}).items()}

"""Stripe's refusals: what every layer of the local Stripe raises, and the JSON body a client reads.

A `Refusal` says whether the endpoint had begun to work (`began`), because only then does Stripe remember
the answer under the idempotency key (docs.stripe.com/api/idempotent_requests).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

INVALID = "invalid_request_error"
DOCS = "https://stripe.com/docs"


class Refusal(Exception):
    """An error answer: HTTP status, Stripe's type, code, message and param, extra headers, and `began`."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = INVALID,
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
        began: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind
        self.code = code
        self.param = param
        self.headers = dict(headers or {})
        self.began = began

    def body(self, log_url: str) -> dict[str, Any]:
        """Return the error object; a field that does not apply is left out, as at Stripe."""
        error: dict[str, Any] = {"message": self.message, "request_log_url": log_url, "type": self.kind}
        if self.code:
            error |= {"code": self.code, "doc_url": f"{DOCS}/error-codes/{self.code.replace('_', '-')}"}
        if self.param:
            error["param"] = self.param
        return {"error": error}


def invalid(message: str, param: str | None = None, code: str | None = None) -> Refusal:
    """Return the 400 for a parameter that does not pass validation: nothing began, nothing is remembered."""
    return Refusal(400, message, param=param, code=code)


def refused(message: str, param: str | None = None, code: str | None = None, status: int = 400) -> Refusal:
    """Return the refusal of an endpoint that looked at its objects first: remembered under the key."""
    return Refusal(status, message, param=param, code=code, began=True)


def unknown_parameters(names: list[str]) -> Refusal:
    """Return the 400 that names every parameter the endpoint does not know."""
    noun = "parameter" if len(names) == 1 else "parameters"
    return invalid(f"Received unknown {noun}: {', '.join(names)}", names[0], "parameter_unknown")


def missing_parameter(name: str) -> Refusal:
    """Return the 400 for a required parameter that was not sent."""
    return invalid(f"Missing required param: {name}.", name, "parameter_missing")


def rate_limited(retry_after: float | None = None) -> Refusal:
    """Return the 429 of the request rate limiter, which runs before the idempotency layer."""
    headers = {"Stripe-Rate-Limited-Reason": "global-rate"}
    if retry_after is not None:
        headers["Retry-After"] = f"{retry_after:g}"
    message = f"Request rate limit exceeded. Learn more about rate limits here {DOCS}/rate-limits."
    return Refusal(429, message, code="rate_limit", headers=headers)


def locked(status: int = 429) -> Refusal:
    """Return the lock timeout: another request holds the object (docs.stripe.com/rate-limits)."""
    message = (
        "This object cannot be accessed right now because another API request or Stripe process is currently "
        "accessing it. If you see this error intermittently, retry the request. If you see this error "
        "frequently and are making multiple concurrent requests to a single object, make your requests "
        f"serially or at a lower rate. For more details, see {DOCS}/rate-limits#object-lock-timeouts."
    )
    return Refusal(status, message, code="lock_timeout", headers={"Stripe-Should-Retry": "true"})


def key_in_use(key: str) -> Refusal:
    """Return the 409 for an idempotency key whose first request is still being worked on."""
    message = (
        "There is currently another in-progress request using this Idempotent Key (that probably means you "
        f"submitted twice, and the other request is still going through): {key}. Please try again later."
    )
    return Refusal(409, message, kind="idempotency_error", code="idempotency_key_in_use")


def server_error(status: int = 500) -> Refusal:
    """Return Stripe's own failure; a 500 is remembered under the idempotency key, a 503 is not."""
    message = "Sorry! There was an error while talking to one of our backends. Support has been notified."
    return Refusal(status, message, kind="api_error", began=status == 500)

"""The request rate limiter of an account: a token bucket (docs.stripe.com/rate-limits)."""

from __future__ import annotations

import time

from handlers.stripe.local.errors import rate_limited


class RequestLimit:
    """Allows `burst` requests at once (default: one second's worth) and `per_second` on the long run."""

    def __init__(self, per_second: float, burst: float | None = None, retry_after: float | None = None) -> None:
        self.per_second = per_second
        self.burst = per_second if burst is None else burst
        self.retry_after = retry_after
        self._tokens = self.burst
        self._filled = time.monotonic()

    def spend(self) -> None:
        """Count a request; raises Refusal (429) when there were too many."""
        now = time.monotonic()
        self._tokens = min(self.burst, self._tokens + (now - self._filled) * self.per_second)
        self._filled = now
        if self._tokens < 1:
            raise rate_limited(self.retry_after)
        self._tokens -= 1

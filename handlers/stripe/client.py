"""The one way to Stripe for every handler of the process: paced, retried, counted, and tied to one account.

    handler → Stripe.read / Stripe.write → account guard (once) → short retries → pace → SDK → aiohttp

The SDK (stripe 16) is used for its types and its encoding; the policy is here, because the SDK's own does not
retry a 429, never reads Retry-After, invents an idempotency key for a POST that has none, and lets aiohttp's
errors through when a body is cut (`AIOHTTPClient.request_async` reads it outside its `try`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, TypeVar

import aiohttp
import stripe
from prometheus_client import Counter
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt, stop_after_delay
from tenacity.wait import wait_exponential, wait_random

from handlers.stripe.account import Connections, claim
from handlers.stripe.errors import Denied, Down, Limited, Refused, StripeOutcome, outcome_of
from handlers.stripe.settings import StripeSettings
from worker import RateLimit

CALLS = Counter("hearken_stripe_calls", "Requests to Stripe, by result.", ["call", "result"])

_ATTEMPTS = 4
_NO_NEW_ATTEMPT_AFTER = 20.0
"""Seconds: with the default timeout, all tries of one call end well within a handler's 60."""
_LONGEST_WAIT = 5.0
"""Longest Retry-After, in seconds, that is waited for here; for longer ones the event is parked."""

_PAGE = 100
"""The most objects that Stripe puts on a page."""

T = TypeVar("T", bound=stripe.StripeObject)
Params = Mapping[str, Any]
Method = Callable[..., Awaitable[T]]


class Stripe:
    """A client of Stripe. `api` names the SDK's methods; `read` and `write` call them.

    In: validated settings, and the database that remembers the account. `first_wait` is the shortest pause
    between two tries, in seconds. To be closed with `close()`. Every failure is an outcome of `errors`.
    """

    def __init__(self, settings: StripeSettings, database: Connections, *, first_wait: float = 0.2) -> None:
        _quieten_sdk()
        self.settings = settings
        self._database = database
        self._pace = RateLimit(settings.rps)
        self._verification: asyncio.Task[str] | None = None
        self._growing_wait = wait_exponential(first_wait, max=_LONGEST_WAIT) + wait_random(0, first_wait)
        self._http = stripe.AIOHTTPClient(timeout=settings.timeout)
        self.api = stripe.StripeClient(
            settings.key.get_secret_value(),
            base_addresses={"api": settings.api_base},
            http_client=self._http,
            max_network_retries=0,
        ).v1

    async def close(self) -> None:
        """Give up an unfinished account check and close the connections."""
        if self._verification is not None:
            self._verification.cancel()
            await asyncio.wait([self._verification])
        await self._http.close_async()  # type: ignore[no-untyped-call]  # untyped in the SDK

    async def read(self, call: str, method: Method[T], *target: str, params: Params | None = None) -> T:
        """Call a reading `method` of `api` under the name `call` (for messages and metrics)."""
        await self.verify()
        return await self._patiently(call, method, *target, params=params)

    async def find(self, call: str, method: Method[T], *target: str) -> T | None:
        """As `read`; None for an object that Stripe does not know, or knows as deleted."""
        try:
            found = await self.read(call, method, *target)
        except Refused as error:
            if error.code == "resource_missing":
                return None
            raise
        if getattr(found, "id", None) != target[0]:
            raise Down(f"Stripe's answer to {call} is about another object than was asked for")
        return None if getattr(found, "deleted", None) is True else found

    async def list(
        self, call: str, method: Method[stripe.ListObject[T]], params: Params | None = None
    ) -> AsyncIterator[T]:
        """Every object of a list, page by page. (The SDK's own paging would evade our pace.)

        All of them, or an outcome: what is missing from the list is not at Stripe.
        """
        asked: dict[str, Any] = {"limit": _PAGE, **(params or {})}
        while True:
            page = await self.read(call, method, params=asked)
            _check_page(page, call, asked.get("starting_after"))
            for found in page.data:
                yield found
            if not page.has_more:
                return
            asked["starting_after"] = page.data[-1]["id"]

    async def write(self, call: str, method: Method[T], *target: str, params: Params, key: str) -> T:
        """Call a writing `method` under the idempotency key `key`, which all of its tries share."""
        if self._database.read_only:
            raise Denied(f"{call} was not sent to Stripe: this is a preview, which writes nothing")
        await self.verify()
        return await self._patiently(call, method, *target, params=params, options={"idempotency_key": key})

    async def verify(self) -> str:
        """The account this process works for, checked against the one the database belongs to.

        Asked of Stripe once: callers at the same time share one check, and a failed one is tried again by the
        next caller. Raises Denied for another account or mode, Down while Stripe is unreachable.
        """
        check = self._verification
        if check is None or (check.done() and (check.cancelled() or check.exception() is not None)):
            check = self._verification = asyncio.create_task(self._check_account())
        return await asyncio.shield(check)

    async def whose_key(self) -> str:
        """The id of the account that the key belongs to, whoever this database belongs to."""
        try:
            account = await self._patiently("account.retrieve", self.api.accounts.retrieve_current_async)
        except Refused as error:
            raise Denied(f"{error.reason}. Is STRIPE_API_BASE right?") from None
        return account.id

    async def _check_account(self) -> str:
        account = await self.whose_key()
        await claim(self._database, account, self.settings.mode)
        return account

    async def _patiently(self, call: str, method: Method[T], *target: str, **request: Any) -> T:
        """One call in a few tries, all with the same idempotency key."""
        retrying = AsyncRetrying(
            retry=retry_if_exception(_worth_another_try),
            stop=stop_after_attempt(_ATTEMPTS) | stop_after_delay(_NO_NEW_ATTEMPT_AFTER),
            wait=self._wait,
            reraise=True,
        )
        return await retrying(self._once, call, method, *target, **request)

    async def _once(self, call: str, method: Method[T], *target: str, **request: Any) -> T:
        """One request. The cause is left out of what is raised: it may hold a body, or parts of a key."""
        await self._pace.turn()
        try:
            answer = await method(*target, **request)
            if not isinstance(answer, stripe.StripeObject) or "object" not in answer:
                raise Down(f"Stripe's answer to {call} is not one of its objects")
        except (stripe.StripeError, aiohttp.ClientError, OSError, StripeOutcome) as error:
            outcome = error if isinstance(error, StripeOutcome) else outcome_of(error, call)
            self._note(outcome)
            CALLS.labels(call, outcome.result).inc()
            raise outcome from None
        CALLS.labels(call, "ok").inc()
        return answer

    def _note(self, outcome: StripeOutcome) -> None:
        """What one caller's failure means for the others."""
        if isinstance(outcome, Limited) and outcome.wait is not None:
            self._pace.hold(min(outcome.wait, _LONGEST_WAIT))
        if isinstance(outcome, Denied) and self._verification is not None and self._verification.done():
            self._verification = None

    def _wait(self, state: RetryCallState) -> float:
        """Seconds until the next try: what Stripe asks for, else growing and jittered."""
        outcome = state.outcome and state.outcome.exception()
        if isinstance(outcome, StripeOutcome) and outcome.wait is not None:
            return outcome.wait
        return self._growing_wait(state)


def _check_page(page: stripe.ListObject[Any], call: str, after: str | None) -> None:
    """A list ends where its page says so, in so many words; anything else is half an answer. Raises Down."""
    rows, more = getattr(page, "data", None), getattr(page, "has_more", None)
    sound = getattr(page, "object", None) == "list" and isinstance(rows, list) and isinstance(more, bool)
    # A page that ends where the one before it ended would be asked for again and again.
    if not sound or (more and (not rows or getattr(rows[-1], "id", None) in (None, after))):
        raise Down(f"Stripe's answer to {call} is no page of a list, or does not say where the list ends")


def _worth_another_try(error: BaseException) -> bool:
    return isinstance(error, StripeOutcome) and error.again and (error.wait or 0) <= _LONGEST_WAIT


def _quieten_sdk() -> None:
    """No telemetry (it writes a file into the home directory), and no bodies or messages in the log."""
    stripe.enable_telemetry = False
    logging.getLogger("stripe").setLevel(logging.WARNING)


def request_id(answer: stripe.StripeObject) -> str | None:
    """Stripe's id of the request that `answer` came with."""
    return answer.last_response.request_id if answer.last_response else None


def from_memory(answer: stripe.StripeObject) -> bool:
    """Whether Stripe repeated the stored answer of an idempotency key, which may be out of date by now."""
    headers = answer.last_response.headers if answer.last_response else {}
    return headers.get("Idempotent-Replayed", headers.get("idempotent-replayed")) == "true"

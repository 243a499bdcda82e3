"""The one way to the CRM for every handler of the process: paced, retried, counted, and bounded in time and size.

    matching, sync → Crm.rows → paging → short retries → pace → aiohttp → PostgREST

Only reads: asking twice does no harm.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import aiohttp
from prometheus_client import Counter
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt, stop_after_delay
from tenacity.wait import wait_exponential, wait_random

from handlers.packages.errors import PAST_THE_END, CrmOutcome, Down, Limited, Refused, error_code, no_answer, outcome_of
from handlers.packages.paging import END, Page, next_question, read_range
from handlers.packages.settings import CrmSettings
from worker import RateLimit

CALLS = Counter("hearken_crm_calls", "Requests to the CRM, by result.", ["table", "result"])

_ATTEMPTS = 4
_NO_NEW_ATTEMPT_AFTER = 20.0
"""Seconds: with the default timeout, all tries of one call end well within a handler's 60."""
_LONGEST_WAIT = 5.0
"""Longest Retry-After, in seconds, that is waited for here; for longer ones the event is parked."""
_LARGEST_BODY = 16 * 2**20
"""Bytes of one page: a thousand rows of a few hundred bytes are far below."""
_MOST_PAGES = 100


class Crm:
    """A client of the CRM. In: settings with an address and a key. To be closed with `close()`.

    page        rows asked for at once; the CRM may give fewer
    first_wait  the shortest pause between two tries, in seconds
    Every failure is an outcome of `errors`.
    """

    def __init__(self, settings: CrmSettings, *, page: int = 1000, first_wait: float = 0.2) -> None:
        if settings.url is None or settings.key is None:
            raise ValueError("a client of the CRM needs its address and its key")
        self.settings = settings
        self._base = f"{settings.url}/rest/v1"
        self._page = page
        self._pace = RateLimit(settings.rps)
        self._growing_wait = wait_exponential(first_wait, max=_LONGEST_WAIT) + wait_random(0, first_wait)
        key = settings.key.get_secret_value()
        self._session = aiohttp.ClientSession(
            headers={"apikey": key, "Authorization": f"Bearer {key}", "Accept": "application/json"},
            timeout=aiohttp.ClientTimeout(total=settings.timeout),
            connector=aiohttp.TCPConnector(limit=50),
        )

    def __repr__(self) -> str:
        return f"Crm({self.settings.url!r})"

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def rows(self, table: str, columns: str, conditions: Mapping[str, str]) -> list[dict[str, Any]]:
        """Every row of `table` that fulfils the conditions (column → PostgREST operator and value), by its id.

        All of them or an outcome: what is missing from the list is not in the CRM.
        """
        question = {**conditions, "select": columns, "order": "id.asc", "limit": str(self._page)}
        found: list[dict[str, Any]] = []
        for _ in range(_MOST_PAGES):
            page = await self._patiently(table, question)
            found += page.rows
            if page.last:
                return found
            question = next_question(question, conditions, page)
        raise Refused(f"the CRM has more than {_MOST_PAGES} pages of {table} for one question")

    async def shows_any(self, table: str) -> bool:
        """Whether `table` has a row that this key may see."""
        return bool((await self._patiently(table, {"select": "id", "limit": "1"})).rows)

    async def ping(self) -> None:
        """Ask the smallest question there is. Raises an outcome when the CRM is not there, or not for this key."""
        await self._once("customers", {"select": "id", "limit": "1"})

    async def _patiently(self, table: str, question: Mapping[str, str]) -> Page:
        """One page in a few tries."""
        retrying = AsyncRetrying(
            retry=retry_if_exception(_worth_another_try),
            stop=stop_after_attempt(_ATTEMPTS) | stop_after_delay(_NO_NEW_ATTEMPT_AFTER),
            wait=self._wait,
            reraise=True,
        )
        return await retrying(self._once, table, question)

    async def _once(self, table: str, question: Mapping[str, str]) -> Page:
        """One request. The cause is left out of what is raised: it may hold an address with values in it."""
        await self._pace.turn()
        try:
            page = await self._ask(table, question)
        except CrmOutcome as outcome:
            if isinstance(outcome, Limited) and outcome.wait is not None:
                self._pace.hold(min(outcome.wait, _LONGEST_WAIT))
            CALLS.labels(table, outcome.result).inc()
            raise
        CALLS.labels(table, "ok").inc()
        return page

    async def _ask(self, table: str, question: Mapping[str, str]) -> Page:
        try:
            async with self._session.get(
                f"{self._base}/{table}", params=question, headers={"Prefer": "count=exact"}, allow_redirects=False
            ) as answer:
                body = await _read(answer, table)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise no_answer(table, error) from None
        if answer.status == 416 and error_code(body) == PAST_THE_END:
            return END
        if answer.status not in (200, 206):
            raise outcome_of(table, answer.status, answer.headers, body)
        return _page(table, answer.headers.get("Content-Range", ""), body)

    def _wait(self, state: RetryCallState) -> float:
        """Seconds until the next try: what the CRM asks for, else growing and jittered."""
        outcome = state.outcome and state.outcome.exception()
        if isinstance(outcome, CrmOutcome) and outcome.wait is not None:
            return outcome.wait
        return self._growing_wait(state)


def _worth_another_try(error: BaseException) -> bool:
    return isinstance(error, CrmOutcome) and error.again and (error.wait or 0) <= _LONGEST_WAIT


async def _read(answer: aiohttp.ClientResponse, table: str) -> bytes:
    """The whole body. Raises Refused for one that no page of ours can have."""
    body = bytearray()
    async for part in answer.content.iter_chunked(2**16):
        body += part
        if len(body) > _LARGEST_BODY:
            raise Refused(f"the CRM's answer about {table} is larger than {_LARGEST_BODY >> 20} MB")
    return bytes(body)


def _page(table: str, content_range: str, body: bytes) -> Page:
    """What a success says. Raises Down when it cannot be read: a gateway's page, or half an answer."""
    try:
        rows = json.loads(body, parse_float=Decimal)
        return read_range(rows, content_range)
    except ValueError:
        raise Down(f"the CRM's answer about {table} could not be read") from None

"""What the CRM's failures mean for an event: each becomes an outcome of the engine's closed set.

    worker.outcomes             here          when
    ├── Park                    Refused       the CRM refuses this one question, or a row of it does not fit
    └── Unavailable             Down          no answer, half an answer, a 5xx, or a 429
        └── with alarm=True     Denied        401, 403, a redirect, or a table or column that is not there

The client only reads, so any of it may be tried again. Messages carry the code of PostgREST or Postgres
(https://docs.postgrest.org/en/v12/references/errors.html), never its texts, because those quote values.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from pydantic import ValidationError

from worker import Outcome, Park, Unavailable

_CODE = re.compile(r"[A-Z0-9]{5,8}")
# Of Postgres: no such table, no such column; of PostgREST: no such table, column or relation in its schema cache.
_UNFIT = frozenset({"42P01", "42703", "PGRST106", "PGRST200", "PGRST204", "PGRST205"})
PAST_THE_END = "PGRST103"


class CrmOutcome(Outcome):
    """What all of the CRM's failures share.

    result  a word for the metric of calls
    again   a short retry is worth it
    wait    seconds after which the CRM asks to be called again (Retry-After), if it said so
    """

    result = "error"
    again = False
    wait: float | None = None


class Refused(CrmOutcome, Park):
    """The CRM refused the question as it is, or its answer does not fit: a person must look."""

    result = "refused"


class Down(CrmOutcome, Unavailable):
    """The CRM did not answer, answered with half a message, failed, or asked to be left alone for a while."""

    result = "down"
    again = True

    def __init__(self, reason: str, *, wait: float | None = None) -> None:
        super().__init__(reason, after=wait)
        self.wait = wait


class Limited(Down):
    """The CRM asked for fewer requests (429)."""

    result = "limited"


class Denied(CrmOutcome, Unavailable):
    """The CRM does not let this key in, or is not the one that is expected: every event would fail."""

    result = "denied"

    def __init__(self, reason: str) -> None:
        super().__init__(reason, alarm=True)


def outcome_of(call: str, status: int, headers: Mapping[str, str], body: bytes) -> CrmOutcome:
    """The outcome for an answer to `call` that is not a success."""
    code = error_code(body)
    about = f"{call} (HTTP {status}{f', {code}' if code else ''})"
    if status == 429:
        return Limited(f"the CRM asks for fewer requests: {about}", wait=_retry_after(headers))
    if status >= 500 or status == 408:
        return Down(f"the CRM failed: {about}", wait=_retry_after(headers))
    if status in (401, 403):
        return Denied(f"the CRM denies CRM_SUPABASE_KEY this: {about}. Set a key that has the permission, and restart")
    if 300 <= status < 400 or (status == 404 and code is None):
        return Denied(f"there is no PostgREST at CRM_SUPABASE_URL: {about}. Is it the project's address?")
    if code in _UNFIT or status == 404:
        return Denied(f"the CRM lacks a table or column that is needed: {about}. The README of this system lists them")
    return Refused(f"the CRM refused {about}")


def no_answer(call: str, error: BaseException) -> Down:
    """The outcome when the connection failed, was cut, or took too long."""
    return Down(f"the CRM did not answer {call}: {type(error).__name__}")


def unfit_row(table: str, row: Mapping[str, object], error: ValidationError) -> Refused:
    """The outcome for a row of the CRM that is not as it should be: which one, and what of it, without its values."""
    wrong = ", ".join(sorted({".".join(map(str, problem["loc"])) for problem in error.errors(include_input=False)}))
    return Refused(f"a row of the CRM's {table} does not fit (id {row.get('id')}): {wrong}. Fix it there")


def error_code(body: bytes) -> str | None:
    """The code in PostgREST's error body; None when it is no such body."""
    try:
        document = json.loads(body)
    except ValueError:
        return None
    code = document.get("code") if isinstance(document, dict) else None
    return code if isinstance(code, str) and _CODE.fullmatch(code) else None


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds of Retry-After, in either of its forms; None when it is neither."""
    value = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"\d+(\.\d+)?", value):
        return float(value)
    try:
        then = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (then.replace(tzinfo=then.tzinfo or UTC) - datetime.now(UTC)).total_seconds())

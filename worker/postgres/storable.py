"""What Postgres can store of whatever user code hands over: the border between a handler's words and our tables.

`deliver` and `operate` pass through here what they write of others. Nothing here raises for what it is given: one event
whose reason cannot be stored would roll back everybody's batch.
"""

from __future__ import annotations

import json
import math
import re
import traceback
from collections.abc import Mapping
from typing import Any

# Characters. A reason is read in a list, a traceback and what an effect changed by one who looks.
LONGEST_REASON = 2_000
LONGEST_TRACE = 32_000
LONGEST_VALUE = 100_000
LONGEST_DOCUMENT = 1_000_000
# Text of Postgres holds no NUL, and UTF-8 no half of a surrogate pair. What is escaped stays readable.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def storable_text(value: object, most: int = LONGEST_REASON) -> str:
    """The value's text as Postgres can store it, at most about `most` characters: of longer ones the middle goes."""
    try:
        text = value if type(value) is str else str(value)
    except BaseException:  # an object's own code, which may raise anything
        return f"({type(value).__name__}, which cannot be shown)"
    if len(text) > most:
        text = f"{text[: most // 2]} … ({len(text) - most:,} characters left out) … {text[-(most // 2) :]}"
    return _UNSTORABLE.sub(lambda found: ascii(found[0])[1:-1], text)


def storable_trace(error: BaseException) -> str:
    """The traceback of an exception, with its causes. It may hold row values: it belongs in tables alone."""
    try:
        text = "".join(traceback.format_exception(error))
    except BaseException as failure:  # the exception's own code, or no memory for its text
        text = f"{type(error).__name__}, whose traceback cannot be shown ({type(failure).__name__})"
    return storable_text(text, LONGEST_TRACE)


def storable_json(value: Any) -> str:
    """JSON of the value, for a json or jsonb column. What JSON cannot hold is in it as text."""
    try:
        document = json.dumps(_plain(value), allow_nan=False)
    except BaseException:  # nested too deeply, a circle, an integer of too many digits, an object's own code
        document = None
    if document is None or len(document) > LONGEST_DOCUMENT:
        return json.dumps(storable_text(value))
    return document


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, Mapping):
        return {storable_text(name): _plain(member) for name, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(member) for member in value]
    return storable_text(value, LONGEST_VALUE)

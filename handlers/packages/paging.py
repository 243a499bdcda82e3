"""From page to page of a PostgREST table, by key: pure, below `client`.

How many rows come is the server's to decide (`max-rows`), so a short page says nothing. What ends a list is a page
with as many rows as `Content-Range` counts behind the last key, a page with none, or 416 with PGRST103. By key and
not by offset: rows that come or go meanwhile move no others to a page that was read already.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_RANGE = re.compile(r"(?:(\d+)-(\d+)|\*)/(\d+|\*)")


@dataclass(frozen=True)
class Page:
    """Rows in the order of their ids, and whether they are the last."""

    rows: list[dict[str, Any]]
    last: bool


END = Page([], last=True)


def read_range(rows: Any, content_range: str) -> Page:
    """The page of a decoded body and its Content-Range header. Raises ValueError when the two do not fit together."""
    if not isinstance(rows, list) or not all(isinstance(row, dict) and row.get("id") is not None for row in rows):
        raise ValueError("not a list of rows with ids")
    said = _RANGE.fullmatch(content_range)
    if said is None:
        raise ValueError("no Content-Range")
    first, last, total = said.groups()
    if len(rows) != (0 if first is None else int(last) - int(first) + 1):
        raise ValueError("not as many rows as the header says")
    if first is not None and int(first) > 0:
        raise ValueError("not from the first row on")
    if total == "*":  # not counted: only an empty page is the end
        return Page(rows, last=not rows)
    if not rows and int(total) > 0:
        raise ValueError("no rows, though there are some")
    return Page(rows, last=len(rows) >= int(total))


def next_question(question: Mapping[str, str], conditions: Mapping[str, str], page: Page) -> dict[str, str]:
    """The question for what follows the page. `conditions` are the caller's own, and must not be about the id."""
    if "id" in conditions:
        raise ValueError("paging is by id: no other condition may be on it")
    return {**question, "id": f"gt.{page.rows[-1]['id']}"}

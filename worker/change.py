"""One event as a handler sees it: read from the log, before it is delivered."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from typing import Any, Literal

Op = Literal["insert", "update", "delete", "truncate", "snapshot", "tick", "request"]
Row = dict[str, Any]
Identity = tuple[str, str | None]

LONGEST_INTEGER = 4_300
"""Digits that Python makes an int of: https://docs.python.org/3/library/stdtypes.html#int-max-str-digits"""
# A string, or what gives JSON its shape.
TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[\]{},]')


def parse(document: str | None) -> Any:
    """JSON to Python; numbers with a fraction become Decimal, because some of them are money.

    A member that Python cannot hold (nested too deeply) is its JSON as text, so that the others can be read; an integer
    of thousands of digits is a Decimal.
    """
    if document is None:
        return None
    try:
        return json.loads(document, parse_float=Decimal)
    except (ValueError, RecursionError):
        return _member_by_member(document)


def _member_by_member(document: str) -> Any:
    """What is an object by its members, each for itself; anything else whole, as text if need be."""
    if document.lstrip()[:1] != "{":
        return _readable(document)
    return {json.loads(name): _readable(value) for name, value in members(document).items()}


def _readable(document: str) -> Any:
    try:
        return json.loads(document, parse_float=Decimal, parse_int=_integer)
    except RecursionError:
        return document


def _integer(digits: str) -> int | Decimal:
    return int(digits) if len(digits) < LONGEST_INTEGER else Decimal(digits)


def former(op: str, old: str | None, new: str | None) -> str | None:
    """`old` without the columns that are the same in `new`, both JSON as it stands in the log.

    For an update the log holds whole rows. They are compared as they are written, so that whatever JSON Postgres takes
    can be compared, and 1 is not true.
    """
    if op != "update" or old is None or new is None:
        return old
    present = members(new)
    differing = [f"{name}:{value}" for name, value in members(old).items() if present.get(name) != value]
    return "{" + ",".join(differing) + "}"


def members(document: str) -> dict[str, str]:
    """Name to value of a JSON object, each as it is written: without recursion, however deep values are."""
    found: dict[str, str] = {}
    depth, name, begins = 0, "", 0
    for token in TOKEN.finditer(document):
        kind = token[0][0]
        if depth == 1 and kind == '"' and not name:
            name, begins = token[0], document.index(":", token.end()) + 1
        elif depth == 1 and kind in ",}" and name:
            found[name] = document[begins : token.start()].strip()
            name = ""
        if kind in "[{":
            depth += 1
        elif kind in "]}":
            depth -= 1
    return found


def changed_columns(op: str, old: Any, new: Any) -> dict[str, list[Any]]:
    """Column → [before, after]: what an update has changed, what an insert brought and a delete took away."""
    if op == "update" and isinstance(old, dict) and isinstance(new, dict):
        return {column: [before, new.get(column)] for column, before in old.items()}
    row, before = (old, True) if new is None else (new, False)
    if not isinstance(row, dict):
        return {}
    return {column: [value, None] if before else [None, value] for column, value in row.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class Change:
    """An event of the log.

    id         its place in the log; for one key, ids are in commit order
    at         when it was captured, or appended (UTC)
    topic      `schema.table` for a change, `tick/NAME`, `request/NAME`
    op         insert, update, delete, truncate, snapshot, tick or request
    key        the row's primary key as text (a JSON array when it has several columns); None for truncate
    attempt    1 for the first delivery
    replay_of  the id of the event that this one repeats, if any
    old_json   the former row, or a part of it, as it stands in the log; `old` is what differs
    """

    id: int
    at: datetime
    topic: str
    op: Op
    key: str | None
    attempt: int = 1
    replay_of: int | None = None
    old_json: str | None = None
    new_json: str | None = None
    note_json: str | None = None

    def __repr__(self) -> str:
        return f"Change(id={self.id}, topic={self.topic!r}, op={self.op!r}, key={self.key!r}, attempt={self.attempt})"

    @property
    def identity(self) -> Identity:
        """What events are ordered by: those of one topic and key are delivered one after the other."""
        return self.topic, self.key

    @cached_property
    def new(self) -> Row | None:
        """The row after the change; None for a delete. Parsed on first use, so an unread row costs nothing."""
        row: Row | None = parse(self.new_json)
        return row

    @cached_property
    def old(self) -> Row | None:
        """For an update the former values of the columns that differ, for a delete the whole row, else None."""
        row: Row | None = parse(self.former_json)
        return row

    @property
    def former_json(self) -> str | None:
        """`old` as JSON."""
        return former(self.op, self.old_json, self.new_json)

    @cached_property
    def due(self) -> datetime | None:
        """For a tick, when it was due (UTC), which may be a while before it came; None for any other event."""
        return datetime.fromisoformat(self.new["due"]) if self.op == "tick" and self.new is not None else None

    @cached_property
    def note(self) -> Any:
        """What the application put into the setting `hearken.note` (who, why), or None."""
        return parse(self.note_json)

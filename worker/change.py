"""One event as a handler sees it: read from the log, before it is delivered."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
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
_MARKS = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]')


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
    return {json.loads(name): _readable(value) for name, value in _members(document)}


def _readable(document: str) -> Any:
    try:
        return json.loads(document, parse_float=Decimal, parse_int=_integer)
    except RecursionError:
        return document


def _integer(digits: str) -> int | Decimal:
    return int(digits) if len(digits) < LONGEST_INTEGER else Decimal(digits)


def _members(document: str) -> Iterator[tuple[str, str]]:
    """Name and value of each member of an object, as JSON: without recursion, however deep it is."""
    depth, begin, name = 0, 0, ""
    for found in _MARKS.finditer(document):
        mark = found[0]
        if depth == 1 and mark == ":":
            name, begin = document[begin : found.start()].strip(), found.end()
        elif depth == 1 and mark in ",}" and name:
            yield name, document[begin : found.start()].strip()
            name, begin = "", found.end()
        depth += (mark in "{[") - (mark in "}]")
        if depth == 1 and mark == "{" and not name:
            begin = found.end()


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
        row: Row | None = parse(self.old_json)
        return row

    @cached_property
    def due(self) -> datetime | None:
        """For a tick, when it was due (UTC), which may be a while before it came; None for any other event."""
        return datetime.fromisoformat(self.new["due"]) if self.op == "tick" and self.new is not None else None

    @cached_property
    def note(self) -> Any:
        """What the application put into the setting `hearken.note` (who, why), or None."""
        return parse(self.note_json)

"""How a demo prints what happened: events and effects as lines of text. Pure; `demo` prints them."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from worker.change import Change, changed_columns

WIDTH = 110
LABEL = 12


def of_event(change: Change, watched: Collection[str] | None) -> Iterator[str]:
    """One captured event: what it is, and each watched column (None: every one) that has changed."""
    yield f"event {change.id}: {change.op} of {change.topic} {change.key}"
    columns = {name: pair for name, pair in _columns(change).items() if watched is None or name in watched}
    yield ", ".join(_changed(name, pair) for name, pair in columns.items())


def of_effect(effect: Mapping[str, Any], committed_at: datetime) -> Iterator[str]:
    """One row of hearken.effects: the step, the object, when, and the object's fields that have changed."""
    yield f"{effect['step']} {effect['object_id'] or ''}, {_after(effect['ended_at'], committed_at)}"
    yield ", ".join(_changed(name, pair) for name, pair in (effect["changed"] or {}).items())


def of_delivery(handler: str, events: Sequence[Change], done_at: datetime, committed_at: datetime) -> str:
    """That a handler is done with what was captured."""
    ids = ", ".join(str(change.id) for change in events)
    return f"{handler} done with event {ids}, {_after(done_at, committed_at)}"


def labelled(label: str, line: str) -> str:
    """A line (or the lines it is broken into) in the column right of the label."""
    margin = " " * LABEL
    wrapped = textwrap.wrap(line, WIDTH - LABEL, break_long_words=False, break_on_hyphens=False)
    return f"  {label:<{LABEL - 2}}" + f"\n{margin}".join(wrapped)


def _after(moment: datetime, committed_at: datetime) -> str:
    return f"{(moment - committed_at) / timedelta(milliseconds=1):.1f} ms after the commit"


def _columns(change: Change) -> dict[str, tuple[Any, Any]]:
    """(before, after) of each column that an update has changed; else (null, value) of each that has a value."""
    columns = changed_columns(change.op, change.old, change.new)
    if change.op == "update":
        return {name: (before, after) for name, (before, after) in columns.items()}
    return {name: (None, before if after is None else after) for name, (before, after) in columns.items()}


def _changed(name: str, pair: Sequence[Any]) -> str:
    before, after = pair
    if before is None:
        return f"{name} {_literal(after)}"
    return f"{name} {_literal(before)} → {_literal(after)}"


def _literal(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return f"'{value}'" if isinstance(value, str) else str(value)

"""How commands print: aligned text for people, JSON for programs."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields as dataclass_fields
from dataclasses import is_dataclass
from datetime import datetime
from typing import Any

import click

LONGEST = 300


def print_json(value: Any) -> None:
    """One JSON document on one line, in ASCII; times are ISO 8601, dataclasses objects, what JSON lacks (NaN) text."""
    click.echo(_dumps(value, _plain, ascii_only=True))


def print_table(headings: Sequence[str], rows: Sequence[Sequence[object]], *, err: bool = False) -> None:
    """Columns as wide as what is in them; numbers to the right, None as a dash. Drawn by rich on a terminal."""
    texts = [[_text(value) for value in row] for row in rows]
    numeric = [any(isinstance(row[i], int) for row in rows) for i in range(len(headings))]
    if (sys.stderr if err else sys.stdout).isatty():
        return _draw(headings, texts, numeric, err=err)
    widths = [max(map(len, column)) for column in zip(headings, *texts, strict=True)]
    for line in [list(headings), *texts]:
        cells = [
            text.rjust(width) if number else text.ljust(width)
            for text, width, number in zip(line, widths, numeric, strict=True)
        ]
        click.echo("  ".join(cells).rstrip(), err=err)
    return None


def _draw(headings: Sequence[str], texts: Sequence[Sequence[str]], numeric: Sequence[bool], *, err: bool) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD)
    for heading, number in zip(headings, numeric, strict=True):
        table.add_column(heading, justify="right" if number else "left", overflow="fold")
    for row in texts:
        table.add_row(*map(Text, row))  # what is in a cell is no markup
    Console(stderr=err).print(table)


def printable(text: str) -> str:
    """A key, a document or a message as somebody wrote it, with terminal control characters escaped."""
    return text if text.isprintable() else json.dumps(text)


def fields(changed: Mapping[str, Iterable[Any]]) -> str:
    """What differs: field → (before, after)."""
    pairs = ((name, *pair) for name, pair in changed.items())
    return ", ".join(f"{name} {value_of(before)} → {value_of(after)}" for name, before, after in pairs)


def value_of(value: Any) -> str:
    """A value on one line, shortened, with terminal control characters escaped."""
    text = "-" if value is None else _dumps(value, str)
    text = text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
    return text if text.isprintable() else ascii(text)


def visible(line: str) -> str:
    """The line with terminal control characters escaped."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)


def _text(value: object) -> str:
    return "-" if value is None else printable(str(value))


def _dumps(value: Any, plain: Callable[[object], Any], *, ascii_only: bool = False) -> str:
    before = sys.getrecursionlimit()
    # What could be read, level by level, can be written: `_finite` takes three calls for each.
    sys.setrecursionlimit(4 * before)
    try:
        return json.dumps(value, default=plain, ensure_ascii=ascii_only, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(value), default=plain, ensure_ascii=ascii_only)
    finally:
        sys.setrecursionlimit(before)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if is_dataclass(value):
        value = _plain(value)
    if isinstance(value, Mapping):
        return {name: _finite(member) for name, member in value.items()}
    return [_finite(member) for member in value] if isinstance(value, (list, tuple)) else value


def _plain(value: object) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclass_fields(value)}
    return value.isoformat() if isinstance(value, datetime) else str(value)

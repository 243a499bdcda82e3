"""How commands print: aligned text for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import click

LONGEST = 300


def print_json(value: Any) -> None:
    """One JSON document on one line; times are ISO 8601."""
    text = json.dumps(value, default=_plain, ensure_ascii=False)
    # Half of a surrogate pair, which JSON may have and UTF-8 may not, can only be shown escaped.
    odd = any("\ud800" <= character <= "\udfff" for character in text)
    click.echo(json.dumps(value, default=_plain) if odd else text)


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
    text = "-" if value is None else json.dumps(value, ensure_ascii=False, default=str)
    text = text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
    return text if text.isprintable() else ascii(text)


def _text(value: object) -> str:
    return "-" if value is None else str(value)


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)

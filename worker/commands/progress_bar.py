"""Progress of a long command: a bar on standard error if that is a terminal, nothing otherwise."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Takes how much is done, of how much (None: unknown), and a label.
Tell = Callable[[int, int | None, str | None], None]


@contextmanager
def progress(title: str) -> Iterator[Tell]:
    """Draw a bar while the block runs; call the yielded function to move it."""
    if not sys.stderr.isatty():
        yield lambda _done, _total, _text: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.fields[text]}"), console=Console(stderr=True)) as drawn:
        task = drawn.add_task(title, total=None, text="")
        yield lambda done, total, text: drawn.update(task, completed=done, total=total, text=text or "")

"""What `hearken replay` prints about a run, during it and at its end.

The JSON output is one document, written piece by piece: the events of a long run are not kept in memory.
"""

from __future__ import annotations

import json
from collections import Counter

import click

from worker.commands.output import printable
from worker.commands.progress_bar import Tell
from worker.operate.replay import Chunk, Replay
from worker.operate.selection import SelectionCount

# At most this many appended events are listed for people; beyond that, only their number is printed.
LISTED = 20


class Told:
    """Reports what happens to one run. `events` counts what was appended by this command."""

    def __init__(self, run: Replay, count: SelectionCount, *, as_json: bool) -> None:
        self.run = run
        self.events = 0
        self._count = count
        self._json = as_json
        self._last = run.after
        self._handlers: Counter[str] = Counter(dict.fromkeys(count.handlers, 0))
        self._waited: list[str] = []

    @property
    def complete(self) -> bool:
        """Whether every chosen event was dealt with."""
        return self._last >= self._count.last

    def nothing_to_do(self, negative: int) -> int:
        """There is no event to append; the exit code is `negative`, or 0 when the run is complete already."""
        if self._json:
            self.begins()
            self._end_document()
        if self.run.id:
            click.echo(f"replay {self.run.id} is complete: nothing is left to append", err=True)
            return 0
        click.echo("no event matches: nothing was replayed", err=True)
        return negative

    def begins(self) -> None:
        """The run is known: say how to resume it, whatever happens."""
        if self._json:
            click.echo(f'{{"run": {self.run.id or "null"}, "events": [', nl=False)
        if self.run.id and self._count.events > LISTED:
            click.echo(f"replay {self.run.id}; if interrupted, resume with: {self._command}", err=True)

    def appended(self, chunk: Chunk) -> None:
        """A chunk is committed."""
        for event in chunk.events:
            self._handlers.update(event["heard"])
            if self._json:
                said = {name: event[name] for name in ("id", "replay_of", "topic", "key")}
                click.echo((", " if self.events else "") + json.dumps(said, ensure_ascii=False), nl=False)
            elif self._count.events <= LISTED:
                click.echo(
                    f"{event['id']}  replay of {event['replay_of']}  {event['topic']}  {printable(event['key'] or '-')}"
                )
            self.events += 1
        self._last = chunk.last

    def waits(self, names: list[str], tell: Tell) -> None:
        """The handlers have not delivered what was appended: printed once as text, or shown on the bar."""
        tell(self.events, self._count.events, f"waiting for {', '.join(names)}")
        if names != self._waited:
            self._waited = names
            click.echo(f"waiting for {', '.join(names)} (see `hearken status`)", err=True)

    def ended(self, code: int) -> int:
        """All is appended, or it was interrupted; returns the exit code."""
        if self._json:
            self._end_document()
        whom = ", ".join(f"{name} ({count:,})" for name, count in self._handlers.items() if count or not code)
        if self.complete:
            click.echo(f"{self.events:,} appended, for {whom}", err=True)
        else:
            done = f"{self.events:,} of {self._count.events:,} appended, up to event {self._last}"
            click.echo(f"interrupted: {done}; resume with: {self._command}", err=True)
        return code

    @property
    def _command(self) -> str:
        return f"hearken replay --run {self.run.id} --yes"

    def _end_document(self) -> None:
        left = 0 if self.complete else self._count.events - self.events
        rest = {"appended": self.events, "left": left, "handlers": self._handlers}
        click.echo(f"], {json.dumps(rest).removeprefix('{')}")

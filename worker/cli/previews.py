"""`--dry-run`: print, per key, what handlers would do outside."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict

import click

from worker.cli.failures import NEGATIVE
from worker.cli.output import print_json
from worker.cli.session import serving
from worker.plans import Planned
from worker.preview import UNKNOWN, Preview, check_previewable, preview
from worker.registry import Registry

# Events by their id, with topic and key, for each handler that would hear them.
Heard = Iterable[tuple[int, str, str | None]]


async def show_previews(registry: Registry, heard: Mapping[str, Heard], *, as_json: bool) -> int:
    """Print what each handler would do for the newest of its events of each key; returns the exit code.

    0, or 1 when it cannot be said of some key. Raises UsageError for a handler that cannot be previewed, CheckFailed.
    """
    handlers = [registry.handlers[name] for name in heard]
    check_previewable(handlers)
    topics = {topic for handler in handlers for topic in handler.topics}
    counts: Counter[str] = Counter()
    async with serving(registry, "preview", topics, read_only=True) as services:
        for handler in handlers:
            for topic, ids in _newest(heard[handler.name]).items():
                async for found in preview(handler, topic, ids, services):
                    counts[found.action] += 1
                    _show(found, as_json=as_json)
    click.echo(f"nothing was done; would be: {', '.join(f'{n} {action}' for action, n in counts.items())}", err=True)
    return NEGATIVE if counts[UNKNOWN] else 0


def _newest(events: Heard) -> dict[str, Sequence[int]]:
    """By topic, the newest event of each key."""
    newest = {(topic, key): number for number, topic, key in sorted(events)}
    return {topic: sorted(n for (t, _), n in newest.items() if t == topic) for topic in {t for t, _ in newest}}


def _show(found: Preview, *, as_json: bool) -> None:
    if as_json:
        print_json(asdict(found))
        return
    reason = f": {found.reason}" if found.reason else ""
    click.echo(f"{found.topic} {found.key or '-'}  {found.action}  ({found.handler}, event {found.event_id}){reason}")
    for effect in found.effects:
        click.echo(f"  {effect.step} {effect.object or '(new)'}: {_fields(effect)}")


def _fields(effect: Planned) -> str:
    return ", ".join(f"{name} {_value(before)} → {_value(after)}" for name, (before, after) in effect.changed.items())


def _value(value: object) -> str:
    return "-" if value is None else repr(value)

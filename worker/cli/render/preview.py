"""`--dry-run`: print, per key, what handlers would do outside."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import click

from worker.commands.failures import NEGATIVE
from worker.commands.output import fields, print_json, visible
from worker.commands.session import serving
from worker.declare.registry import Registry
from worker.operate.preview import UNKNOWN, Preview, check_previewable, preview


async def show_previews(registry: Registry, newest: Mapping[str, Mapping[str, Sequence[int]]], *, as_json: bool) -> int:
    """Print what handlers would do; returns the exit code.

    newest  for each handler, by topic, the newest event of each key that it would get
    0, or 1 when some key's plan is unknown. Raises UsageError for a handler that cannot be previewed, CheckFailed.
    """
    handlers = [registry.handlers[name] for name in newest]
    check_previewable(handlers)
    topics = {handler.topic for handler in handlers}
    counts: Counter[str] = Counter()
    async with serving(registry, "preview", topics, read_only=True) as services:
        for handler in handlers:
            for topic, ids in newest[handler.name].items():
                async for found in preview(handler, topic, ids, services):
                    counts[found.action] += 1
                    _show(found, as_json=as_json)
    click.echo(f"nothing was done; planned: {', '.join(f'{n} {action}' for action, n in counts.items())}", err=True)
    return NEGATIVE if counts[UNKNOWN] else 0


def _show(found: Preview, *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    reason = f": {found.reason}" if found.reason else ""
    what = f"{found.topic} {found.key or '-'}  {found.action}  ({found.handler}, event {found.event_id}){reason}"
    click.echo(visible(what))
    for effect in found.effects:
        click.echo(visible(f"  {effect.step} {effect.object or '(new)'}: {fields(effect.changed)}"))

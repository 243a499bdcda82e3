"""How `hearken explain` prints a history: a line for each thing that happened, then how things stand now."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from worker.commands.output import fields, printable, value_of, visible
from worker.declare.reconciler import Drift, Standing
from worker.operate.explain import DeliveryState, History, TimelineEntry

COLOURS = {"change": "cyan", "replay": "magenta", "effect": "green", "parked": "yellow", "action": "blue"}
NOW = "bold"
BAD = "red"

Line = tuple[str, str]
"""A line and its colour, "" for none."""


def tell_story(history: History, looked: Sequence[tuple[str, Standing | None, str | None]]) -> None:
    """Print it, in colour on a terminal. looked: a system's name, what it says, or why it does not."""
    told = [*_happened(history), *_stands(history), *(line for one in looked for line in _outside(*one))]
    lines = [(visible(text), colour) for text, colour in told]
    if not sys.stdout.isatty():
        return click.echo("\n".join(text for text, _ in lines))
    from rich.console import Console
    from rich.text import Text

    console = Console(soft_wrap=True)
    for text, colour in lines:
        console.print(Text(text, style=colour))
    return None


def _happened(history: History) -> Iterator[Line]:
    yield f"{history.topic} {printable(history.key) if history.key is not None else ''}".rstrip(), "bold"
    if history.more:
        yield "… older ones are left out (--limit)", "dim"
    deliveries: dict[int, list[DeliveryState]] = {}
    for delivery in history.deliveries:
        deliveries.setdefault(delivery.event_id, []).append(delivery)
    for entry in history.timeline:
        bad = entry.facts.get("state") in ("failed", "unknown", "dead")
        yield f"{entry.at:%Y-%m-%d %H:%M:%S.%f}"[:-3] + f"  {_said(entry)}", BAD if bad else COLOURS[entry.kind]
        if entry.kind in ("change", "replay"):
            yield from ((f"{'':25}{_delivered(one)}", "dim") for one in deliveries.get(entry.event_id or 0, []))


def _said(entry: TimelineEntry) -> str:
    facts = entry.facts
    if entry.kind == "effect":
        return _effect(entry)
    if entry.kind == "parked":
        due = f", due {facts['due_at']:%Y-%m-%d %H:%M:%S}" if facts["state"] == "due" else ""
        failed = f"event {entry.event_id} parked by {facts['handler']}: {facts['state']}{due}"
        return f"{failed}, {facts['attempt']} attempts failed: {facts['reason'] or '-'}"
    if entry.kind == "action":
        about = f"event {entry.event_id} of {facts['handler']}" if entry.event_id else facts["handler"]
        return f"{facts['action']} {about or ''} by {facts['by']}{_because(facts['reason'])}"
    return _event(entry)


def _event(entry: TimelineEntry) -> str:
    facts = entry.facts
    note = facts.get("note")
    if entry.kind == "replay":
        said = facts["replay"] or {}
        whom = f" for {', '.join(facts['target'])}" if facts.get("target") else ""
        who = f" by {said['by']}" if said.get("by") else ""
        return f"event {entry.event_id}: replay of {facts['replay_of']}{whom}{who}{_because(said.get('reason'))}"
    parts = [f"event {entry.event_id}: {facts['op']}", fields(facts["changed"])]
    parts += [f"by handler {facts['origin']}"] if facts.get("origin") else []
    parts += [_noted(facts["op"], note)] if note is not None else []
    return "  ".join(part for part in parts if part)


def _noted(op: str, note: Any) -> str:
    """Who and why: for a snapshot in words, because the engine wrote it; otherwise the application's note as it is."""
    if op == "snapshot" and isinstance(note, dict):
        for work, said in note.items():
            if isinstance(said, dict) and said.get("by"):
                which = f"{work} {said['id']}" if "id" in said else work
                return f"for {which} by {said['by']}{_because(said.get('reason'))}"
    return f"note {value_of(note)}"


def _effect(entry: TimelineEntry) -> str:
    facts = entry.facts
    took = "" if facts["seconds"] is None else f" in {facts['seconds'] * 1000:.0f} ms"
    ids = " ".join(facts[name] for name in ("object_id", "request_id") if facts[name])
    end = {"done": f"done{took}", "failed": f"failed{took}: {facts['error']}"}.get(
        facts["state"], "outcome unknown: it started, and no end was recorded"
    )
    text = f"{facts['handler']} {facts['step']} {ids}".rstrip()
    return f"{text} for event {entry.event_id}, {end}  {fields(facts['changed'] or {})}".rstrip()


def _delivered(one: DeliveryState) -> str:
    took = "" if one.seconds is None else f", effects took {one.seconds * 1000:.0f} ms"
    if one.state == "delivered":
        return f"{one.handler}: delivered before {one.before:%Y-%m-%d %H:%M:%S}{took}"
    if one.state in ("waiting", "skipped", "not asked for"):
        return f"{one.handler}: {'not yet delivered' if one.state == 'waiting' else one.state}{took}"
    return f"{one.handler}: {one.state}, {one.attempts} attempts failed{took}"


def _stands(history: History) -> Iterator[Line]:
    if history.is_table and history.key is not None:
        row = "there is no such row" if history.row is None else _members(history.row)
        yield f"now: the row: {row}", NOW
    states: dict[str, list[str]] = {}
    for delivery in history.deliveries:
        states.setdefault(delivery.handler, []).append(delivery.state)
    for handler, of_it in states.items():
        left = [f"{of_it.count(state)} {state}" for state in ("waiting", "due", "held", "dead") if state in of_it]
        but = [f"{of_it.count(state)} {state}" for state in ("skipped", "not asked for") if state in of_it]
        done = "everything is delivered" + (f", except {' and '.join(but)}" if but else "")
        yield f"now: {handler}: {', '.join(left) or done}", BAD if left else NOW


def _outside(name: str, standing: Standing | None, problem: str | None) -> Iterator[Line]:
    if standing is None:
        yield f"now: {name}: not asked: {problem}", BAD
        return
    there = "nothing is there" if standing.destination is None else _members(standing.destination)
    yield f"now: {name}: at its destination: {there}", NOW
    yield from ((f"now: {name}: differs: {_drift(drift)}", BAD) for drift in standing.drift)
    if not standing.drift:
        yield f"now: {name}: source and destination agree", NOW


def _drift(drift: Drift) -> str:
    return "  ".join(part for part in (drift.kind, fields(drift.changed), drift.text) if part)


def _members(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value_of(value)}" for name, value in values.items())


def _because(reason: str | None) -> str:
    return f": {printable(reason)}" if reason else ""

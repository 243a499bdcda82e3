"""What a handler's cursors mean: the declaration that decides which events they pass over, as JSON.

`install` stores it beside the cursors; whoever claims one compares it with that of its own code (`log.cursors`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from worker.declare.handler import Handler, Subscription


def declaration_of(handler: Handler) -> dict[str, Any]:
    """The handler's declaration; equal when nothing that a cursor depends on differs."""
    subscription = handler.subscription
    return {
        "topic": subscription.topic,
        "watch": None if subscription.watch is None else sorted(subscription.watch),
        "exclude": sorted(subscription.exclude),
        "ops": sorted(subscription.ops),
        "shards": handler.shards,
        "fold": handler.fold,
        "transactional": handler.transactional,
    }


def declared_as(handler: Handler, declaration: Mapping[str, Any]) -> Handler:
    """The handler as it was when this was its declaration."""
    watch = declaration["watch"]
    return replace(
        handler,
        subscription=Subscription(
            declaration["topic"],
            tuple(declaration["ops"]),
            None if watch is None else tuple(watch),
            tuple(declaration["exclude"]),
        ),
        shards=declaration["shards"],
        fold=declaration["fold"],
        transactional=declaration["transactional"],
    )


def describe_difference(stored: Mapping[str, Any], declared: Mapping[str, Any]) -> str:
    """What differs, for a person: `watch=name is now name, seats`."""
    names = [name for name in declared if stored.get(name) != declared[name]]
    return "; ".join(f"{name}={_text(stored.get(name))} is now {_text(declared[name])}" for name in names)


def _text(value: object) -> str:
    if value is None:
        return "every column"
    return (", ".join(map(str, value)) or "none") if isinstance(value, list) else str(value)

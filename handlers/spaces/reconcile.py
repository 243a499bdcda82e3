"""`hearken reconcile spaces`: the table and Stripe's catalogue compared, as the handler would compare each space.

    rows ──subject_of──┐
                       ├──differences──► Drift
    lists ──survey─────┘                       (a single space: `observe` instead of `survey`)

Nothing is written here. `sync_space` makes the repairs.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, LiteralString

from handlers.spaces.differences import differences, unfit, without_row
from handlers.spaces.identity import mark_of, stripe_id
from handlers.spaces.observe import observe
from handlers.spaces.subject import Row, Subject, claimed_id, subject_of
from handlers.spaces.survey import Survey, survey
from handlers.stripe import Stripe, StripeSettings, stripe
from worker import Change, Context, Drift, Park, Standing, reconciler

TOPIC = "public.spaces"

_ROWS: LiteralString = """
    select id::text as key, name, description, capacity, price_per_hour, is_active, stripe_product_id, stripe_price_id
    from public.spaces
"""
_FETCH = 1000


async def look_at_space(key: str, ctx: Context) -> Standing:
    """Where one space and Stripe stand now. Raises an outcome of `handlers.stripe.errors`."""
    client = ctx.use(stripe)
    row = await ctx.row(Change(id=0, at=datetime.now(UTC), topic=TOPIC, op="snapshot", key=key))
    subject, problem = _subject(key, row, client.settings)
    has = await observe(client, stripe_id(client.settings.prefix, key), subject.claimed)
    drift = [problem] if problem else differences(subject, row, has)
    destination = {**asdict(has.product), "prices": [asdict(p) for p in has.prices]} if has.product else None
    source = {**asdict(subject.listing), **_ids_in(row)} if row and subject.listing else row and _ids_in(row)
    return Standing(key=key, source=source, destination=destination, drift=tuple(drift))


@reconciler("spaces", handler="sync_space", look=look_at_space)
async def find_drift(ctx: Context) -> AsyncGenerator[Drift, None]:
    """Everything that differs between the table and the catalogue. Raises an outcome of `handlers.stripe.errors`."""
    client = ctx.use(stripe)
    found = await survey(client)
    marks: set[str] = set()
    async with ctx.connection() as connection, connection.transaction(), connection.cursor("spaces") as rows:
        rows.itersize = _FETCH
        async for row in await rows.execute(_ROWS):
            marks.add(mark_of(row["key"]))
            for drift in _compare(row, found, client):
                yield drift
    for product in found.unused():
        yield without_row(product, client.settings.prefix, marks)


def _compare(row: dict[str, Any], found: Survey, client: Stripe) -> list[Drift]:
    subject, problem = _subject(row["key"], row, client.settings)
    has = found.of(subject)
    return [problem] if problem else differences(subject, row, has)


def _subject(key: str, row: Row | None, settings: StripeSettings) -> tuple[Subject, Drift | None]:
    """The space; or, where its row does not fit, as much as can be said of it, and what is wrong."""
    try:
        return subject_of(key, row, None, settings), None
    except Park as error:
        product = claimed_id(row)
        return Subject(key, None, product), unfit(key, product, error.reason)


def _ids_in(row: Row) -> dict[str, Any]:
    return {name: row[name] for name in ("is_active", "stripe_product_id", "stripe_price_id")}

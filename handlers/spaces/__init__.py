"""public.spaces → Stripe: every active space is one product with one active price, whatever happens.

Level-triggered: an event only says which row to look at. The row as it is now → `observe` → `plan` →
`apply` → ids written back. A second run over an unchanged space writes nothing, so any event may be run
twice, late or out of order. The two id columns are watched too: an id that is changed or wiped by hand is
put right (the handler's own writes make no events for it).
"""

from __future__ import annotations

from typing import Any, LiteralString

from handlers.spaces.apply import LookAgain, apply
from handlers.spaces.identity import stripe_id
from handlers.spaces.observe import observe
from handlers.spaces.plan import Catalogue, plan
from handlers.spaces.reconcile import find_drift
from handlers.spaces.subject import Subject, ids_of, other_owner, subject_of
from handlers.stripe import Stripe, stripe
from worker import Change, Context, Park, Retry, Skip, on

__all__ = ["find_drift", "sync_space"]

_LOOKS = 10
"""A fault at each write of one run costs one look each; more than this is no temporary fault."""

_COLUMNS = ("name", "description", "capacity", "price_per_hour", "is_active")
_IDS = ("stripe_product_id", "stripe_price_id")

_WRITE_BACK: LiteralString = """
    update public.spaces set stripe_product_id = %(product)s, stripe_price_id = %(price)s
    where id = %(id)s
      and stripe_product_id is not distinct from %(old_product)s
      and stripe_price_id is not distinct from %(old_price)s
"""


@on("public.spaces", watch=_COLUMNS + _IDS, fold=True, concurrency=32, active="is_active", plans=True)
async def sync_space(change: Change, ctx: Context) -> None:
    """Make the Stripe product and price of one space agree with its row."""
    if change.key is None:
        raise Park("public.spaces was truncated: archive its products at Stripe, then skip this event")
    client = ctx.use(stripe)
    row = await ctx.row(change)
    subject = subject_of(change.key, row, change.new or change.old, client.settings)
    product_id, price_id = await _agree(client, subject, change, ctx)
    if row is not None and subject.listing is not None and not ctx.planning:
        await _write_back(row, product_id, price_id, ctx)


async def _agree(client: Stripe, subject: Subject, change: Change, ctx: Context) -> tuple[str | None, str | None]:
    """Look and write what differs; again, for as long as Stripe has changed in between.

    Returns the ids of the product and of its price, None where there is none.
    """
    cause: Exception | None = None
    for _ in range(_LOOKS):
        has = await observe(client, stripe_id(client.settings.prefix, subject.key), subject.claimed)
        _check_owner(subject, has)
        try:
            new_price = await apply(client, plan(subject.listing, has), change, ctx)
        except LookAgain as surprise:
            cause = surprise.cause
            continue
        return ids_of(subject.listing, has, new_price)
    raise cause or Retry("Stripe keeps repeating old answers: something else changes its catalogue at the same time")


def _check_owner(subject: Subject, has: Catalogue) -> None:
    """A product that says it is another space's is left alone: a copied row must not take it over."""
    owner = other_owner(subject, has)
    if has.product is None or owner is None:
        return
    if subject.listing is None:
        raise Skip(f"product {has.product.id} belongs to space {owner}")
    raise Park(
        f"product {has.product.id} belongs to space {owner} (its metadata.space_id): set stripe_product_id of "
        "this row to null to give it a product of its own, or correct the metadata at Stripe"
    )


async def _write_back(row: dict[str, Any], product_id: str | None, price_id: str | None, ctx: Context) -> None:
    """Put the ids into the row, where they differ from what was read.

    Only over the ids that were read: if they have changed since, that change has an event of its own.
    """
    if (row["stripe_product_id"], row["stripe_price_id"]) == (product_id, price_id):
        return
    ids = {"product": product_id, "price": price_id, "id": row["id"]}
    read = {"old_product": row["stripe_product_id"], "old_price": row["stripe_price_id"]}
    async with ctx.connection() as connection:
        await connection.execute(_WRITE_BACK, ids | read)

"""Two handlers of the table `rooms` (see `sample_handlers`) that can be previewed; one hears less than the other."""

from __future__ import annotations

from worker import Change, Context, Planned, on


@on("public.rooms", fold=True, plans=True)
async def tell_room(change: Change, ctx: Context) -> None:
    """Hears everything."""
    ctx.plan("tell", [Planned("tell", change.key, {})])


@on("public.rooms", watch=("price",), ops=("insert", "update"), fold=True, plans=True)
async def tell_price(change: Change, ctx: Context) -> None:
    """Hears prices."""
    ctx.plan("tell", [Planned("tell", change.key, {})])

"""Carries out a plan at Stripe, one recorded write per step, after `plan`.

What was observed may turn out to be out of date: Stripe repeats the answer of an earlier try, an object is
already there, or is gone. Then `LookAgain` is raised, and the caller observes and plans again: nothing
is ever concluded from an answer that may be old.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

import stripe as sdk

from handlers.spaces.plan import NEW_PRICE, Step, action_of
from handlers.stripe import Refused, Stripe, StripeOutcome, from_memory, request_id
from worker import Change, Context, Planned

Write = Callable[..., Awaitable[sdk.Product | sdk.Price]]

_MOVED_ON = frozenset({"resource_already_exists", "resource_missing"})


class LookAgain(Exception):
    """Stripe is not as it was observed. `cause` is what Stripe refused, None when it answered from memory."""

    def __init__(self, cause: Refused | None = None) -> None:
        super().__init__("Stripe is not as it was observed")
        self.cause = cause


async def apply(stripe: Stripe, steps: Sequence[Step], change: Change, ctx: Context) -> str | None:
    """Do the steps in order; returns the id of the price that was made, if any. In a preview they are only said.

    Raises LookAgain, or an outcome of `handlers.stripe.errors`.
    """
    new_price: str | None = None
    if ctx.planning:
        ctx.plan(action_of(steps), [Planned(step.name, step.target, step.changed) for step in steps])
        return None
    for planned in steps:
        step = _with_price(planned, new_price)
        answer = await _write(stripe, step, change, ctx)
        if step.name == "price.create":
            new_price = answer.id
    return new_price


def _with_price(step: Step, new_price: str | None) -> Step:
    """The step with the id of the price that an earlier one has made, where it was planned for that."""
    if step.params.get("default_price") != NEW_PRICE:
        return step
    before, _ = step.changed["default_price"]
    return replace(step, params={"default_price": new_price}, changed={"default_price": (before, new_price)})


async def _write(stripe: Stripe, step: Step, change: Change, ctx: Context) -> sdk.Product | sdk.Price:
    target = [step.target] if step.target else []
    identity = {"target": step.target, **step.params}
    async with ctx.effect(change, step=step.name, params=identity) as effect:
        try:
            answer = await stripe.write(
                step.name, _method(stripe, step), *target, params=step.params, key=effect.idempotency_key
            )
        except StripeOutcome as error:
            if error.definite:
                effect.failed(error.reason)
            if isinstance(error, Refused) and error.code in _MOVED_ON:
                raise LookAgain(error) from error
            raise
        changed = {name: list(pair) for name, pair in step.changed.items()}
        effect.done(object_id=answer.id, request_id=request_id(answer), changed=changed)
    if from_memory(answer):
        raise LookAgain
    return answer


def _method(stripe: Stripe, step: Step) -> Write:
    """The SDK's method: what has a target is updated, the rest is made."""
    if step.name.startswith("price."):
        return stripe.api.prices.update_async if step.target else stripe.api.prices.create_async
    return stripe.api.products.update_async if step.target else stripe.api.products.create_async

"""Promise: `hearken explain` tells everything that is known of one key, and where source and destination stand now."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from handlers.spaces import sync_space
from handlers.stripe import stripe
from tests.support.cli import Result, Rooms, hearken
from tests.support.local_stripe import sdk
from tests.support.shop import Shop, open_shop
from tests.support.workers import start_worker
from worker.commands.session import operator
from worker.testing import Bench, bench

NOTE = 'select set_config(\'hearken.note\', \'{"by": "anna", "why": "new price list"}\', false)'
SPACE = "insert into spaces (name, description, capacity, price_per_hour) values ('Blue', 'A desk', 4, 20)"


@dataclass
class Story:
    """A space's events, delivered to the local Stripe when the bench is drained."""

    url: str
    bench: Bench
    shop: Shop

    @property
    def environment(self) -> dict[str, str]:
        return {
            "HEARKEN_HANDLERS": "handlers",
            "STRIPE_SECRET_KEY": self.shop.server.key,
            "STRIPE_API_BASE": self.shop.server.url,
        }

    async def explain(self, *arguments: str, **environment: str) -> Result:
        return await hearken(self.url, "explain", *arguments, **(environment or self.environment))


@pytest.fixture
async def story(database_url: str) -> AsyncIterator[Story]:
    """A space is made, then changed by somebody who says why, then its change is replayed."""
    async with (
        open_shop(database_url) as shop,
        bench(database_url, sync_space, resources={stripe: shop.client}) as under_test,
    ):
        await under_test.execute(SPACE)
        await under_test.drain()
        await under_test.execute(NOTE)
        await under_test.execute("update spaces set name = 'Red', price_per_hour = 21")
        await under_test.drain()
        yield Story(database_url, under_test, shop)


def kinds(timeline: list[dict[str, Any]]) -> list[str]:
    return [entry["kind"] for entry in timeline]


async def test_changes_effects_and_deliveries_in_their_order(story: Story) -> None:
    """What differed, who did it and why, what was written at Stripe under which ids, and that all is delivered."""
    result = await story.explain("spaces/1", "--json")
    assert result.code == 0, result
    told = result.json
    first = told["timeline"][0]
    assert (told["topic"], told["key"], told["more"]) == ("public.spaces", "1", False)
    assert (first["kind"], first["op"], first["changed"]["name"]) == ("change", "insert", [None, "Blue"])
    (update,) = [e for e in told["timeline"] if e["kind"] == "change" and e.get("note")]
    assert update["changed"]["price_per_hour"] == [20, 21]
    assert update["note"] == {"by": "anna", "why": "new price list"}
    after = [e for e in told["timeline"][told["timeline"].index(update) :] if e["kind"] == "effect"]
    assert {e["step"] for e in after} >= {"product.update", "price.create"}
    for effect in after:
        assert (effect["state"], effect["event_id"], effect["request_id"][:4]) == ("done", update["event_id"], "req_")
        assert effect["object_id"]
        assert effect["seconds"] >= 0
    assert [(d["handler"], d["state"]) for d in told["deliveries"]] == [("sync_space", "delivered")] * 2
    assert all(d["seconds"] > 0 and d["before"] for d in told["deliveries"])


async def test_it_ends_with_source_and_destination_as_they_are_now(story: Story) -> None:
    """The row, the product with its price; and what differs, once somebody has changed it at Stripe."""
    told = (await story.explain("spaces/1", "--json")).json
    assert (told["row"]["name"], told["row"]["price_per_hour"]) == ("Red", 21)
    system = told["systems"]["spaces"]
    assert (system["problem"], system["drift"]) == (None, [])
    assert (system["destination"]["active"], system["destination"]["name"]) == (True, "Red")
    assert [price["unit_amount"] for price in system["destination"]["prices"]] == [2100]
    await story.shop.client.api.products.update_async("space_1", {"name": "Mine"})
    result = await story.explain("public.spaces/1")
    print(result.out)
    assert result.code == 0, result
    assert 'now: spaces: differs: name  name "Mine" → "Red"' in result.out
    assert "by anna" not in result.out
    assert '"why": "new price list"' in result.out


async def test_without_a_key_of_stripe_it_says_that_it_did_not_ask(story: Story) -> None:
    """The rest is told all the same."""
    result = await story.explain("spaces/1", HEARKEN_HANDLERS="handlers")
    assert result.code == 0, result
    assert "now: spaces: not asked: settings are missing or wrong: STRIPE_SECRET_KEY: is not set" in result.out
    assert 'now: the row: id 1, name "Red"' in result.out


async def test_what_was_put_aside_replayed_and_done_by_persons(story: Story) -> None:
    """A dead event with its reason, a replay with who and why, an operator's action, an effect that never ended."""
    await story.bench.execute("update spaces set price_per_hour = 21.005")
    await story.bench.drain()
    await hearken(story.url, "replay", "1", "--reason", "was lost", "--yes", **story.environment)
    await story.bench.execute(
        "insert into hearken.actions (by, action, handler, topic, key, event_id, reason)"
        " values ('eve@desk', 'skip', 'sync_space', 'public.spaces', '1', 1, 'not needed')"
    )
    await story.bench.execute(
        "insert into hearken.effects (event_id, handler, topic, key, step, base, generation)"
        " values (1, 'sync_space', 'public.spaces', '1', 'product.update', 'b', 0)"
    )
    result = await story.explain("spaces/1")
    assert result.code == 0, result
    for said in (
        "parked by sync_space: dead",
        "price_per_hour would have to be rounded",
        "replay of 1 for ",
        ": was lost",
        "skip event 1 of sync_space by eve@desk: not needed",
        "outcome unknown",
        "sync_space: not yet delivered",
        "now: sync_space: 1 waiting, 1 dead",
        "row does not fit",
    ):
        assert said.replace(" for ", "") in result.out.replace(" for ", ""), result.out


async def test_who_sent_its_row_and_why(story: Story) -> None:
    """Backfilled, and sent by a reconciliation: in words for people, in the note for programs."""
    await story.bench.execute("update spaces set name = 'Green'")
    story.shop.server.calls.clear()
    filled = await hearken(story.url, "backfill", "spaces", "--reason", "new handler", "--yes", **story.environment)
    assert filled.code == 0, filled
    await story.bench.drain()
    async with sdk(story.shop.server) as api:
        await api.products.update_async("space_1", {"name": "By hand"})
    sent = await hearken(story.url, "reconcile", "spaces", "--apply", "--reason", "a slip", **story.environment)
    assert sent.code == 0, sent
    result, document = await story.explain("spaces/1"), (await story.explain("spaces/1", "--json")).json
    assert f"for backfill 1 by {operator()}: new handler" in result.out, result
    assert f"for reconcile by {operator()}: a slip" in result.out, result
    notes = [entry["note"] for entry in document["timeline"] if entry.get("op") == "snapshot"]
    assert notes == [
        {"backfill": {"id": 1, "by": operator(), "reason": "new handler"}},
        {"reconcile": {"by": operator(), "reason": "a slip"}},
    ]


async def test_what_was_skipped_is_not_called_delivered(story: Story) -> None:
    """Who skipped it and why is told, and that it was not delivered."""
    await story.bench.execute("update spaces set price_per_hour = 21.005")
    await story.bench.drain()
    skipped = await hearken(story.url, "dead", "skip", "--all", "--reason", "a typo", "--yes", **story.environment)
    assert skipped.code == 0, skipped
    result, document = await story.explain("spaces/1"), (await story.explain("spaces/1", "--json")).json
    number = max(entry["event_id"] for entry in document["timeline"])
    assert [d["state"] for d in document["deliveries"] if d["event_id"] == number] == ["skipped"]
    assert f"skip event {number} of sync_space by {operator()}: a typo" in result.out
    assert "sync_space: skipped" in result.out
    assert "now: sync_space: everything is delivered, except 1 skipped" in result.out


async def test_a_long_history_is_cut_to_its_newest(story: Story) -> None:
    """By number or by time, and it says so."""
    for name in "abc":
        await story.bench.execute("update spaces set name = %s", (name,))
    await story.bench.drain()
    told = (await story.explain("spaces/1", "--limit", "2", "--json")).json
    assert ([e["changed"]["name"] for e in told["timeline"] if e["kind"] == "change"], told["more"]) == (
        [["a", "b"], ["b", "c"]],
        True,
    )
    assert kinds((await story.explain("spaces/1", "--since", "0s", "--json")).json["timeline"]) == []


async def test_it_works_under_a_running_worker(rooms: Rooms) -> None:
    """Nothing is locked: what it tells is as of that moment, and the worker goes on."""
    async with start_worker(rooms.url, ["tests.support.sample_handlers"]) as worker:
        await worker.said("working")
        await rooms.execute("insert into rooms values (7, 'bad', 1)")
        await worker.said("dead", handler="price_room")
        result = await hearken(rooms.url, "explain", "rooms/7", "--json")
        assert worker.alive
    states = {d["handler"]: d["state"] for d in result.json["deliveries"]}
    assert (result.code, states["price_room"]) == (0, "dead"), result
    assert result.json["row"] == {"id": 7, "name": "bad", "price": 1}


WRONG = [
    ("spaces/one", "malformed key 'one'", 2),
    ("nothing/1", "no such topic: nothing", 2),
    ("spaces", "which key of public.spaces?", 2),
    ("tick/none", "no such topic: tick/none", 2),
    ("spaces/999", "nothing is known about spaces/999", 1),
]


@pytest.mark.parametrize(("subject", "said", "code"), WRONG)
async def test_what_is_not_there_is_said_in_one_line(story: Story, subject: str, said: str, code: int) -> None:
    """Wrong usage is 2; a key that nobody has heard of is a negative answer."""
    result = await story.explain(subject, HEARKEN_HANDLERS="handlers")
    assert (result.code, result.err.count("\n")) == (code, 1), result
    assert said in result.err

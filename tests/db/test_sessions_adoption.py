"""Promise: tables that were there before, with rows out of step, are adopted: nothing of them is lost or guessed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from psycopg import AsyncConnection, errors
from psycopg.rows import DictRow

from tests.support.arcade import Arcade
from tests.support.watched import connect
from worker.errors import MigrationError
from worker.install import migrations

# As in the seed, with what it calls procedures, its triggers and its view.
SEED = """
create table purchases (id serial primary key, user_id int not null, package_name varchar(100), price numeric(10, 2),
    payment_status varchar(20) not null, session_status varchar(20), created_at timestamp not null default now());
create table invoices (id serial primary key, purchase_id int not null, number varchar(50) not null,
    qr_content text not null, status varchar(20) not null);
create table active_game_sessions_v2 (id int primary key, purchase_id int not null, status varchar(20) not null,
    minutes_total int, minutes_used int, minutes_remaining int, started_at timestamptz);
create table session_events (id serial primary key, session_id int not null, event_type varchar(20));
create function sync_purchase_session_status() returns text language sql as 'select ''ok''::text';
create function follow() returns trigger language plpgsql as 'begin return null; end';
create trigger sync_session_to_purchase after update on active_game_sessions_v2
    for each row execute function follow();
create trigger after_purchase_completed after update on purchases for each row execute function follow();
create view purchase_session_overview as select id from purchases;
"""
ROWS = """
insert into purchases (user_id, package_name, price, payment_status, session_status) values
    (1, 'in step', 5, 'completed', 'active'), (1, 'out of step', 5, 'completed', 'ready'),
    (2, 'twice', 5, 'completed', 'paused'), (2, 'gone', 5, 'completed', 'active'),
    (3, 'unpaid', 5, 'pending', null), (3, 'over', 5, 'completed', 'completed'),
    (4, 'too much', 5, 'completed', 'ready');
insert into invoices (purchase_id, number, qr_content, status) select id, 'F' || id, 'Q' || id, 'active' from purchases;
insert into active_game_sessions_v2 values
    (10, 1, 'active', 60, 10, 50, now()), (11, 2, 'completed', 60, 60, 0, now()),
    (12, 3, 'ready', 60, 0, 60, null), (13, 3, 'active', 60, 90, -30, null), (14, 3, 'paused', 60, null, 60, now()),
    (15, 6, 'completed', 60, 60, 0, now()), (16, 7, 'ready', 60, 70, -10, null);
insert into session_events (session_id, event_type) values (10, 'old');
"""
COLUMNS = """
select table_name, column_name, data_type from information_schema.columns
where table_name in ('purchases', 'invoices', 'active_game_sessions_v2', 'session_events') order by 1, ordinal_position
"""
SESSIONS = "select id, status, minutes_used from active_game_sessions_v2 order by id"


async def apply(connection: AsyncConnection[DictRow]) -> None:
    await migrations.apply(connection, migrations.find_migrations(["sessions"]))


@asynccontextmanager
async def seeded(url: str, more: str = "") -> AsyncIterator[Arcade]:
    """The seed's tables and rows, with what a test adds; not adopted yet."""
    async with connect(url) as connection:
        await connection.execute((SEED + ROWS + more).encode())
        yield Arcade(connection)


async def test_rows_out_of_step_are_shown_and_mended(empty_database_url: str) -> None:
    """What the issue asks: adopted, then each mismatch mended by the sync, then none."""
    async with seeded(empty_database_url) as arcade:
        await apply(arcade.connection)
        seen = await arcade.sync_status()
        assert [seen[purchase] for purchase in range(1, 8)] == [
            *("SYNCED", "MISMATCH", "MISMATCH", "MISMATCH", "NO_SESSION", "SYNCED", "SYNCED")
        ]
        assert await arcade.value("select sync_purchase_session_status()") == 3
        assert "MISMATCH" not in (await arcade.sync_status()).values()
        rows = await arcade.rows("select session_status from purchases order by id")
        statuses = [row["session_status"] for row in rows]
        assert statuses == ["active", "completed", "active", "cancelled", None, "completed", "ready"]
        assert await arcade.value("select sync_purchase_session_status()") == 0


async def test_of_several_live_sessions_the_furthest_stays(empty_database_url: str) -> None:
    """The others are cancelled, minutes are brought within what was bought; each is kept as it was."""
    async with seeded(empty_database_url) as arcade:
        before = {row["id"]: row for row in await arcade.rows("select * from active_game_sessions_v2")}
        await apply(arcade.connection)
        rows = {row["id"]: (row["status"], row["minutes_used"]) for row in await arcade.rows(SESSIONS)}
        assert rows == {
            10: ("active", 10),
            11: ("completed", 60),
            12: ("cancelled", 0),
            13: ("active", 60),
            14: ("cancelled", 0),
            15: ("completed", 60),
            16: ("ready", 60),
        }
        told = await arcade.rows("select * from session_events where \"by\" = 'hearken migrate' order by session_id")
        assert [row["session_id"] for row in told] == [10, 12, 13, 14, 16]
        for row in told:
            was = before[row["session_id"]]
            assert {c: row["before"][c] for c in ("status", "minutes_used")} == {
                c: was[c] for c in ("status", "minutes_used")
            }


async def test_adopted_sessions_go_on(empty_database_url: str) -> None:
    """The countdown counts them from now on; the functions and ids work; what the seed's own triggers did is over."""
    async with seeded(empty_database_url) as arcade:
        await apply(arcade.connection)
        assert await arcade.call("countdown_active_sessions") == {"counted": 1, "ended": 1, "due": 0}
        assert (await arcade.call("pause_session", 10))["minutes_remaining"] == 50
        purchase = await arcade.value(
            "insert into purchases (user_id, minutes, payment_status) values (9, 60, 'completed') returning id"
        )
        number = await arcade.invoice(purchase)
        assert (await arcade.call("activate_invoice", number))["id"] == 17
        assert await arcade.value("select event_type from session_events where event_type is not null") == "old"
        assert await arcade.rows("select from pg_trigger where tgname ~ '^(sync_session|after_purchase)'") == []
        with pytest.raises(errors.CheckViolation):
            await arcade.rows("update active_game_sessions_v2 set status = 'ready' where id = 11")


async def test_rows_that_break_a_rule_are_left_and_told_of(empty_database_url: str) -> None:
    """A payment state that nobody knows, a session of no purchase: kept, and refused for new rows only."""
    more = """insert into purchases (user_id, payment_status) values (1, 'lost');
              insert into active_game_sessions_v2 values (20, 99, 'completed', 60, 60, 0, now());"""
    async with seeded(empty_database_url, more) as arcade:
        warnings: list[str] = []
        arcade.connection.add_notice_handler(
            lambda said: warnings.append(str(said.message_primary)) if said.severity == "WARNING" else None
        )
        await apply(arcade.connection)
        assert sorted(warnings) == [
            "rows of public.active_game_sessions_v2 break active_game_sessions_v2_purchase: it holds for new ones only",
            "rows of public.purchases break purchases_payment_status: it holds for new ones only",
        ]
        assert await arcade.value("select count(*) from purchases where payment_status = 'lost'") == 1
        with pytest.raises(errors.CheckViolation):
            await arcade.rows("insert into purchases (user_id, payment_status) values (1, 'lost')")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("alter table invoices rename number to invoice_number", "lack columns: invoices.number"),
        ("alter table active_game_sessions_v2 drop column minutes_total", "active_game_sessions_v2.minutes_total"),
        (
            "alter table active_game_sessions_v2 drop constraint active_game_sessions_v2_pkey",
            "primary key is not (id) in",
        ),
        ("alter table invoices alter status type name", "invoices.status is of type name"),
        ("update invoices set number = 'F1'", "invoices_number"),
    ],
)
async def test_what_cannot_be_guessed_is_refused(empty_database_url: str, change: str, named: str) -> None:
    """With what is missing, and the tables are as they were."""
    async with seeded(empty_database_url, change) as arcade:
        before = await arcade.rows(COLUMNS)
        with pytest.raises(MigrationError) as refused:
            await apply(arcade.connection)
        assert named in str(refused.value)
        assert await arcade.rows(COLUMNS) == before
        assert await arcade.value("select count(*) from active_game_sessions_v2") == 7


async def test_adopting_is_done_once(empty_database_url: str) -> None:
    """A second migration finds nothing to do."""
    async with seeded(empty_database_url) as arcade:
        await apply(arcade.connection)
        told = await arcade.rows("select * from session_events")
        await apply(arcade.connection)
        assert await arcade.rows("select * from session_events") == told

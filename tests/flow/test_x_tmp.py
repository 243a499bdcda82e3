from tests.flow.test_http_large_log import *
from worker.status import BEHIND
async def test_zz(connection, empty_database_url):
    await connection.execute("update hearken.cursors set done = pg_current_snapshot()")
    row = await (await connection.execute("select handler, shard, shards, to_json(topics) as topics, done::text as done, target::text as target, last_id, max_id from hearken.cursors")).fetchone()
    for r in await (await connection.execute("explain (analyze, costs on) "+BEHIND, {**row, "ops":["insert","update"], "watch":None, "most":10000})).fetchall(): print("XX", r["QUERY PLAN"])
    for r in await (await connection.execute("show plan_cache_mode")).fetchall(): print("XX", r)
    for r in await (await connection.execute("select indexdef from pg_indexes where schemaname='hearken' and tablename like 'events_2026%%'")).fetchall(): print("XX", r)
    assert 0

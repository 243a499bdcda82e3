"""The programs that drain so many jobs by the peers: each is given a URL and a number, and prints its rate as JSON.

procrastinate    https://procrastinate.readthedocs.io/en/stable/howto/basics/worker.html (concurrency, delete_jobs)
PgQueuer         https://janbjorge.github.io/pgqueuer/guides/performance-tuning (batch size, asyncpg; durability kept)
graphile-worker  https://worker.graphile.org/docs/performance (24 at a time, local queue of 500, batches)
pg-boss          https://timgit.github.io/pg-boss/#/./api/workers (batches; the shortest interval there is)

A worker of pg-boss waits half a second between two batches: so batches are large, and several workers share the queue.
Its calls come a batch at a time, so its clock begins before the first batch is fetched, not at the first call.
"""

from __future__ import annotations

PROCRASTINATE = """
import asyncio, json, sys, time
import procrastinate

url, jobs = sys.argv[1], int(sys.argv[2])
app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=url, min_size=10, max_size=50))
first = last = None
count = 0

@app.task(name="nothing")
async def nothing(n):
    global first, last, count
    first = first or time.perf_counter()
    last = time.perf_counter()
    count += 1

async def main():
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        for begin in range(0, jobs, 5000):
            await nothing.batch_defer_async(*({"n": n} for n in range(begin, min(begin + 5000, jobs))))
        await app.run_worker_async(concurrency=50, wait=False, delete_jobs="always", listen_notify=False)
    assert count == jobs, count
    print(json.dumps({"rate": jobs / (last - first)}))

asyncio.run(main())
"""

PGQUEUER = """
import asyncio, json, sys, time
import asyncpg, uvloop
from pgqueuer.db import AsyncpgPoolDriver
from pgqueuer.qm import QueueManager
from pgqueuer.queries import Queries
from pgqueuer.types import QueueExecutionMode

url, jobs = sys.argv[1], int(sys.argv[2])
first = last = None
count = 0

async def main():
    pool = await asyncpg.create_pool(url, min_size=5, max_size=20)
    queries = Queries(AsyncpgPoolDriver(pool))
    await queries.install()
    for begin in range(0, jobs, 5000):
        many = min(5000, jobs - begin)
        await queries.enqueue(["nothing"] * many, [None] * many, [0] * many)
    manager = QueueManager(queries)

    @manager.entrypoint("nothing")
    async def nothing(job):
        global first, last, count
        first = first or time.perf_counter()
        last = time.perf_counter()
        count += 1

    await manager.run(batch_size=500, mode=QueueExecutionMode.drain, max_concurrent_tasks=2000)
    await pool.close()
    assert count == jobs, count
    print(json.dumps({"rate": jobs / (last - first)}))

uvloop.run(main())
"""

GRAPHILE_WORKER = """
const { run, makeWorkerUtils, Logger } = require("graphile-worker");
const [url, jobs] = [process.argv[2], Number(process.argv[3])];

async function main() {
  const logger = new Logger(() => () => {});
  const utils = await makeWorkerUtils({ connectionString: url, logger });
  await utils.migrate();
  for (let begin = 0; begin < jobs; begin += 5000) {
    const many = Math.min(5000, jobs - begin);
    await utils.addJobs(Array.from({ length: many }, () => ({ identifier: "nothing", payload: {} })));
  }
  await utils.release();
  let first, count = 0, over;
  const ended = new Promise((resolve) => { over = resolve; });
  const runner = await run({
    preset: { worker: {
      connectionString: url, concurrentJobs: 24, maxPoolSize: 25, localQueue: { size: 500 },
      completeJobBatchDelay: 0, failJobBatchDelay: 0, logger,
    } },
    taskList: { nothing: () => {
      first = first ?? performance.now();
      if (++count === jobs) over(performance.now());
    } },
  });
  const last = await ended;
  await runner.stop();
  console.log(JSON.stringify({ rate: jobs / (last - first) * 1000 }));
}
main().catch((error) => { console.error(error); process.exit(1); });
"""

PG_BOSS = """
const PgBoss = require("pg-boss");
const [url, jobs] = [process.argv[2], Number(process.argv[3])];

async function main() {
  const boss = new PgBoss({ connectionString: url, max: 10 });
  boss.on("error", (error) => { console.error(error); process.exit(1); });
  await boss.start();
  await boss.createQueue("nothing");
  for (let begin = 0; begin < jobs; begin += 5000) {
    const many = Math.min(5000, jobs - begin);
    await boss.insert(Array.from({ length: many }, () => ({ name: "nothing", data: {} })));
  }
  let count = 0, over;
  const ended = new Promise((resolve) => { over = resolve; });
  const began = performance.now();
  for (let worker = 0; worker < 4; worker++) {
    await boss.work("nothing", { batchSize: Math.min(5000, jobs / 5), pollingIntervalSeconds: 0.5 }, async (batch) => {
      count += batch.length;
      if (count === jobs) over(performance.now());
    });
  }
  const last = await ended;
  console.log(JSON.stringify({ rate: jobs / (last - began) * 1000 }));
  await boss.stop({ graceful: true, wait: true, timeout: 5000 });
  process.exit(0);
}
main().catch((error) => { console.error(error); process.exit(1); });
"""

PYTHON = {"procrastinate": PROCRASTINATE, "PgQueuer": PGQUEUER}
NODE = {"graphile-worker": GRAPHILE_WORKER, "pg-boss": PG_BOSS}

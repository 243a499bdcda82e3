"""What capture and its doorbell cost the writers.

Commits: 32 clients update single rows for a while, by pgbench, with a worker running: (a) without the trigger, (b) with
it as compiled, (c) with its NOTIFY left out, (d) with a NOTIFY always. They take turns, several rounds in one run.

Statement: one UPDATE of 10,000 rows, without and with the trigger, taking turns.
"""

from __future__ import annotations

import asyncio
import re
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from typing import LiteralString

from bench.figure import Figure, at_least, at_most
from bench.stage import server, spaces
from bench.working import working
from worker import Change, Context
from worker.declare.registry import Registry
from worker.dev.programs import find_programs

CLIENTS = 32
ROWS = 100_000
SCRIPT = "\\set id random(1, 100000)\nupdate spaces set capacity = capacity + 1 where id = :id;\n"
BELL = re.compile(r"perform case when pg_try_advisory_lock.*?end;", re.DOTALL)
FUNCTION: LiteralString = """
select pg_get_functiondef(tgfoid) from pg_trigger where tgrelid = 'spaces'::regclass and tgname = 'hearken_update'
"""

registry = Registry()


@registry.on("public.spaces", watch=("capacity", "price_per_hour"))
async def nothing(change: Change, ctx: Context) -> None:
    """An external handler that does nothing."""


def commits_per_second(url: str, seconds: int) -> float:
    """Run pgbench's clients against the database; transactions per second."""
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(SCRIPT)
        script.flush()
        arguments = ["-n", "-M", "prepared", "-c", str(CLIENTS), "-j", "2", "-T", str(seconds), "-f", script.name, url]
        output = subprocess.run(
            [str(find_programs(16) / "pgbench"), *arguments], check=True, capture_output=True, text=True
        ).stdout
    return float(re.findall(r"tps = ([\d.]+)", output)[0])


async def measure_commits(url: str, rounds: int, seconds: int) -> dict[str, list[float]]:
    """Commits per second of each round."""
    figures: dict[str, list[float]] = {
        "untriggered": [],
        "with the doorbell": [],
        "notify left out": [],
        "notify always": [],
    }
    with spaces(url, ROWS) as connection:
        async with working(url, registry):
            row = connection.execute(FUNCTION).fetchone()
            assert row is not None
            compiled: str = row[0]
            always = re.search(r"pg_notify\('[^']+', ''\)", compiled)
            assert always is not None
            variants = {
                "untriggered": None,
                "with the doorbell": compiled,
                "notify left out": BELL.sub("", compiled),
                "notify always": BELL.sub(f"perform {always.group()};", compiled),
            }
            for _ in range(rounds):
                for name, function in variants.items():
                    toggle = "disable" if function is None else "enable"
                    connection.execute(f"alter table spaces {toggle} trigger user".encode())
                    connection.execute((function or compiled).encode())
                    figures[name].append(await asyncio.to_thread(commits_per_second, url, seconds))
    return figures


def measure_statement(url: str, rounds: int) -> dict[str, list[float]]:
    """Milliseconds of a 10,000-row UPDATE, untriggered and captured, taking turns."""
    figures: dict[str, list[float]] = {"untriggered": [], "captured": []}
    with spaces(url, 10_000) as connection:
        asyncio.run(_watch(url))
        for _ in range(rounds):
            for name, toggle in (("untriggered", "disable"), ("captured", "enable")):
                connection.execute(f"alter table spaces {toggle} trigger user".encode())
                connection.execute("vacuum spaces")
                figures[name].append(_timed(lambda: connection.execute("update spaces set capacity = capacity + 1")))
    return figures


async def _watch(url: str) -> None:
    async with working(url, registry):
        pass


def _timed(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return (time.perf_counter() - started) * 1000


def figures(*, quick: bool = False) -> list[Figure]:
    """Medians and their ratios."""
    rounds, seconds = (1, 1) if quick else (5, 4)
    with server() as running:
        turns = asyncio.run(measure_commits(running.url, rounds, seconds))
        commits = {name: statistics.median(rates) for name, rates in turns.items()}
        turns = measure_statement(running.url, 4 * rounds)
        times = {name: statistics.median(milliseconds) for name, milliseconds in turns.items()}
    doorbell = commits["with the doorbell"]
    return [
        *(Figure(f"{CLIENTS} writers, {name}", rate, "commits/s") for name, rate in commits.items()),
        at_least(f"{CLIENTS} writers: with the doorbell / untriggered", doorbell / commits["untriggered"], 0.65),
        at_least(f"{CLIENTS} writers: with the doorbell / notify left out", doorbell / commits["notify left out"], 0.8),
        at_least(f"{CLIENTS} writers: with the doorbell / notify always", doorbell / commits["notify always"], 2.5),
        *(Figure(f"UPDATE of 10,000 rows, {name}", milliseconds, "ms") for name, milliseconds in times.items()),
        at_most("UPDATE of 10,000 rows: captured / untriggered", times["captured"] / times["untriggered"], 3),
    ]

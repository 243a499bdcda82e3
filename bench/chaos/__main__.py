"""`python -m bench.chaos --seed 7 --minutes 1`: faults by that seed, for about so long; 1 if a promise broke."""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
from pathlib import Path

from bench.chaos.epoch import Outcome, run_epoch, world
from bench.chaos.schedule import epochs


async def run(seed: int, seconds: float) -> Outcome:
    """All epochs that the seed gives, in one world."""
    outcome = Outcome()
    with tempfile.TemporaryDirectory(prefix="hearken-chaos-", dir="/var/tmp") as folder:
        async with world(Path(folder)) as (stage, orders):
            for epoch in epochs(seed, seconds):
                await run_epoch(stage, orders, epoch, outcome)
                print(
                    f"epoch {epoch.number}: {len(epoch.faults)} faults, {len(outcome.violations)} violations",
                    flush=True,
                )
    return outcome


def report(outcome: Outcome) -> str:
    """Recovery times as a table, the kills, and what did not hold."""
    lines = [f"{'fault':<30} times  recovery: median  longest"]
    for kind, times in sorted(outcome.recoveries.items()):
        lines.append(f"{kind:<30} {len(times):>5}  {statistics.median(times):>15.2f}s {max(times):>7.2f}s")
    lines.append(f"{outcome.kills} kills, {outcome.working_kills} of them of a worker at work")
    lines += outcome.violations or ["nothing lost, nothing twice in the ledger, no key out of order"]
    return "\n".join(lines)


def main() -> int:
    """Read the options, run, report."""
    parser = argparse.ArgumentParser(prog="python -m bench.chaos")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--minutes", type=float, default=1.0)
    options = parser.parse_args()
    outcome = asyncio.run(run(options.seed, options.minutes * 60))
    print(f"seed {options.seed}")
    print(report(outcome))
    return 1 if outcome.violations else 0


if __name__ == "__main__":
    sys.exit(main())

"""`python -m bench [--quick] [NAME …]`: run the measurements named, or all of them, and print their figures as a table.

Each is a module with a function `figures(*, quick)`. With --quick the sizes are small: it shows that everything still
runs, and its figures mean little. Ends with 1 if a measurement failed, not if a bar was missed.
"""

from __future__ import annotations

import importlib
import sys
import traceback

from bench.figure import Figure, table

NAMES = (
    *("drain", "latency", "replay", "writers", "memory", "large_rows", "backlog", "lookup", "slow_key", "rates"),
    *("shards", "stripe", "packages", "reconcile", "sessions"),
)


def main(arguments: list[str]) -> int:
    """Run them; a name that is none of ours is refused."""
    quick = "--quick" in arguments
    wanted = [name for name in arguments if name != "--quick"]
    if unknown := [name for name in wanted if name not in NAMES]:
        sys.exit(f"no such measurement: {', '.join(unknown)}; there are {', '.join(NAMES)}")
    found: list[Figure] = []
    failed: list[str] = []
    for name in wanted or NAMES:
        print(f"measuring {name}", file=sys.stderr, flush=True)
        try:
            found += _measure(name, quick=quick)
        except Exception:  # the others' figures are still wanted
            traceback.print_exc()
            failed.append(name)
    print(table(found))
    for name in failed:
        print(f"FAILED: {name}")
    return 1 if failed else 0


def _measure(name: str, *, quick: bool) -> list[Figure]:
    module = importlib.import_module(f"bench.{name}")
    if hasattr(module, "figures"):
        return list(module.figures(quick=quick))
    module.main()  # prints its figures itself
    return []


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

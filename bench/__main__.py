"""`python -m bench [NAME …]`: run the measurements named, or all of them, one after the other."""

from __future__ import annotations

import importlib
import sys

NAMES = (
    *("drain", "latency", "replay", "writers", "memory", "backlog"),
    *("lookup", "stripe", "packages", "reconcile", "sessions"),
)


def main(wanted: list[str]) -> None:
    """Run them; a name that is none of ours is refused."""
    if unknown := [name for name in wanted if name not in NAMES]:
        sys.exit(f"no such measurement: {', '.join(unknown)}; there are {', '.join(NAMES)}")
    for name in wanted or NAMES:
        importlib.import_module(f"bench.{name}").main()


if __name__ == "__main__":
    main(sys.argv[1:])

"""What a user would pick beside Hearken, in the same run: so many jobs that do nothing, first call to last.

`programs` has one program for each, in its fastest documented configuration, with the page that documents it. They are
installed from their registries into a directory that goes with the measurement; one that cannot be is left out, and
said to be. Jobs are appended before the time starts, in the fastest way that each has.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.figure import Figure, at_least
from bench.peers.programs import NODE, PYTHON
from bench.rates import delivered
from bench.stage import server

# Versions are those that were measured; a newer one is a change to be looked at.
PACKAGES = {
    "procrastinate": ("procrastinate==3.10.0",),
    "PgQueuer": ("pgqueuer==1.6.0", "asyncpg==0.32.0", "uvloop==0.23.0"),
    "graphile-worker": ("graphile-worker@0.17.3",),
    "pg-boss": ("pg-boss@10.4.2",),
}
# Who does a few hundred a second is given fewer, or all would wait for it.
FEWER = {"procrastinate": 20}
INSTALL_SECONDS, DRAIN_SECONDS = 300, 180


def _install_python(folder: Path) -> Path | None:
    """A Python with the packages; None where there is no index to get them from."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / "bin" / "python"
    wanted = [package for name in PYTHON for package in PACKAGES[name]]
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted]
    return python if _succeeds(command, folder) else None


def _install_node(folder: Path) -> Path | None:
    """Node, with the packages in `folder`; None where there is none."""
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        return None
    folder.mkdir()
    wanted = [package for name in NODE for package in PACKAGES[name]]
    command = [npm, "install", "--silent", "--no-audit", "--no-fund", "--no-save", *wanted]
    return Path(node) if _succeeds(command, folder) else None


def _succeeds(command: list[str], folder: Path) -> bool:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    if done.returncode:
        print(f"left out: {' '.join(command)}: {done.stderr[-500:]}", file=sys.stderr)
    return done.returncode == 0


def _rate(program: list[str], folder: Path, url: str, jobs: int) -> float:
    """What the program says that it did, in jobs a second."""
    command = [*program, url, str(jobs)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=DRAIN_SECONDS, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return float(json.loads(done.stdout.splitlines()[-1])["rate"])


def measure(folder: Path, jobs: int) -> dict[str, float]:
    """Jobs a second of each that could be installed. Each has a server of its own, one after the other."""
    rates: dict[str, float] = {}
    for programs, runner, place, ending in (
        (PYTHON, _install_python(folder / "python"), folder / "python", "py"),
        (NODE, _install_node(folder / "node"), folder / "node", "js"),
    ):
        for name, text in programs.items():
            if runner is not None:
                file = place / f"drain_{name.lower()}.{ending}"
                file.write_text(text)
                with server() as running:
                    rates[name] = _rate([str(runner), str(file)], place, running.url, jobs // FEWER.get(name, 1))
    return rates


def figures(*, quick: bool = False) -> list[Figure]:
    """Each rate, and how many times the fastest of them ours is."""
    jobs = 5_000 if quick else 50_000
    with server() as running:
        ours = asyncio.run(delivered(running.url, jobs, None, 10))
    with tempfile.TemporaryDirectory(prefix="hearken-peers-", dir="/var/tmp") as folder:
        rates = measure(Path(folder), jobs)
    found = [Figure(f"{jobs:,} jobs that do nothing, {name}", rate, "/s") for name, rate in rates.items()]
    found.insert(0, Figure(f"{jobs:,} events whose handler does nothing", ours, "/s"))
    if rates:
        found.append(at_least("the same / the fastest of the others", ours / max(rates.values()), 2.5))
    return found

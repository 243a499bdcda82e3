"""`hearken dev` as a process of its own, the way a person runs it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

COMMAND = (sys.executable, "-m", "worker", "dev")
_OURS = ("DATABASE_URL", "PORT", "STRIPE_", "HEARKEN_", "PG")


def environment(**more: str) -> dict[str, str]:
    """This process's environment without anything that configures Hearken, and with `more`."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_OURS)} | more


def run_dev(folder: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run it in `folder` until it ends by itself, with its input closed and its output going to pipes."""
    return subprocess.run(
        ["/bin/sh", "-c", 'exec "$@" <&-', "sh", *COMMAND, *arguments],
        cwd=folder,
        env=environment(**more),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


class RunningDev:
    """One that runs until it is told to stop."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []

    def read_until(self, beginning: str) -> str:
        """Read lines up to one that begins so (after its margin); returns what follows there."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            if line.strip().startswith(beginning):
                return line.strip().removeprefix(beginning).strip()
        raise AssertionError(f"it ended without a line that begins with {beginning!r}: {''.join(self.lines)}")

    def end(self, number: signal.Signals = signal.SIGINT) -> int:
        """Send a signal, and return the exit code."""
        self.process.send_signal(number)
        assert self.process.stdout is not None
        self.lines += self.process.stdout.readlines()
        return self.process.wait(60)


@contextmanager
def running_dev(folder: Path, *arguments: str, more: Mapping[str, str] | None = None) -> Iterator[RunningDev]:
    """Start it in `folder`; what is still there in the end is killed."""
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=folder,
        env=environment(**(more or {})),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield RunningDev(process)
    finally:
        process.kill()
        process.communicate()


def processes_in(folder: Path) -> list[int]:
    """The processes that work in `folder` or below it, as a Postgres does in its data."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink().is_relative_to(folder):
                found.append(int(process.name))
        except OSError:  # it has ended, or is not ours to look into
            continue
    return found

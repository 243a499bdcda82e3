"""A disk that is full, for real: a file system of a few megabytes in memory, with a tablespace on it.

Mounting takes root, which CI is; elsewhere a test that needs it is skipped and says so (see `parts`).
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.parts import Missing, needed

MEGABYTES = 8


class SmallDisk:
    """Mounted at `path`; `tablespace` on it belongs to the user that servers run as."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tablespace = path / "tablespace"
        self._filling = path / "filling"

    def fill(self) -> None:
        """Leave no byte."""
        with self._filling.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                return

    def free(self) -> None:
        """Have room again."""
        self._filling.unlink()


def _mount_program() -> str:
    mount = shutil.which("mount")
    if os.geteuid() != 0 or mount is None:
        raise Missing("a small disk cannot be mounted: run the tests as root, with `mount`")
    return mount


@contextmanager
def small_disk(path: Path) -> Iterator[SmallDisk]:
    """Mount one at the new directory `path`; gone in the end."""
    mount = needed(_mount_program)
    path.mkdir()
    command = [mount, "-t", "tmpfs", "-o", f"size={MEGABYTES}m,mode=755", "small", str(path)]
    subprocess.run(command, check=True, capture_output=True)
    try:
        disk = SmallDisk(path)
        disk.tablespace.mkdir()
        nobody = pwd.getpwnam("nobody")
        os.chown(disk.tablespace, nobody.pw_uid, nobody.pw_gid)
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)

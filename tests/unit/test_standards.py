"""Promise: the code keeps to its own standards, which a reader relies on."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("worker", "handlers", "schema")
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
LONGEST_FILE, TOO_LONG, LONG, SHARE = 260, 50, 20, 0.9
# What stands before all rooms: the front door, and what every room may use.
TOP = {"__init__", "__main__", "app", "change", "errors", "outcomes", "rate_limit", "settings", "testing", "version"}
# Where tests may let time pass.
WAITING = "tests/support/waiting.py"
VAGUE = {"utils", "util", "helpers", "helper", "common", "manager", "managers", "misc"}
RUN_SQL = {"execute", "executemany", "copy", "stream"}


def trees(files: Iterable[Path] = FILES) -> Iterator[tuple[str, ast.Module]]:
    """Each file's name below the root, and its syntax tree."""
    for path in files:
        yield str(path.relative_to(ROOT)), ast.parse(path.read_text("utf-8"))


def functions() -> Iterator[tuple[str, int]]:
    """Every function's place, and its number of lines without decorators."""
    for file, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                yield f"{file}:{node.lineno} {node.name}", node.end_lineno - node.lineno + 1


def test_there_is_something_to_look_at() -> None:
    """A folder that was renamed must not make these tests pass."""
    assert {path.relative_to(ROOT).parts[0] for path in FILES} == set(PACKAGES)


def test_functions_are_short() -> None:
    """Each is shorter than a screen, nine in ten are shorter than half of one."""
    lengths = dict(functions())
    assert {place: lines for place, lines in lengths.items() if lines >= TOO_LONG} == {}
    short = sum(lines < LONG for lines in lengths.values())
    assert short / len(lengths) >= SHARE, sorted(lengths.items(), key=lambda item: -item[1])[:20]


def test_the_engine_is_a_few_files_and_its_rooms() -> None:
    """Ten files at its top: a new one belongs into a room."""
    assert len(TOP) == 10
    assert {path.stem for path in (ROOT / "worker").glob("*.py")} == TOP


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_is_about_one_thing(path: Path) -> None:
    """So it is short, says in its first lines what it is for, and has a name that says it too."""
    text = path.read_text("utf-8")
    assert len(text.splitlines()) <= LONGEST_FILE
    assert not VAGUE & {path.stem, path.parent.name}
    if text.strip():
        assert ast.get_docstring(ast.parse(text)), "no docstring that says where the module stands"


def test_the_engine_knows_no_handler() -> None:
    """They are found by name: nothing of worker/ imports from handlers/, or from the row models in schema/."""
    wrong = []
    for file, tree in trees():
        for node in ast.walk(tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            wrong += [(file, name) for name in names if name.split(".")[0] in ("handlers", "schema", "tests", "bench")]
    assert [(file, name) for file, name in wrong if file.startswith("worker/")] == []
    assert [(file, name) for file, name in wrong if name.split(".")[0] in ("tests", "bench")] == []


def test_no_sql_is_put_together_from_strings() -> None:
    """What is run is a constant, or composed by psycopg.sql."""
    wrong = []
    for file, tree in trees():
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
                continue
            first = node.args[0]
            built = isinstance(first, ast.JoinedStr) or (
                isinstance(first, ast.BinOp) and any(isinstance(part, ast.JoinedStr) for part in ast.walk(first))
            )
            formatted = (
                isinstance(first, ast.Call)
                and isinstance(first.func, ast.Attribute)
                and isinstance(first.func.value, ast.Constant | ast.JoinedStr)
            )
            if node.func.attr in RUN_SQL | {"SQL"} and (built or formatted):
                wrong.append(f"{file}:{node.lineno}")
    assert wrong == []


def test_nothing_is_swallowed() -> None:
    """No bare `except:`, and no handler of all exceptions whose body is `pass`."""
    wrong = []
    for file, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.ExceptHandler):
                everything = node.type is None or (isinstance(node.type, ast.Name) and "Exception" in node.type.id)
                silent = all(isinstance(part, ast.Pass | ast.Continue) for part in node.body)
                if node.type is None or (everything and silent):
                    wrong.append(f"{file}:{node.lineno}")
    assert wrong == []


def test_tests_wait_on_signals() -> None:
    """No test sleeps, but in the one place that looks again and again, or waits a random moment."""
    slept = {
        (file, node.lineno)
        for file, tree in trees(sorted((ROOT / "tests").rglob("*.py")))
        for node in ast.walk(tree)
        if (isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "sleep")
        or (isinstance(node, ast.Constant) and re.search(r"pg_sleep\(", str(node.value)))
    }
    assert {file for file, _ in slept} == {WAITING}, sorted(slept)

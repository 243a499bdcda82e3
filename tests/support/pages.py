"""The documents, read as tests need them: their fenced blocks, links and code spans; and who runs which block.

A test runs a block by being given it: `@runs(page("docs/deploy.md").block("sql"))`. `test_pages` looks through all
tests of tests/docs for these, and fails for a block that no test is given.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Block:
    """One fenced block of a page; `line` is that of its opening fence."""

    page: str
    line: int
    language: str
    text: str

    @property
    def commands(self) -> list[str]:
        """What is typed in a console block."""
        return [line[2:] for line in self.text.splitlines() if line.startswith("$ ")]

    def __str__(self) -> str:
        return f"{self.page}:{self.line} ({self.language or 'no language'})"


@dataclass(frozen=True)
class Page:
    """One document: its name below the root, and its text."""

    name: str
    text: str

    @property
    def path(self) -> Path:
        return ROOT / self.name

    @property
    def blocks(self) -> list[Block]:
        return list(self._blocks())

    def _blocks(self) -> Iterator[Block]:
        for found in re.finditer(r"^```(\w*)\n(.*?)^```$", self.text, re.DOTALL | re.MULTILINE):
            yield Block(self.name, self.text.count("\n", 0, found.start()) + 1, found[1], found[2])

    def all(self, language: str) -> list[Block]:
        """Its blocks of that language, in order."""
        return [block for block in self.blocks if block.language == language]

    def block(self, language: str, part: str = "") -> Block:
        """The one block of that language that has `part` in it."""
        (block,) = [block for block in self.all(language) if part in block.text]
        return block

    @property
    def prose(self) -> str:
        """The text without its fenced blocks."""
        return re.sub(r"^```.*?^```$", "", self.text, flags=re.DOTALL | re.MULTILINE)

    @property
    def code(self) -> list[str]:
        """What stands between backticks in the prose, on one line."""
        return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", self.prose)]

    @property
    def headings(self) -> list[str]:
        return re.findall(r"^#+ (.+)$", self.prose, re.MULTILINE)

    def section(self, heading: str) -> str:
        """What stands below a heading, up to the next of its level or above."""
        found = re.search(rf"^(#+) {re.escape(heading)}$", self.text, re.MULTILINE)
        assert found, f"{self.name} has no section {heading!r}"
        below = self.text[found.end() :]
        return re.split(rf"^#{{1,{len(found[1])}}} ", below, maxsplit=1, flags=re.MULTILINE)[0]

    def table(self, first_column: str) -> list[list[str]]:
        """The cells of the one table whose first column is headed so, without its head."""
        (table,) = re.findall(rf"^\| {re.escape(first_column)} \|.*\n\| ---.*\n((?:\|.*\n?)+)", self.text, re.MULTILINE)
        return [re.split(r" \| ", row.strip("| ")) for row in table.splitlines()]


def page(name: str) -> Page:
    """The page of that name."""
    return next(page for page in pages() if page.name == name)


@cache
def pages() -> tuple[Page, ...]:
    """Every document that a user or author reads."""
    paths = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md")), *sorted(ROOT.glob("handlers/**/*.md"))]
    paths.append(ROOT / "bench" / "README.md")
    return tuple(Page(str(path.relative_to(ROOT)), path.read_text("utf-8")) for path in paths)


def runs(*blocks: Block) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a test the blocks that it runs, as its argument `blocks`."""
    return pytest.mark.parametrize("blocks", [pytest.param(blocks, id=blocks[0].page)])


def blocks_given(test: object) -> list[Block]:
    """The blocks that a test is given by `runs`."""
    marks: list[pytest.Mark] = getattr(test, "pytestmark", [])
    sets = [mark.args[1] for mark in marks if mark.name == "parametrize" and mark.args[0] == "blocks"]
    return [block for parameters in sets for given in parameters for block in given.values[0]]

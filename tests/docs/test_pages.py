"""Promise: every block of every document is run by a test, and whatever a document names is there."""

from __future__ import annotations

import importlib
import pkgutil
import re
import shlex
from collections.abc import Iterator

import click
import pytest

import tests.docs
from tests.support.pages import ROOT, Block, Page, blocks_given, pages
from worker.cli import hearken

EVERY_PAGE = pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
# Where a path of these folders is named, it is meant from the root.
FOLDERS = ("worker/", "handlers/", "schema/", "tests/", "bench/", "docs/", ".ci/")


def _given() -> Iterator[Block]:
    for module in pkgutil.iter_modules(tests.docs.__path__):
        for test in vars(importlib.import_module(f"tests.docs.{module.name}")).values():
            yield from blocks_given(test)


def test_every_block_is_run_by_a_test() -> None:
    """A block that no test of this folder is given is one that nobody has tried."""
    every = {block for page in pages() for block in page.blocks}
    assert every
    assert [str(block) for block in sorted(every - set(_given()), key=str)] == []


def test_every_kind_of_page_is_looked_at() -> None:
    """A folder that was renamed must not make these tests pass; each system beside its handlers has a page."""
    names = {page.name for page in pages()}
    systems = {path.parent.name for path in ROOT.glob("handlers/*/__init__.py")} - {"stripe"}
    assert {f"handlers/{system}/README.md" for system in systems} <= names
    wanted = ("design", "operate", "deploy", "handlers", "settings", "glossary", "contributing")
    assert {"README.md", *(f"docs/{name}.md" for name in wanted)} <= names


def test_the_readme_is_short_and_leads_to_every_page() -> None:
    """What a user needs in the first hour; the rest is one click away."""
    readme = pages()[0]
    assert len(readme.text.splitlines()) <= 200
    assert {page.name for page in pages()[1:]} == set(_links(readme))


def _links(page: Page) -> list[str]:
    return re.findall(r"\]\(([^)#]+)", page.prose)


@EVERY_PAGE
def test_links_lead_somewhere(page: Page) -> None:
    """To a file that is there, and to a heading of it."""
    for target in re.findall(r"\]\(([^)]+)\)", page.prose):
        assert "://" not in target, target
        name, _, anchor = target.partition("#")
        path = (page.path.parent / name).resolve() if name else page.path
        assert path.exists(), target
        if anchor:
            (other,) = [p for p in pages() if p.path == path]
            assert anchor in {_anchor(heading) for heading in other.headings}, target


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@EVERY_PAGE
def test_files_that_are_named_exist(page: Page) -> None:
    """Those in running text, in tables and in commands; NAME stands for any."""
    named = [word for span in page.code for word in span.split() if word.startswith(FOLDERS)]
    named += [word for block in page.blocks for word in block.text.split() if word.startswith(FOLDERS)]
    for name in named:
        assert list(ROOT.glob(name.rstrip(".,;:").replace("NAME", "*"))), name


@EVERY_PAGE
def test_commands_that_are_named_exist(page: Page) -> None:
    """Every `hearken …` between backticks is a command with these options; capitals and … stand for values."""
    for span in page.code:
        if span.startswith("hearken ") and "{" not in span.split()[1]:
            _parse(shlex.split(span)[1:])


def _parse(words: list[str]) -> None:
    command: click.Command = hearken
    while isinstance(command, click.Group) and words:
        found = command.get_command(click.Context(command), words[0])
        assert found, f"hearken {' '.join(words)}: no such command"
        command, words = found, words[1:]
    try:
        if not isinstance(command, click.Group):
            command.make_context(command.name, words)
    except (click.MissingParameter, click.BadParameter):
        pass  # PROFILE and the like are no values


@EVERY_PAGE
def test_running_text_has_short_lines(page: Page) -> None:
    """At most 120 characters, code and tables aside."""
    assert [line for line in page.prose.splitlines() if len(line) > 120 and not line.startswith("|")] == []


@EVERY_PAGE
def test_tables_are_whole(page: Page) -> None:
    """Each row has as many cells as its head."""
    for table in re.findall(r"(?:^\|.*\n?)+", page.prose, re.MULTILINE):
        widths = {len(re.split(r"(?<!\\)\|", re.sub(r"`[^`]*`", "", row))) for row in table.splitlines()}
        assert len(widths) == 1, table.splitlines()[0]

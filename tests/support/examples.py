"""Examples of the documents as a module: what they declare is known while it is in use, and forgotten afterwards."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from tests.support.pages import Block
from worker.declare.registry import registry

_NAME = "example_of_a_page"


def source(blocks: Iterable[Block]) -> str:
    """The blocks as one file."""
    return "\n\n".join(block.text for block in blocks)


@contextmanager
def examples(blocks: Iterable[Block]) -> Iterator[Any]:
    """The module that the blocks make together, in the order they stand in."""
    before = dict(registry.handlers), list(registry.resources), list(registry.checks), dict(registry.reconcilers)
    # Among the modules while it is in use: what a handler returns is described by its annotations, looked up there.
    module = sys.modules[_NAME] = ModuleType(_NAME)
    try:
        for block in blocks:
            exec(compile(ast.parse(block.text), str(block), "exec"), module.__dict__)
        yield module
    finally:
        registry.handlers, registry.resources, registry.checks, registry.reconcilers = before
        del sys.modules[_NAME]

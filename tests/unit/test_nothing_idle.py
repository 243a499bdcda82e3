"""Promise: what is written is wired: each constant, function, error and setting of the code is used by it.

A safeguard that stands in the code and is never run looks like one that works.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache

from tests.unit.test_standards import FILES, ROOT
from worker import errors, outcomes
from worker.settings import Settings

# Given to those who use the package: their tests, and their handlers.
OFFERED = {"worker", "worker.testing"}
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
NEUTRAL = {"asynccontextmanager", "contextmanager", "cache", "dataclass"}


@cache
def modules() -> dict[str, ast.Module]:
    """Every module by its name."""
    return {_name(path.relative_to(ROOT).with_suffix("").parts): ast.parse(path.read_text("utf-8")) for path in FILES}


def _name(parts: tuple[str, ...]) -> str:
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def defined(tree: ast.Module) -> Iterator[str]:
    """What a module defines at its top: constants, functions and classes. A decorator uses what it decorates."""
    for node in tree.body:
        if isinstance(node, ast.Assign):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id
        elif isinstance(node, DEFINITIONS) and all(map(_is_neutral, node.decorator_list)):
            yield node.name


def _is_neutral(decorator: ast.expr) -> bool:
    """Whether the decorator leaves it to others to use it."""
    if isinstance(decorator, ast.Call):
        decorator = decorator.func
    return isinstance(decorator, ast.Name) and decorator.id in NEUTRAL


def used(tree: ast.Module) -> Iterator[str]:
    """The names that a module reads, of its own or through a module that it imports, and those that it offers."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Assign) and any(getattr(t, "id", "") == "__all__" for t in node.targets):
            yield from ast.literal_eval(node.value)


@cache
def imported() -> set[tuple[str, str]]:
    """(module, name) of everything that one module takes from another and uses, under whatever name."""
    found = set()
    for tree in modules().values():
        names = set(used(tree))
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module is not None:
                found |= {(node.module, a.name) for a in node.names if (a.asname or a.name) in names}
                submodules = {f"{node.module}.{a.name}" for a in node.names} & modules().keys()
                found |= {(module, name) for module in submodules for name in names}
    return found


def test_nothing_at_the_top_of_a_module_is_idle() -> None:
    """SQL that no statement runs, a function that nobody calls, an error that nobody raises."""
    idle = []
    for module, tree in modules().items():
        if module in OFFERED:
            continue
        own = set(used(tree))
        idle += [
            f"{module}.{name}"
            for name in defined(tree)
            if name not in own and (module, name) not in imported() and not name.startswith("__")
        ]
    assert idle == []


def test_every_error_is_raised() -> None:
    """One that is only caught, or only drawn in the tree, promises a message that nobody will read."""
    raised = {name for tree in modules().values() for name in _made(tree)}
    roots = {base.__name__ for module in (errors, outcomes) for one in vars(module).values() for base in _bases(one)}
    known = {name for name, one in vars(errors).items() if isinstance(one, type) and issubclass(one, Exception)}
    assert known - raised - roots == set()


def _made(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield getattr(node.func, "id", getattr(node.func, "attr", ""))


def _bases(one: object) -> tuple[type, ...]:
    return one.__bases__ if isinstance(one, type) else ()


def test_every_setting_is_read() -> None:
    """A variable that changes nothing is worse than one that is unknown, which is refused."""
    read = {
        node.attr
        for name, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and name.startswith("worker.") and isinstance(node.ctx, ast.Load)
    }
    assert set(Settings.model_fields) - read == set()

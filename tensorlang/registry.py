"""What grows is found here: rows of `tensorlang.library` by folder, others by entry point."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from types import MappingProxyType, ModuleType
from typing import Any, TypeVar

from tensorlang.library.constant import Constant
from tensorlang.library.factorisation import Factorisation
from tensorlang.library.initialiser import Initialiser
from tensorlang.library.row import Function
from tensorlang.library.transform import Transform

Row = TypeVar("Row", Constant, Factorisation, Function, Initialiser, Transform)


@functools.cache
def functions() -> Mapping[str, Function]:
    """Pointwise functions by name, sorted."""
    return _rows("functions", Function)


@functools.cache
def initialisers() -> Mapping[str, Initialiser]:
    return _rows("initialisers", Initialiser)


@functools.cache
def constants() -> Mapping[str, Constant]:
    """Constructors of consts by name, sorted; those of `tensorlang.constants` too."""
    return _rows("constants", Constant)


@functools.cache
def factorisations() -> Mapping[str, Factorisation]:
    """Factorisations of params by name, sorted; those of `tensorlang.factorisations` too."""
    return _rows("factorisations", Factorisation)


@functools.cache
def transforms() -> Mapping[str, Transform]:
    return _rows("transforms", Transform)


def backends() -> tuple[str, ...]:
    """Names of the targets, sorted."""
    folder = importlib.import_module("tensorlang.backends")
    own = (module.name for module in pkgutil.iter_modules(folder.__path__))
    return tuple(sorted({*own, *(entry.name for entry in _entries("backends"))}))


def backend(name: str) -> ModuleType:
    """Import a target. An unknown name is a ValueError that lists the known ones."""
    if name not in backends():
        raise ValueError(f"unknown target {name!r}; known: {', '.join(backends())}")
    for entry in _entries("backends"):
        if entry.name == name:
            found: ModuleType = entry.load()
            return found
    return importlib.import_module(f"tensorlang.backends.{name}")


def _rows(kind: str, row: type[Row]) -> Mapping[str, Row]:
    """Rows of a folder and of its entry points; two of one name are refused."""
    rows: dict[str, Row] = {}
    for where, found in _found(kind):
        assert isinstance(found, row), (where, found)
        if found.name in rows:
            raise ValueError(f"{where}: there is a {kind[:-1]} {found.name} already")
        rows[found.name] = found
    return MappingProxyType(dict(sorted(rows.items())))


def _found(kind: str) -> Iterator[tuple[str, Any]]:
    package = importlib.import_module(f"tensorlang.library.{kind}")
    for name in sorted(module.name for module in pkgutil.iter_modules(package.__path__)):
        yield name, importlib.import_module(f"{package.__name__}.{name}").ROW
    for entry in _entries(kind):
        yield entry.value, entry.load()


def _entries(kind: str) -> list[Any]:
    return sorted(entry_points(group=f"tensorlang.{kind}"), key=lambda entry: entry.name)

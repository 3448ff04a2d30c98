"""A spec: the files that `use` joins, and what the layers and defs of each can see.

`use` is not transitive, and reads nothing outside the folder of the root file but the standard
library, whose files form one module.
"""

from __future__ import annotations

import difflib
import functools
import hashlib
import posixpath
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.resources import files as resources
from pathlib import Path
from typing import Protocol

from tensorlang.check.errors.names import NameTaken, UseCycle, UseRefused, UseUnknownName
from tensorlang.diagnostics import Diagnostic, SpecError
from tensorlang.source import Source, Span
from tensorlang.syntax import ast
from tensorlang.syntax.errors import NotText
from tensorlang.syntax.parse import parse

MOST_DEEP = 100


@dataclass(frozen=True, eq=False)
class Scope:
    """What one file's layers and defs see."""

    layers: Mapping[str, LayerSource]
    defs: Mapping[str, DefSource]


@dataclass(frozen=True, eq=False)
class LayerSource:
    """A layer and the scope of the file where it is written."""

    ast: ast.Layer
    scope: Scope = field(repr=False)


@dataclass(frozen=True, eq=False)
class DefSource:
    """A def and the scope of the file where it is written."""

    ast: ast.Def
    scope: Scope = field(repr=False)


@dataclass(frozen=True, eq=False)
class Spec:
    """A root file and all that it uses. `layers` are the root's own, in source order."""

    path: str
    sources: tuple[Source, ...]
    layers: Mapping[str, LayerSource]
    scope: Scope
    content_hash: str


def load_spec(path: str | Path) -> Spec:
    """Read a file and what it uses. Raises SpecError; FileNotFoundError if the root is missing."""
    root = Path(path)
    found = root.read_bytes()
    disk = _Disk(root.parent)
    return _Loader(disk).load(root.name, str(path), lambda: decoded(str(path), found))


def spec_of_text(
    text: str, path: str = "<spec>.tl", files: Mapping[str, str] | None = None
) -> Spec:
    """Make a spec of a text; `files` are those that it may use, by their path beside it."""
    return _Loader(_Memory(files or {})).load(path, path, lambda: Source(path, text))


# --- where files come from -----------------------------------------------------------------------
class _Refused(Exception):
    """A file cannot be read; the argument says why."""


class _Files(Protocol):
    def read(self, path: str) -> Source:
        """Read a normalised path relative to the root's folder. Raises _Refused, SpecError."""


@dataclass(frozen=True)
class _Disk:
    folder: Path

    def read(self, path: str) -> Source:
        target = self.folder / path
        try:
            if not target.resolve().is_relative_to(self.folder.resolve()):
                raise _Refused(_OUTSIDE)
            if not target.exists():
                raise _Refused("there is no such file")
            if not target.is_file():
                raise _Refused("it is not a file")
            return decoded(str(target), target.read_bytes())
        except (OSError, RuntimeError) as error:
            reason = error.strerror if isinstance(error, OSError) else None
            raise _Refused((reason or "it cannot be read").lower()) from None


@dataclass(frozen=True)
class _Memory:
    files: Mapping[str, str]

    def read(self, path: str) -> Source:
        if path not in self.files:
            raise _Refused("there is no such file")
        return Source(path, self.files[path])


_OUTSIDE = "a spec uses only files in its own folder or below"


def decoded(path: str, content: bytes) -> Source:
    """The text of a file, line ends as `\\n`, no byte order mark. Raises SpecError."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        source = Source(path, content.decode("utf-8", errors="replace"))
        at = len(content[: error.start].decode("utf-8", errors="replace"))
        span = Span(source, at, at + 1)
        raise SpecError([NotText(span, content[error.start])]) from None
    return Source(path, text.replace("\r\n", "\n").replace("\r", "\n"))


# --- modules -------------------------------------------------------------------------------------
@dataclass(frozen=True, eq=False)
class _Module:
    """What one file (or the standard library) defines itself; `is_whole` if all of it parsed."""

    layers: Mapping[str, LayerSource]
    defs: Mapping[str, DefSource]
    scope: Scope
    is_whole: bool


_NOTHING = _Module({}, {}, Scope({}, {}), False)


class _Loader:
    def __init__(self, files: _Files) -> None:
        self.files = files
        self.sources: list[Source] = []
        self.diagnostics: list[Diagnostic] = []
        self.modules: dict[str, _Module] = {}
        self.open: list[str] = []  # files whose uses are being resolved

    def load(self, root: str, path: str, read: Callable[[], Source]) -> Spec:
        module = self._module(posixpath.normpath(root), read)
        if self.diagnostics:
            raise SpecError(self.diagnostics)
        return Spec(path, tuple(self.sources), module.layers, module.scope, _hash(self.sources))

    def _module(self, path: str, read: Callable[[], Source]) -> _Module:
        try:
            source = read()
            self.sources.append(source)
            parsed = parse(source)
        except SpecError as error:
            self.diagnostics.extend(error.diagnostics)
            return _NOTHING
        self.open.append(path)
        builder = _ScopeBuilder(self.diagnostics.append)
        for item in parsed.items:
            if isinstance(item, ast.Use):
                builder.bring(item, self._used(item, path))
            else:
                builder.define(item)
        self.open.pop()
        return builder.module()

    def _used(self, use: ast.Use, user: str) -> _Module:
        """The module that a use statement of the file `user` names."""
        if not use.is_path:
            if use.module != "std":
                return self._refuse(use, "the only library is std; a file's name stands in quotes")
            module, sources = standard_library()
            self.sources.extend(source for source in sources if source not in self.sources)
            return module
        if posixpath.isabs(use.module) or ":" in use.module.split("/")[0]:
            return self._refuse(use, "the path must be relative to the file that uses it")
        path = posixpath.normpath(posixpath.join(posixpath.dirname(user), use.module))
        if path == ".." or path.startswith("../"):
            return self._refuse(use, _OUTSIDE)
        if path in self.open:
            self.diagnostics.append(UseCycle(use.module_span, use.module))
            return _NOTHING
        if len(self.open) > MOST_DEEP:
            return self._refuse(use, "files use each other too deep")
        if path not in self.modules:
            try:
                source = self.files.read(path)
            except _Refused as refused:
                return self._refuse(use, str(refused))
            except SpecError as error:
                self.diagnostics.extend(error.diagnostics)
                return _NOTHING
            self.modules[path] = self._module(path, lambda: source)
        return self.modules[path]

    def _refuse(self, use: ast.Use, why: str) -> _Module:
        self.diagnostics.append(UseRefused(use.module_span, use.module, why))
        return _NOTHING


class _ScopeBuilder:
    """Fill the scope of one file, or of the files that form one module, item by item."""

    def __init__(self, report: Callable[[Diagnostic], None]) -> None:
        self.report = report
        self.layers: dict[str, LayerSource] = {}
        self.defs: dict[str, DefSource] = {}
        self.seen_layers: dict[str, LayerSource] = {}
        self.seen_defs: dict[str, DefSource] = {}
        self.scope = Scope(self.seen_layers, self.seen_defs)
        self.taken: dict[str, tuple[Span, str]] = {}

    def define(self, item: ast.Layer | ast.Def) -> None:
        what = "a layer" if isinstance(item, ast.Layer) else "a def"
        if not self._take(item.name, item.name_span, what):
            return
        if isinstance(item, ast.Layer):
            self.layers[item.name] = self.seen_layers[item.name] = LayerSource(item, self.scope)
        else:
            self.defs[item.name] = self.seen_defs[item.name] = DefSource(item, self.scope)

    def bring(self, use: ast.Use, module: _Module) -> None:
        for name in use.names:
            if name.id in module.layers:
                if self._take(name.id, name.span, f"a layer of {use.module}"):
                    self.seen_layers[name.id] = module.layers[name.id]
            elif name.id in module.defs:
                if self._take(name.id, name.span, f"a def of {use.module}"):
                    self.seen_defs[name.id] = module.defs[name.id]
            elif module.is_whole:
                known = [*module.layers, *module.defs]
                close = next(iter(difflib.get_close_matches(name.id, known, n=1)), None)
                self.report(UseUnknownName(name.span, name.id, use.module, close))

    def module(self) -> _Module:
        return _Module(self.layers, self.defs, self.scope, True)

    def _take(self, name: str, span: Span, what: str) -> bool:
        if name in self.taken:
            self.report(NameTaken(span, name, what, *self.taken[name]))
            return False
        self.taken[name] = (span, what)
        return True


@functools.cache
def standard_library() -> tuple[_Module, tuple[Source, ...]]:
    """Parse tensorlang/std/*.tl, once a process; its files see each other's names."""
    folder = resources("tensorlang.std")
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".tl"))
    sources = tuple(
        Source(f"std/{name}", folder.joinpath(name).read_text(encoding="utf-8")) for name in names
    )
    faults: list[Diagnostic] = []
    builder = _ScopeBuilder(faults.append)
    for source in sources:
        for item in parse(source).items:
            assert not isinstance(item, ast.Use), (source.path, item)
            builder.define(item)
    assert not faults, [fault.message() for fault in faults]
    return builder.module(), sources


def _hash(sources: list[Source]) -> str:
    digest = hashlib.sha256()
    for source in sources:
        digest.update(source.text.encode("utf-8", errors="surrogatepass") + b"\0")
    return digest.hexdigest()

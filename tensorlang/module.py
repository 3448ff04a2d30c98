"""A spec as a namespace of nn.Module classes: bind, compile and cache when one is constructed.

What runs is exactly the text that `compile` would write. A layer's class is a façade; constructing
it gives an instance of a subclass of both the façade and the emitted class.
"""

from __future__ import annotations

import difflib
import hashlib
import inspect
import linecache
import sys
import types
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from tensorlang.check.program import Program, Value
from tensorlang.check.spec import Spec, load_spec, spec_of_text
from tensorlang.driver import Compiled, build, frozen_value
from tensorlang.options import Options
from tensorlang.requests import BadRequest


def load(
    path: str | Path,
    target: str = "torch",
    ranges: Mapping[str, tuple[int, int]] | None = None,
    **changes: Any,
) -> LoadedSpec:
    """Parse and check a spec; each layer becomes a class, an attribute of the result.

    `tensorlang.load("axial.tl").AxialBlock(d=256)` is an nn.Module. `ranges` bounds dynamic sizes
    for the planner, as {"n": (1, 4096)}; other keywords are fields of `Options`. Raises SpecError
    if the file cannot be parsed, FileNotFoundError if there is none.
    """
    limits = tuple((dim, least, most) for dim, (least, most) in (ranges or {}).items())
    return LoadedSpec(load_spec(path), replace(Options(target=target, ranges=limits), **changes))


class LoadedSpec:
    """The layers of one spec, as attributes."""

    def __init__(self, spec: Spec, options: Options) -> None:
        self._spec = spec
        self._options = options
        self._layers: dict[str, LayerClass] = {}

    def __getattr__(self, name: str) -> LayerClass:
        if name.startswith("__") or name not in self._spec.layers:
            close = difflib.get_close_matches(name, self._spec.layers, 1)
            hint = f"; did you mean {close[0]}?" if close else f"; it has {', '.join(self)}"
            raise AttributeError(f"{self._spec.path} has no layer {name}{hint}")
        if name not in self._layers:
            self._layers[name] = _layer_class(self._spec, name, self._options)
        return self._layers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._spec.layers)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._spec.layers]

    def __repr__(self) -> str:
        return f"<{self._spec.path}: {', '.join(self)}>"


class LayerClass(type):
    """Metaclass of the façades: calling one binds, compiles, and constructs the emitted class."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        if getattr(cls, "_compiled", None) is not None:
            return super().__call__(*args, **kwargs)
        if args:
            raise TypeError(f"{cls.__name__} takes its hyperparameters by keyword")
        place = {key: kwargs.pop(key) for key in ("device", "dtype") if key in kwargs}
        return _concrete(cls, kwargs)(**place)


_FACADES: dict[tuple[str, str, str, Options], LayerClass] = {}


def _layer_class(spec: Spec, name: str, options: Options) -> LayerClass:
    """The façade of a layer, the same for the same content, so that copies are of the same type."""
    key = (spec.path, spec.content_hash, name, options)
    if key not in _FACADES:
        _FACADES[key] = _new_layer_class(spec, name, options)
    return _FACADES[key]


def _new_layer_class(spec: Spec, name: str, options: Options) -> LayerClass:
    layer = spec.layers[name].ast
    parameters = [
        inspect.Parameter(
            hyper.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if hyper.default is None else _Shown(hyper.span.text),
        )
        for hyper in layer.hypers
    ]
    parameters += [
        inspect.Parameter(extra, inspect.Parameter.KEYWORD_ONLY, default=None)
        for extra in ("device", "dtype")
        if extra not in {hyper.name for hyper in layer.hypers}
    ]
    return LayerClass(
        name,
        (nn.Module,),
        {
            "__doc__": layer.docstring or f"Layer {name} of {spec.path}.",
            "__module__": __name__,
            "__signature__": inspect.Signature(parameters),
            "_spec": spec,
            "_layer": name,
            "_options": options,
            "_compiled": None,
        },
    )


class _Shown:
    """A default in a signature, printed as the source writes it."""

    def __init__(self, text: str) -> None:
        self.text = text.split("=", 1)[1].strip()

    def __repr__(self) -> str:
        return self.text


_CONCRETE: dict[tuple[type, tuple[tuple[str, Value], ...]], type] = {}


def _concrete(facade: LayerClass, hypers: Mapping[str, Any]) -> type:
    """The subclass for these hyperparameters. Raises TypeError for unknown or missing ones."""
    known = {hyper.name: hyper for hyper in facade._spec.layers[facade._layer].ast.hypers}  # type: ignore[attr-defined]
    for name in hypers:
        if name not in known:
            close = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {close[0]}?" if close else f"it has {', '.join(known) or 'none'}"
            raise BadRequest(f"{facade.__name__} has no hyperparameter {name}; {hint}")
    missing = [n for n, hyper in known.items() if hyper.default is None and n not in hypers]
    if missing:
        raise BadRequest(f"{facade.__name__} needs a value for {', '.join(missing)}")
    bind = {name: frozen_value(value) for name, value in hypers.items()}
    key = (facade, tuple(sorted(bind.items())))
    if key not in _CONCRETE:
        _CONCRETE[key] = _specialise(facade, bind)
    return _CONCRETE[key]


def _specialise(facade: Any, bind: Mapping[str, Value]) -> type:
    compiled = build(facade._spec, {facade._layer: bind}, facade._options)
    emitted = _run(compiled, facade._layer, bind)
    own = getattr(emitted, compiled.roots[facade._layer])
    made = LayerClass(
        facade.__name__,
        (facade, own),
        {
            "__doc__": own.__doc__,
            "__module__": emitted.__name__,
            "__signature__": inspect.signature(own),
            "_compiled": compiled,
            "_program": own._program,
        },
    )
    made.__reduce_ex__ = _reduce(compiled, facade._layer, bind, _FACADE)  # type: ignore[method-assign]
    return made


_FACADE = ""  # in a recipe: the class that the user constructed, not one of its children's


def _run(compiled: Compiled, layer: str, bind: Mapping[str, Value]) -> types.ModuleType:
    """Execute the emitted text as a module; its classes know their programs and how to pickle."""
    digest = hashlib.sha256(compiled.source.encode()).hexdigest()[:16]
    name = f"tensorlang_generated_{layer}_{digest}"
    if name in sys.modules:
        return sys.modules[name]
    path = f"<tensorlang {layer} {digest}>"
    linecache.cache[path] = (
        len(compiled.source), None, compiled.source.splitlines(keepends=True), path,
    )  # fmt: skip
    module = types.ModuleType(name)
    module.__file__ = path
    sys.modules[name] = module
    exec(compile(compiled.source, path, "exec"), module.__dict__)
    for unit in compiled.units:
        made = getattr(module, unit.class_name)
        made._program = unit.program
        made.__reduce_ex__ = _reduce(compiled, layer, bind, unit.class_name)
    return module


def _reduce(compiled: Compiled, layer: str, bind: Mapping[str, Value], attribute: str) -> Any:
    """Pickle as (sources, layer, hyperparameters, options), rebuilt by whoever unpickles."""
    files = tuple((source.path, source.text) for source in compiled.spec.sources)
    recipe = (files, layer, tuple(sorted(bind.items())), compiled.options, attribute)

    def __reduce_ex__(self: nn.Module, protocol: object) -> Any:
        state = self.__getstate__()  # type: ignore[no-untyped-call]
        return rebuild, recipe, state

    return __reduce_ex__


def rebuild(
    files: tuple[tuple[str, str], ...],
    layer: str,
    bind: tuple[tuple[str, Value], ...],
    options: Options,
    attribute: str,
) -> nn.Module:
    """An empty instance of the class that a pickled module had; pickle fills in its state."""
    (path, text), *others = files
    made: Any = _concrete(
        _layer_class(spec_of_text(text, path, dict(others)), layer, options), dict(bind)
    )
    cls = getattr(sys.modules[made.__module__], attribute) if attribute else made
    instance: nn.Module = cls.__new__(cls)
    return instance


def program_of(layer: object) -> Program:
    """The checked program of a loaded layer or of its class; a TypeError for anything else."""
    program = getattr(layer, "_program", None)
    if not isinstance(program, Program):
        raise TypeError(f"{layer!r} is no layer loaded by tensorlang.load")
    return program

"""A spec as a namespace of nn.Module classes: bind, compile and cache when one is constructed.

What runs is exactly the text that `compile` would write. A layer's class is a façade; constructing
it gives an instance of a subclass of both the façade and the emitted class.
"""

from __future__ import annotations

import difflib
import hashlib
import inspect
import keyword
import linecache
import sys
import types
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tensorlang.check.check import check_layer
from tensorlang.check.factorised import RANKS
from tensorlang.check.hypers import ranks_by_values
from tensorlang.check.names import CONSTRUCTOR_ARGUMENTS
from tensorlang.check.program import Program, Value, exact_bind
from tensorlang.check.spec import Spec, load_spec, spec_of_text
from tensorlang.dense_values import decomposed, ranks_for
from tensorlang.driver import Compiled, build, frozen_value
from tensorlang.options import Options
from tensorlang.requests import BadRequest, BadShape, range_options
from tensorlang.syntax import ast
from tensorlang.tune_file import fingerprint


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
    options = replace(Options(target=target), ranges=range_options(ranges or {}), **changes)
    return LoadedSpec(load_spec(path), options)


class LoadedSpec:
    """The layers of one spec, as attributes."""

    def __init__(self, spec: Spec, options: Options) -> None:
        self.__spec__ = spec  # names that no layer can have
        self.__options__ = options

    def __getattr__(self, name: str) -> LayerClass:
        if name.startswith("__") and name.endswith("__") and len(name) > 4:
            raise AttributeError(name)
        if name not in self.__spec__.layers:
            close = difflib.get_close_matches(name, self.__spec__.layers, 1)
            hint = f"; did you mean {close[0]}?" if close else f"; it has {', '.join(self)}"
            raise AttributeError(f"{self.__spec__.path} has no layer {name}{hint}")
        return _layer_class(self.__spec__, name, self.__options__)

    def __iter__(self) -> Iterator[str]:
        return iter(self.__spec__.layers)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self.__spec__.layers]

    def __repr__(self) -> str:
        return f"<{self.__spec__.path}: {', '.join(self)}>"


class LayerClass(type):
    """Metaclass of the façades: calling one binds, compiles, and constructs the emitted class."""

    _given: Mapping[str, bool]
    _spec: Spec
    _layer: str

    def __call__(cls, /, *args: Any, **kwargs: Any) -> Any:
        if getattr(cls, "_compiled", None) is not None:
            return super().__call__(*args, **kwargs)
        if args:
            raise TypeError(f"{cls.__name__} takes its hyperparameters by keyword")
        place = {name: kwargs.pop(name) for name in CONSTRUCTOR_ARGUMENTS if name in kwargs}
        values = {name: kwargs.pop(name) for name in cls._given if name in kwargs}
        made = _concrete(cls, _with_ranks(cls, kwargs, values))(**place)
        if values:
            _set(made, values)
        return made


_FACADES: dict[tuple[str, str, str, Options, str | None], LayerClass] = {}


def _layer_class(spec: Spec, name: str, options: Options) -> LayerClass:
    """The façade of a layer, the same for the same content, so that copies are of the same type."""
    tuned = None if options.tune is None else fingerprint(options.tune)
    key = (spec.path, spec.content_hash, name, options, tuned)
    if key not in _FACADES:
        _FACADES[key] = _new_layer_class(spec, name, options)
    return _FACADES[key]


def _new_layer_class(spec: Spec, name: str, options: Options) -> LayerClass:
    layer = spec.layers[name].ast
    return LayerClass(
        name,
        (nn.Module,),
        {
            "__doc__": layer.docstring or f"Layer {name} of {spec.path}.",
            "__module__": __name__,
            "__signature__": _signature(layer),
            "_spec": spec,
            "_layer": name,
            "_options": options,
            "_compiled": None,
            "_given": _given(layer),
        },
    )


def _signature(layer: ast.Layer) -> inspect.Signature:
    """What a constructor takes; hyperparameters named like a word of Python as `**more`."""
    named = [hyper for hyper in layer.hypers if not keyword.iskeyword(hyper.name)]
    kind = inspect.Parameter.KEYWORD_ONLY
    parameters = [
        inspect.Parameter(
            hyper.name,
            kind,
            default=inspect.Parameter.empty if hyper.default is None else _Shown(hyper.span.text),
        )
        for hyper in named
    ]
    given = {name: None for name in _given(layer) if not keyword.iskeyword(name)}
    parameters += [
        inspect.Parameter(name, kind, default=None) for name in (*given, *CONSTRUCTOR_ARGUMENTS)
    ]
    if len(named) < len(layer.hypers):
        more = "more"
        while more in {hyper.name for hyper in named} | given.keys():
            more = f"_{more}"
        parameters.append(inspect.Parameter(more, inspect.Parameter.VAR_KEYWORD))
    return inspect.Signature(parameters)


class _Shown:
    """A default in a signature, printed as the source writes it."""

    def __init__(self, text: str) -> None:
        self.text = text.split("=", 1)[1].strip()

    def __repr__(self) -> str:
        return self.text


# --- values of params that are given -------------------------------------------------------------
def _given(layer: ast.Layer) -> dict[str, bool]:
    """Params that are `~ given`; whether their ranks depend on their values."""
    late = ranks_by_values(layer)
    return {
        tensor.name: tensor.name + RANKS in late
        for statement in layer.body
        if isinstance(statement, ast.ParamDecl) and statement.given
        for tensor in statement.tensors
    }


def _with_ranks(
    facade: Any, hypers: Mapping[str, Any], values: Mapping[str, Any]
) -> dict[str, Any]:
    """The hyperparameters, and the ranks that params by `tol` need for their values."""
    late = [name for name, by_values in facade._given.items() if by_values and name in values]
    if not late:
        return dict(hypers)
    _refuse_unknown(facade, hypers)
    bind = {name: frozen_value(value) for name, value in hypers.items()}
    trial = check_layer(facade._spec, facade._layer, bind | {name + RANKS: 1 for name in late})
    found = {
        factored.name + RANKS: ranks_for(factored, _array(values[factored.name]))
        for factored in trial.factored
        if factored.name in late
    }
    return bind | found


def _set(made: nn.Module, values: Mapping[str, Any]) -> None:
    """Give params their values, through the door that a state_dict takes."""
    state = {
        key: value
        for key, value in made.state_dict().items()
        if key.partition(".")[0] not in values
    }
    own = dict(made.named_parameters(recurse=False))
    for name, value in values.items():
        given = torch.as_tensor(value)
        if name in own and own[name].shape != given.shape:
            shapes = f"shape {tuple(own[name].shape)}, given {tuple(given.shape)}"
            raise BadShape(f"param {name} has {shapes}")
        state[name] = given
    made.load_state_dict(state)


def _array(value: Any) -> Any:
    tensor = torch.as_tensor(value).detach().cpu()
    return tensor.to(torch.complex128 if tensor.is_complex() else torch.float64).numpy()


def _decomposing(base: type[nn.Module], program: Program) -> Any:
    """Loading for a layer with factored params: a dense value under their name is decomposed."""
    load_factors = base._load_from_state_dict

    def _load_from_state_dict(
        self: Any, state_dict: dict[str, Any], prefix: str, *args: Any
    ) -> None:
        for factored in program.factored:
            dense = state_dict.pop(prefix + factored.name, None)
            if dense is None:
                continue
            factors, fit = decomposed(factored, _array(dense))
            for name, values in factors.items():
                state_dict[prefix + name] = torch.as_tensor(values)
            self.factorisations = {**getattr(self, "factorisations", {}), factored.name: fit}
        load_factors(self, state_dict, prefix, *args)

    return _load_from_state_dict


_CONCRETE: dict[tuple[type, Hashable], type] = {}


def _concrete(facade: LayerClass, hypers: Mapping[str, Any]) -> type:
    """The subclass for these hyperparameters. Raises TypeError for unknown or missing ones."""
    known = _refuse_unknown(facade, hypers)
    missing = [n for n, hyper in known.items() if hyper.default is None and n not in hypers]
    if missing:
        raise BadRequest(f"{facade.__name__} needs a value for {', '.join(missing)}")
    bind = {name: frozen_value(value) for name, value in hypers.items()}
    key = (facade, exact_bind(sorted(bind.items())))
    if key not in _CONCRETE:
        _CONCRETE[key] = _specialise(facade, bind)
    return _CONCRETE[key]


def _refuse_unknown(facade: Any, hypers: Iterable[str]) -> dict[str, ast.Hyper]:
    """The layer's hyperparameters by name; a TypeError for a name that is none of them."""
    known = {hyper.name: hyper for hyper in facade._spec.layers[facade._layer].ast.hypers}
    late = [name + RANKS for name, by_values in facade._given.items() if by_values]
    for name in hypers:
        if name not in known and name not in late:
            close = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {close[0]}?" if close else f"it has {', '.join(known) or 'none'}"
            raise BadRequest(f"{facade.__name__} has no hyperparameter {name}; {hint}")
    return known


def _specialise(facade: Any, bind: Mapping[str, Value]) -> type:
    compiled = build(facade._spec, {facade._layer: bind}, facade._options)
    emitted = execute(compiled, facade._layer, bind)
    own = emitted.LAYERS[compiled.roots[facade._layer]]
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
    derived = "_spec" not in vars(facade)
    made.__reduce_ex__ = (  # type: ignore[method-assign]
        _reduce_derived(facade, bind)
        if derived
        else _reduce(compiled, facade._layer, bind, _FACADE)
    )
    return made


def _reduce_derived(facade: LayerClass, bind: Mapping[str, Value]) -> Any:
    """Pickle an instance of a user's own subclass: by its name, as Python does."""
    recipe = (facade, tuple(sorted(bind.items())))
    return lambda self, protocol: (rebuild_derived, recipe, self.__getstate__())


_FACADE = ""  # in a recipe: the class that the user constructed, not one of its children's


def execute(compiled: Compiled, layer: str, bind: Mapping[str, Value]) -> types.ModuleType:
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
    try:
        exec(compile(compiled.source, path, "exec"), module.__dict__)
    except BaseException:
        del sys.modules[name]
        raise
    for unit in compiled.units:
        made = module.LAYERS[unit.class_name]
        made._program = unit.program
        if unit.program.factored:
            made._load_from_state_dict = _decomposing(made, unit.program)
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
    cls = sys.modules[made.__module__].LAYERS[attribute] if attribute else made
    instance: nn.Module = cls.__new__(cls)
    return instance


def given_params(layer: LayerClass) -> tuple[str, ...]:
    """Names of the params that a constructor takes values of."""
    return tuple(layer._given)


def rebuild_derived(facade: LayerClass, bind: tuple[tuple[str, Value], ...]) -> nn.Module:
    """An empty instance of a user's subclass of a layer."""
    cls: Any = _concrete(facade, dict(bind))
    instance: nn.Module = cls.__new__(cls)
    return instance


def program_of(layer: object) -> Program:
    """The checked program of a loaded layer or of its class; a TypeError for anything else."""
    program = getattr(layer, "_program", None)
    if not isinstance(program, Program):
        raise TypeError(f"{layer!r} is no layer loaded by tensorlang.load")
    return program

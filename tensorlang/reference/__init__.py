"""What a program means: numpy in float64, equation by equation, by broadcasting over all indices.

It shares no code with the graph, the rewrites and the backends. The module can be called:
`tensorlang.reference(layer)` is the layer as a function of arrays.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, assert_never

import numpy as np

from tensorlang.check.dependence import axes_of
from tensorlang.check.program import (
    Equation,
    Gradient,
    Program,
    Scatter,
    Statement,
    SubCall,
)
from tensorlang.reference import border, gradient, statements


def evaluate(program: Program, inputs: Sequence[Any], params: Mapping[str, Any]) -> tuple[Any, ...]:
    """Run a layer on arrays; params of sub-layers are keyed `sub.W`, `sub.0.W`.

    Raises ValueError for wrong shapes and IndexError for a gathered position out of range.
    """
    bound = border.passed(program, inputs)
    tensors = dict(zip((i.name for i in program.inputs), bound.inputs, strict=True))
    tensors |= border.params(program, params)
    run = _Run(program, bound.sizes, params)
    with np.errstate(all="ignore"):
        for declared in program.consts:
            tensors[declared.name] = statements.const(declared, bound.sizes, tensors)
        for statement in program.body:
            tensors |= run.statement(statement, tensors)
    axes = axes_of(program.body)
    return tuple(
        border.unflattened(axes[name], tensors[name], bound.batch) for name in program.outputs
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """One layer at given sizes, with the params of its sub-layers."""

    program: Program
    sizes: Mapping[str, int]
    params: Mapping[str, Any]

    def statement(self, statement: Statement, tensors: Mapping[str, Any]) -> dict[str, Any]:
        """The tensors that it defines."""
        match statement:
            case Equation(name, axes, dtype, body):
                return {name: statements.equation(axes, dtype, body, self.sizes, tensors)}
            case Scatter(name):
                return {name: statements.scatter(statement, self.sizes, tensors)}
            case SubCall():
                names = [output.name for output in statement.outputs]
                return dict(zip(names, self._call(statement, tensors), strict=True))
            case Gradient(name):
                between = self.program.body
                return {name: gradient.gradient(statement, between, tensors, self.statement)}
            case _:
                assert_never(statement)

    def _call(self, call: SubCall, tensors: Mapping[str, Any]) -> tuple[Any, ...]:
        sub = next(sub for sub in self.program.subs if sub.name == call.sub)
        arrays = [tensors[name] for name in call.inputs]
        if sub.count is None:
            return evaluate(call.program, arrays, _below(sub.name, self.params))
        for stage in range(sub.count):
            below = _below(f"{sub.name}.{stage}", self.params)
            arrays[:1] = evaluate(call.program, arrays, below)
        return tuple(arrays[:1])


def _below(path: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """Params of a sub-layer, by their names within it."""
    prefix = f"{path}."
    return {key[len(prefix) :]: v for key, v in params.items() if key.startswith(prefix)}


def layer_function(layer: Any) -> Callable[..., Any]:
    """A compiled layer, evaluated here: tensors or arrays in, one float64 array or a tuple out."""
    program = getattr(type(layer), "_program", None)
    if not isinstance(program, Program):
        raise TypeError(f"{layer!r} is no layer loaded by tensorlang.load")
    params = {key: _array(value) for key, value in layer.state_dict().items()}

    def call(*inputs: Any, **named: Any) -> Any:
        rest = [named.pop(i.name) for i in program.inputs[len(inputs) :] if i.name in named]
        if named:
            raise TypeError(f"{program.layer} has no input {', '.join(named)}")
        out = evaluate(program, [_array(x) for x in (*inputs, *rest)], params)
        return out[0] if len(out) == 1 else out

    return call


def _array(value: Any) -> Any:
    """A torch tensor of any dtype as an array; arrays as they are."""
    if not hasattr(value, "detach"):
        return np.asarray(value)
    value = value.detach().cpu().resolve_conj().resolve_neg()
    if value.is_floating_point():
        return value.double().numpy()
    return value.cdouble().numpy() if value.is_complex() else value.numpy()


class _Module(ModuleType):
    """This module, callable."""

    def __call__(self, layer: Any) -> Callable[..., Any]:
        return layer_function(layer)


sys.modules[__name__].__class__ = _Module

"""What a program means: numpy in float64, equation by equation, by broadcasting over all indices.

It shares no code with the graph, the rewrites and the backends. The module can be called:
`tensorlang.reference(layer)` is the layer as a function of arrays.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any, assert_never

import numpy as np

from tensorlang.check.program import Equation, Program, Scatter, SubCall
from tensorlang.reference import border, statements


def evaluate(program: Program, inputs: Sequence[Any], params: Mapping[str, Any]) -> tuple[Any, ...]:
    """Run a layer on arrays; params of sub-layers are keyed `sub.W`, `sub.0.W`.

    Raises ValueError for wrong shapes and IndexError for a gathered position out of range.
    """
    bound = border.bind(program, inputs)
    tensors = dict(zip((i.name for i in program.inputs), bound.inputs, strict=True))
    tensors |= border.params(program, params)
    axes = {}
    with np.errstate(all="ignore"):
        for declared in program.consts:
            tensors[declared.name] = statements.const(declared, bound.sizes, tensors)
        for statement in program.body:
            match statement:
                case Equation(name, at, dtype, body):
                    axes[name] = at
                    tensors[name] = statements.equation(at, dtype, body, bound.sizes, tensors)
                case Scatter(name, at):
                    axes[name] = at
                    tensors[name] = statements.scatter(statement, bound.sizes, tensors)
                case SubCall():
                    values = _call(program, statement, tensors, params)
                    for output, value in zip(statement.outputs, values, strict=True):
                        axes[output.name] = output.axes
                        tensors[output.name] = value
                case _:
                    assert_never(statement)
    return tuple(
        border.unflattened(axes[name], tensors[name], bound.batch) for name in program.outputs
    )


def _call(
    program: Program, call: SubCall, tensors: Mapping[str, Any], params: Mapping[str, Any]
) -> tuple[Any, ...]:
    sub = next(sub for sub in program.subs if sub.name == call.sub)
    arrays = [tensors[name] for name in call.inputs]
    if sub.count is None:
        return evaluate(call.program, arrays, _below(sub.name, params))
    for stage in range(sub.count):
        arrays[:1] = evaluate(call.program, arrays, _below(f"{sub.name}.{stage}", params))
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

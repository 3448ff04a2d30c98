"""Names of the forms in which a layer is called, as identifiers: "b_x_n_d"."""

from __future__ import annotations

from collections.abc import Sequence

from tensorlang.check.calls import Form
from tensorlang.check.program import Axis, Input
from tensorlang.check.scope import Tensor


def signature(inputs: Sequence[Input], outputs: Sequence[Tensor], form: Form) -> str:
    """One name a form, whatever the names of its axes are.

    Axes are joined by "_". No name starts with a digit, so "_" and a digit are free for the rest:
    _0 an underscore, _1 a prime, _2 … _3 a group, _4 the next tensor, _5 the outputs (only where
    they are not in the order that follows from the inputs), _6 no axes, _8 the flattened batch.
    """
    text = "_4".join(_axes(given.axes) for given in inputs)
    if not _follows(form, inputs, outputs):
        text += "_5" + "_4".join(_axes(tensor.axes) for tensor in outputs)
    return text if text[1:2].isdigit() else text.removeprefix("_")


def _follows(form: Form, inputs: Sequence[Input], outputs: Sequence[Tensor]) -> bool:
    """Whether outputs lie as they do unless asked otherwise."""
    first = inputs[0].axes if inputs else ()
    for order, tensor in zip(form.outputs, outputs, strict=True):
        same = sorted(map(str, first)) == sorted(map(str, tensor.axes))
        usual = tensor.axes == first if same else order == tuple(range(len(order)))
        if not usual:
            return False
    return True


def _axes(axes: Sequence[Axis]) -> str:
    return "".join(f"_{_axis(axis)}" for axis in axes) or "_6"


def _axis(axis: Axis) -> str:
    if len(axis.indices) > 1:
        inner = "".join(f"_{_name(index.name)}" for index in axis.indices)
        return f"2{inner}_3"
    return _name(axis.indices[0].name)


def _name(name: str) -> str:
    return "8" if name == "..." else name.replace("_", "_0").replace("'", "_1")

"""Explains a loaded layer, or one of the layers that were compiled together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tensorlang.driver import Compiled
from tensorlang.explanation.costs import Scope
from tensorlang.explanation.facts import Explanation
from tensorlang.explanation.shapes import bind_shapes
from tensorlang.size import Size


def explain(layer: object, **shapes: Sequence[int]) -> Explanation:
    """Explain a loaded layer (or its class) at the given input shapes.

    `explain(layer, X=(2, 64, 64, 128))` evaluates the costs at those sizes; without shapes they are
    polynomials in the dynamic sizes. Raises TypeError for what is no layer or no input of it,
    ValueError for shapes that do not fit.
    """
    compiled = getattr(layer, "_compiled", None)
    if not isinstance(compiled, Compiled):
        raise TypeError(f"{layer!r} is no layer loaded by tensorlang.load")
    (root,) = compiled.roots
    return explain_compiled(compiled, root, shapes)


def explain_compiled(
    compiled: Compiled, layer: str, shapes: Mapping[str, Sequence[int]] | None = None
) -> Explanation:
    """Explain one of the layers that were compiled together; shapes as in `explain`."""
    name = compiled.roots[layer]
    program = compiled.stages[name, ""].program
    given: Mapping[str, Size] = bind_shapes(program, shapes) if shapes else {}
    sizes: dict[str, Size] = {dim.name: dim.size for dim in program.dynamic}
    return Explanation(Scope(compiled, name, "", {**sizes, **given}))

"""Projections of one value by several parameters as one GEMM on the weights side by side."""

from __future__ import annotations

from collections.abc import Sequence

from tensorlang.backends.torch.body import Body
from tensorlang.backends.torch.fusion import Fusion
from tensorlang.backends.torch.operand import Operand, Value, contiguous, grouped, permuted
from tensorlang.backends.torch.reads import read_operand
from tensorlang.dtype import Dtype
from tensorlang.plan.plan import Projection, ProjectionsStep
from tensorlang.size import Size, product, same


def projections(body: Body, step: ProjectionsStep, fusion: Fusion) -> None:
    """Bind every projection's slot to a view of the joint product."""
    made = step.projections
    sides = [_sides(body, projection) for projection in made]
    x, _, inner, _ = sides[0]
    first = made[0].node
    rows = [i for i in range(first.rank) if i in x.labels and i not in inner]

    def size(label: int) -> str:
        return body.size_text(first.sizes[label])[0]

    x_text = grouped(x, [*([i] for i in rows), inner], size)
    weights, widths, columns_of = [], [], []
    for projection, (mine, w, bound, columns) in zip(made, sides, strict=True):
        # the summed indices in the order in which the first projection has them
        order = [mine.labels[x.labels.index(i)] for i in inner]
        assert set(order) == set(bound), (projection, order)
        node = projection.node

        def own(label: int, node: object = node) -> str:
            return body.size_text(node.sizes[label])[0]  # type: ignore[attr-defined]

        weights.append((w, order, columns, own))
        widths.append(product(node.sizes[i] for i in columns))
        columns_of.append(columns)
    by_rows = all(w.memory[-1] in columns for w, _, columns, _ in weights if columns)
    texts = [
        grouped(w, [order, columns] if by_rows else [columns, order], own)
        for w, order, columns, own in weights
    ]
    axis = ", 1" if by_rows else ""
    weight = body.assign(_joint_name(made), f"torch.cat(({', '.join(texts)}){axis})")
    joint = f"{x_text} @ {weight}" if by_rows else f"F.linear({x_text}, {weight})"
    equal = all(
        len(columns) == len(columns_of[0])
        and all(
            same(p.node.sizes[a], made[0].node.sizes[b])
            for a, b in zip(columns, columns_of[0], strict=True)
        )
        for p, columns in zip(made, columns_of, strict=True)
    )
    if equal:
        _equal_parts(body, made, sides, joint, size)
    else:
        _parts(body, made, sides, joint, widths)


def _joint_name(made: Sequence[Projection]) -> str:
    return f"W_{'_'.join(p.name for p in made)}" if len(made) < 4 else "W"


Side = tuple[Operand, Operand, list[int], list[int]]


def _sides(body: Body, projection: Projection) -> Side:
    """(value, weight, summed labels as they lie in the value, column labels)."""
    node = projection.node
    operands = [read_operand(body, read, node.sizes) for read in node.reads]
    x, w = operands if not _is_param(operands[0]) else operands[::-1]
    inner = [i for i in x.memory if i in w.labels]
    columns = [i for i in range(node.rank) if i in w.labels]
    return x, w, inner, columns


def _is_param(operand: Operand) -> bool:
    return operand.text.startswith(("self.", "getattr(self"))


def _rows(projection: Projection, side: Side) -> list[int]:
    x, _, inner, _ = side
    return [i for i in range(projection.node.rank) if i in x.labels and i not in inner]


def _equal_parts(
    body: Body, made: Sequence[Projection], sides: Sequence[Side], joint: str, size: object
) -> None:
    """All of one shape: the parts are an axis of their own."""
    assert callable(size)
    columns = sides[0][3]
    shape = ", ".join([str(len(made)), *(size(i) for i in columns)])
    names = [body.results.get(p.out) or body.names.fresh(p.name) for p in made]
    base = joint if joint.startswith("F.") else f"({joint})"
    body.line(f"{', '.join(names)} = {base}.unflatten(-1, ({shape})).unbind({-1 - len(columns)})")
    _store(body, made, sides, names)


def _parts(
    body: Body,
    made: Sequence[Projection],
    sides: Sequence[Side],
    joint: str,
    widths: Sequence[Size],
) -> None:
    """Widths differ: split, then take each apart."""
    names = [body.results.get(p.out) or body.names.fresh(p.name) for p in made]
    shown = ", ".join(body.size_text(width)[0] for width in widths)
    base = joint if joint.startswith("F.") else f"({joint})"
    body.line(f"{', '.join(names)} = {base}.split(({shown}), -1)")
    for name, projection, side in zip(names, made, sides, strict=True):
        columns = side[3]
        if len(columns) > 1:
            sizes = ", ".join(body.size_text(projection.node.sizes[i])[0] for i in columns)
            body.line(f"{name} = {name}.unflatten(-1, ({sizes}))")
        elif not columns:
            body.line(f"{name} = {name}.squeeze(-1)")
    _store(body, made, sides, names)


def _store(
    body: Body, made: Sequence[Projection], sides: Sequence[Side], names: Sequence[str]
) -> None:
    for name, projection, side in zip(names, made, sides, strict=True):
        node = projection.node
        labels = (*_rows(projection, side), *side[3])
        operand = contiguous(name, labels, Dtype.REAL)
        moved = permuted(operand, tuple(range(node.rank)))
        if moved.text != name:
            body.line(f"{name} = {moved.text}")
        memory = tuple(moved.labels.index(label) for label in moved.memory)
        body.values[projection.out] = Value(name, node.shape, memory, Dtype.REAL)
        body.source_names.setdefault(projection.out, projection.name)

"""A contraction of at most two reads: linear map, batched product, multiply-and-sum, or einsum.

Prefers what needs no copy of the larger operand, then what an expert would write.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from tensorlang.backends.torch.body import Body
from tensorlang.backends.torch.convolution import convolution
from tensorlang.backends.torch.operand import (
    Operand,
    SizeOfLabel,
    aligned,
    contiguous,
    expanded,
    grouped,
    permuted,
    runs,
)
from tensorlang.backends.torch.reads import read_operand
from tensorlang.backends.torch.sizes import PRODUCT
from tensorlang.dtype import Dtype
from tensorlang.ir.nodes import Contract, Node, Read, Semiring
from tensorlang.plan.axes import between, from_right
from tensorlang.size import Size, product

Labels = tuple[int, ...]
_FEW = 256  # cells of matrices so small that a batch of products with vectors is slower than a pass
LONG = 60  # characters of an operand that is written where it is used
_SUM = re.compile(r".*\.sum\(\(?[^()]*\)?\)")


def contract(body: Body, node: Node, bias: str | None = None, ordered: bool = False) -> Operand:
    """The value of a Contract over its axes 0 … rank-1.

    `bias` is a vector over the last axis to add (asked for only where `takes_bias`). `ordered`:
    rows of a linear map come in the order of the node's axes, even if that copies the operand.
    """
    assert isinstance(node.op, Contract) and len(node.reads) <= 2, node
    out = _value(body, node, bias, ordered)
    return expanded(out, tuple(range(node.rank)), lambda label: _size(body, node.sizes[label]))


def _value(body: Body, node: Node, bias: str | None, ordered: bool) -> Operand:
    assert isinstance(node.op, Contract), node
    if node.op.semiring is not Semiring.SUM_PRODUCT:
        return _semiring(body, node)
    if len(node.reads) == 2 and node.dtype >= Dtype.REAL:
        convolved = convolution(body, node, bias)
        if convolved is not None:
            return _scaled(body, node, convolved)
    operands = [_operand(body, read, node.sizes) for read in node.reads]
    mentioned = {label for operand in operands for label in operand.labels}
    if len(operands) == 2:
        operands = [_presummed(body, node, operands, k) for k in range(2)]
    if node.dtype is not Dtype.BOOL:  # matrix products want equal dtypes
        operands = [body.cast(operand, node.dtype) for operand in operands]
    match operands:
        case []:
            shown = _number(node.op.coefficient)
            repeated = product(node.sizes[i] for i in node.bound)
            text = shown if repeated == 1 else f"{shown} * {_size(body, repeated)}"
            place = f"dtype={body.dtype_text(node.dtype)}, device={body.device}"
            return contiguous(f"torch.full((), {text}, {place})", (), node.dtype)
        case [single]:
            bound = [i for i in node.bound if i in single.labels]
            if bound and bound == list(node.bound) and _is_mean(node):
                return _mean(_summed(single, bound, node.dtype))
            out = _summed(single, bound, node.dtype)
        case [left, right]:
            small = _smaller(node, left, right)
            if small is not None:  # before it is repeated
                scaled = [_scaled(body, node, one) if one is small else one for one in operands]
                return _pair(body, node, scaled[0], scaled[1], bias, ordered)
            out = _pair(body, node, left, right, bias, ordered)
            shared = set(left.labels) & set(right.labels)
            if _SUM.fullmatch(out.text) and set(node.bound) <= shared and _is_mean(node):
                return _mean(out)
        case _:
            raise AssertionError(node)
    return _scaled(body, node, out, [i for i in node.bound if i not in mentioned])


def _operand(body: Body, read: Read, sizes: Sequence[Size]) -> Operand:
    """A read's value, under a name of its own where its expression is long."""
    out = read_operand(body, read, sizes)
    if len(out.text) <= LONG:
        return out
    return body.hold(out, f"{body.source_names.get(read.node, 'value')}_read")


def _smaller(node: Node, left: Operand, right: Operand) -> Operand | None:
    """The factor of a product cell by cell that is worth scaling: the other has all its indices."""
    assert isinstance(node.op, Contract), node
    if node.op.coefficient == 1 or node.bound or node.dtype < Dtype.REAL:
        return None
    if set(left.labels) < set(right.labels):
        return left
    return right if set(right.labels) < set(left.labels) else None


def _is_mean(node: Node) -> bool:
    """Whether the coefficient is one over the number of summed cells, known at compile time."""
    assert isinstance(node.op, Contract), node
    cells = product(node.sizes[i] for i in node.bound)
    known = isinstance(cells, int) and cells > 1 and node.dtype >= Dtype.REAL
    return known and node.op.coefficient == 1 / cells


def _mean(total: Operand) -> Operand:
    """A sum as a mean."""
    head, _, tail = total.text.rpartition(".sum(")
    return Operand(f"{head}.mean({tail}", total.labels, total.memory, total.dtype)


def _scaled(body: Body, node: Node, out: Operand, repeated: Sequence[int] = ()) -> Operand:
    """Times the coefficient, and times the sizes of bound indices that no read mentions."""
    assert isinstance(node.op, Contract), node
    factors: list[str] = []
    if node.op.coefficient != 1:
        factors.append(_number(node.op.coefficient))
    if repeated:
        factors.append(body.size(product(node.sizes[i] for i in repeated), PRODUCT))
    if not factors:
        return out
    return Operand(f"({' * '.join([*factors, out.text])})", out.labels, out.memory, node.dtype)


def _number(value: complex) -> str:
    if isinstance(value, complex):
        return f"complex({value.real!r}, {value.imag!r})"
    if isinstance(value, float) and not math.isfinite(value):
        return "torch.nan" if math.isnan(value) else "torch.inf" if value > 0 else "-torch.inf"
    return repr(value)


def _size(body: Body, size: Size) -> str:
    return body.size_text(size)[0]


def _presummed(body: Body, node: Node, operands: Sequence[Operand], k: int) -> Operand:
    """Sum what is bound and only this operand has."""
    mine, other = operands[k], operands[1 - k]
    alone = [i for i in node.bound if i in mine.labels and i not in other.labels]
    return _summed(mine, alone, max(mine.dtype, Dtype.INT)) if alone else mine


def _summed(operand: Operand, labels: Sequence[int], dtype: Dtype) -> Operand:
    if not labels:
        return operand
    places = sorted(operand.labels.index(label) for label in labels)
    rank = len(operand.labels)
    rest = tuple(label for label in operand.labels if label not in labels)
    memory = tuple(label for label in operand.memory if label not in labels)
    if len(places) == rank:
        return Operand(f"{operand.text}.sum()", rest, memory, dtype)
    if places == list(range(rank - len(places), rank)):
        places = [place - rank for place in places]
    shown = str(places[0]) if len(places) == 1 else f"({', '.join(map(str, places))})"
    return Operand(f"{operand.text}.sum({shown})", rest, memory, dtype)


def _semiring(body: Body, node: Node) -> Operand:
    assert isinstance(node.op, Contract), node
    axes = tuple(range(len(node.sizes)))
    operands = [read_operand(body, read, node.sizes) for read in node.reads]
    used = [axis for axis in axes if any(axis in operand.labels for operand in operands)]
    parts = [aligned(operand, used).text for operand in operands]
    assert node.op.coefficient in (0, 1), node
    joint = " & " if node.op.semiring is Semiring.OR_AND else " + "
    text = f"({joint.join(parts)})" if len(parts) > 1 else parts[0]
    combined = contiguous(text, used, node.dtype)
    places = [used.index(i) for i in node.bound if i in used]
    rest = tuple(label for label in used if label < node.rank)
    if not places:
        return Operand(text, rest, rest, node.dtype)
    shown = f"({', '.join(map(str, places))}{',' if len(places) == 1 else ''})"
    match node.op.semiring:
        case Semiring.OR_AND:
            text = f"{combined.text}.any({shown})"
        case Semiring.MAX_PLUS:
            text = f"{body.file.require('_amax')}({combined.text}, {shown})"
        case _:
            text = f"{body.file.require('_amin')}({combined.text}, {shown})"
    return contiguous(text, rest, node.dtype)


# --- two operands --------------------------------------------------------------------------------
def _pair(
    body: Body, node: Node, left: Operand, right: Operand, bias: str | None, ordered: bool
) -> Operand:
    summed = tuple(i for i in left.labels if i in right.labels and i >= node.rank)
    batch = tuple(i for i in left.labels if i in right.labels and i < node.rank)
    if not summed:
        return _product(node, left, right)
    if node.dtype < Dtype.REAL:
        return _multiply_and_sum(node, left, right, summed)
    if not batch:
        return _linear(body, node, left, right, summed, bias, ordered)
    return _batched(body, node, left, right, batch, summed)


def _product(node: Node, left: Operand, right: Operand) -> Operand:
    axes = [i for i in range(node.rank) if i in left.labels or i in right.labels]
    a, b = aligned(left, axes), aligned(right, axes)
    operator = "&" if node.dtype is Dtype.BOOL else "*"
    memory = left.memory if set(left.labels) == set(axes) else tuple(axes)
    return Operand(f"({a.text} {operator} {b.text})", tuple(axes), memory, node.dtype)


def _multiply_and_sum(node: Node, left: Operand, right: Operand, summed: Labels) -> Operand:
    axes = [i for i in range(node.rank) if i in left.labels or i in right.labels]
    every = [*axes, *summed]
    a, b = aligned(left, every), aligned(right, every)
    text = f"({a.text} * {b.text})" if a.text != b.text else f"{a.text}.square()"
    return _summed(contiguous(text, every, node.dtype), summed, node.dtype)


def is_weight(text: str) -> bool:
    return text.startswith(("self.", "getattr(self"))


def _linear(
    body: Body,
    node: Node,
    left: Operand,
    right: Operand,
    summed: Labels,
    bias: str | None,
    ordered: bool,
) -> Operand:
    """rows @ weight: no index is shared but the summed ones."""
    x, w = (right, left) if is_weight(left.text) and not is_weight(right.text) else (left, right)
    axes = tuple(range(node.rank))
    rows = [i for i in (range(node.rank) if ordered else x.memory) if i in x.labels]
    rows = [i for i in rows if i not in summed]
    columns = [i for i in range(node.rank) if i in w.labels]
    # the order of the summed indices: as they lie in x, unless only w has them together
    inner = [i for i in x.memory if i in summed]

    def size(label: int) -> str:
        return _size(body, node.sizes[label])

    around = between(x.memory, node) if bias is None and columns else None
    if around is not None and (not ordered or (*around[0], *columns, *around[1]) == axes):
        return _from_left(node, x, w, inner, columns, around, size)
    x_text = grouped(x, [*([i] for i in rows), inner], size)
    w_runs = runs(w.memory, columns)
    if len(w_runs) == 1:
        columns = w_runs[0] if not bias else columns
    last = bool(columns) and w.memory[-1] in columns
    groups = [g for g in ([inner, columns] if last or not columns else [columns, inner]) if g]
    w_text = grouped(w, groups, size)
    if columns and (bias is not None or not last):
        weight = w_text if not last else f"{w_text}.mT"
        extra = f", {bias}" if bias is not None else ""
        text = f"F.linear({x_text}, {weight}{extra})"
    else:
        text = f"({x_text} @ {w_text})"
    labels = (*rows, *columns)
    if len(columns) < 2:
        return Operand(text, labels, labels, node.dtype)
    joined = text, (*((i,) for i in rows), tuple(columns))
    text = f"{text}.unflatten(-1, ({', '.join(map(size, columns))}))"
    return Operand(text, labels, labels, node.dtype, joined)


def _from_left(
    node: Node,
    x: Operand,
    w: Operand,
    inner: Sequence[int],
    columns: Sequence[int],
    around: tuple[Labels, Labels],
    size: SizeOfLabel,
) -> Operand:
    """weight @ rows, for what lies around the summed indices in the memory of x.

    The weight is expanded: torch would copy rows to make one product of it.
    """
    before, after = around
    lead = ", ".join([*map(size, before), "-1", "-1"])
    text = f"{grouped(w, [columns, inner], size)}.expand({lead})"
    text = f"({text} @ {grouped(x, [*([i] for i in before), inner, after], size)})"
    labels = (*before, *columns, *after)
    if len(columns) < 2 and len(after) < 2:
        return Operand(text, labels, labels, node.dtype)
    joined = text, (*((i,) for i in before), tuple(columns), after)
    if len(columns) > 1:
        text = f"{text}.unflatten(-2, ({', '.join(map(size, columns))}))"
    if len(after) > 1:
        text = f"{text}.unflatten(-1, ({', '.join(map(size, after))}))"
    return Operand(text, labels, labels, node.dtype, joined)


def takes_bias(node: Node) -> bool:
    """Whether the node is a real product of two reads to which a vector might be added."""
    if not isinstance(node.op, Contract) or node.op.semiring is not Semiring.SUM_PRODUCT:
        return False
    return len(node.reads) == 2 and node.dtype is Dtype.REAL and node.op.coefficient == 1


def _batched(
    body: Body, node: Node, left: Operand, right: Operand, batch: Labels, summed: Labels
) -> Operand:
    mine = [i for i in left.labels if i not in batch and i not in summed]
    theirs = [i for i in right.labels if i not in batch and i not in summed]
    if not mine and not theirs:
        return _multiply_and_sum(node, left, right, summed)
    order = [i for i in range(node.rank) if i in batch]
    if mine and theirs and from_right(left.memory, right.memory, node):
        left, right, mine, theirs = right, left, theirs, mine
    if len(mine) == len(theirs) == len(summed) == 1:
        # batch axes first on both sides, then (row, k) and (k, column)
        a = permuted(left, (*order, *mine, *summed))
        b = permuted(right, (*order, *summed, *theirs))
        labels = (*order, *mine, *theirs)
        if node.rank == len(labels) and labels != tuple(range(node.rank)):
            swapped = (*order, *theirs, *mine)
            if swapped == tuple(range(node.rank)):
                a = permuted(right, (*order, *theirs, *summed))
                b = permuted(left, (*order, *summed, *mine))
                labels = swapped
        return Operand(f"({a.text} @ {b.text})", labels, labels, node.dtype)

    def size(label: int) -> str:
        return _size(body, node.sizes[label])

    vector = not mine or not theirs
    cells = product(node.sizes[i] for i in (*mine, *theirs, *summed))
    if vector and isinstance(cells, int) and cells <= _FEW:
        return _multiply_and_sum(node, left, right, summed)
    if vector and (left if mine else right).memory[-1] in (mine or summed):
        left, right, mine, theirs = right, left, theirs, mine  # the matrix as it lies
    inner = [i for i in (left if mine else right).memory if i in summed]
    mine, theirs = ([i for i in range(node.rank) if i in side] for side in (mine, theirs))
    a_text = grouped(left, [*([i] for i in order), mine, inner], size)
    b_text = grouped(right, [*([i] for i in order), inner, theirs], size)
    text = f"({a_text} @ {b_text})"
    if vector:
        text = f"{text}.squeeze({-1 if mine else -2})"
    if len(mine) > 1:
        text = f"{text}.unflatten({-2 if theirs else -1}, ({', '.join(map(size, mine))}))"
    if len(theirs) > 1:
        text = f"{text}.unflatten(-1, ({', '.join(map(size, theirs))}))"
    labels = (*order, *mine, *theirs)
    return Operand(text, labels, labels, node.dtype)

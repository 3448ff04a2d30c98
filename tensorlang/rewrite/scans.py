"""Prefix sums: sum_t' [t' <= t] F[t' m] is a running sum, one pass instead of |t|.

Strict and reversed comparisons too: a shift by one, a flip of the axis.
"""

from __future__ import annotations

from tensorlang.check.program import Boundary
from tensorlang.dtype import Dtype
from tensorlang.ir.nodes import (
    Affine,
    App,
    Arg,
    At,
    Contract,
    Iota,
    Node,
    Pointwise,
    Read,
    Scalar,
    Scan,
    ScanOp,
    Semiring,
    Subscript,
)
from tensorlang.ir.reads import read_indices, rename_read
from tensorlang.rewrite.compose import complete, is_whole
from tensorlang.rewrite.engine import Site
from tensorlang.rewrite.factors import index_only, opened, with_factors
from tensorlang.rewrite.price import Comparison, compared, node_price, points
from tensorlang.size import same

_FLIP = {"le": "ge", "lt": "gt", "ge": "le", "gt": "lt"}
_SCAN_PASSES = 3  # a running sum costs about this many passes over its tensor


def open_prefixes(node: Node, site: Site) -> Node | None:
    """Open a factor that holds a comparison of two indices under a sum."""
    if not isinstance(node.op, Contract) or node.op.semiring is not Semiring.SUM_PRODUCT:
        return None
    for position, read in enumerate(node.reads):
        inner = site.node(read.node)
        if not node.bound or not isinstance(inner.op, Pointwise):
            continue
        if _comparison(inner.op.expr) is not None or not _holds_comparison(inner.op.expr):
            continue
        factors = opened(read, site, always=True)
        if factors is not None and any(_prefix(node, other, site) for other in factors.reads):
            return with_factors(node, position, factors)
    return None


def _holds_comparison(expr: Scalar) -> bool:
    match expr:
        case App("where", (condition, _, _)) | App("to_real", (condition,)):
            return _holds_comparison(condition) or index_only(condition)
        case App("mul" | "and", args):
            return any(_holds_comparison(arg) for arg in args)
    return _comparison(expr) is not None


def _comparison(expr: Scalar) -> tuple[str, int, int] | None:
    """(function, left, right) of a comparison of two indices."""
    match expr:
        case App("to_real", (inner,)):
            return _comparison(inner)
        case App("le" | "lt" | "ge" | "gt" as function, (Iota(a), Iota(b))) if a != b:
            return function, a, b
    return None


def _prefix(node: Node, read: Read, site: Site) -> tuple[str, int, int] | None:
    """(function, summed, running) of a mask [summed function running]."""
    inner = site.node(read.node)
    if not isinstance(inner.op, Pointwise) or not is_whole(read) or read.fill is not None:
        return None
    found = _comparison(inner.op.expr)
    if found is None:
        return None
    axes = [s.index for s in read.subscripts if isinstance(s, At)]
    function, summed, running = found[0], axes[found[1]], axes[found[2]]
    if summed not in node.bound:
        function, summed, running = _FLIP[function], running, summed
    if summed not in node.bound or running in node.bound:
        return None
    return (function, summed, running) if same(node.sizes[summed], node.sizes[running]) else None


def scans(node: Node, site: Site) -> Node | None:
    """A sum under [t' <= t] becomes a running sum where that costs less."""
    if not isinstance(node.op, Contract) or node.op.semiring is not Semiring.SUM_PRODUCT:
        return None
    if node.dtype is Dtype.INT or len(node.reads) < 2:
        return None
    for position, read in enumerate(node.reads):
        prefix = _prefix(node, read, site)
        if prefix is None:
            continue
        function, summed, running = prefix
        rest = node.reads[:position] + node.reads[position + 1 :]
        early = [other for other in rest if summed in read_indices(other)]
        late = [other for other in rest if summed not in read_indices(other)]
        if not early or any(running in read_indices(other) for other in early):
            continue
        result = _scanned(node, function, summed, running, early, late, site)
        if result is not None:
            return result
    return None


def _scanned(
    node: Node,
    function: str,
    summed: int,
    running: int,
    early: list[Read],
    late: list[Read],
    site: Site,
) -> Node | None:
    mentioned = {index for read in early for index in read_indices(read)}
    needed = {index for read in late for index in read_indices(read)} | set(range(node.rank))
    inside = [summed if axis == running else axis for axis in range(node.rank)]
    kept = [index for index in inside if index in mentioned]
    kept += [i for i in node.bound if i in mentioned and i in needed and i != summed]
    gone = sorted(index for index in mentioned if index not in needed and index != summed)
    order = [*kept, *gone]
    local = {index: place for place, index in enumerate(order)}
    sizes = tuple(node.sizes[index] for index in order)
    reads = tuple(rename_read(read, local) for read in early)
    values = Node(Contract(), reads, sizes, len(kept), node.dtype)
    found = _compared(node, values, site)
    if late and not found.mostly():
        return None
    length, axis = node.sizes[summed], kept.index(summed)
    flipped = function in {"ge", "gt"}
    turn = Affine(((axis, -1),), length - 1, Boundary.INSIDE)
    operand = Read(site.add(values), tuple(At(axis) for axis in range(len(kept))))
    if flipped:
        turned = Read(operand.node, _at(operand.subscripts, axis, turn))
        copy = Node(Pointwise(Arg(0)), (turned,), values.shape, values.rank, node.dtype)
        operand = Read(site.add(copy), operand.subscripts)
    scan = Node(Scan(ScanOp.CUMSUM, axis), (operand,), values.shape, values.rank, node.dtype)
    at: Subscript = At(running)
    strict = -1 if function in {"lt", "gt"} else 0
    if flipped:
        at = Affine(((running, -1),), length - 1 + strict, _edge(strict))
    elif strict:
        at = Affine(((running, 1),), strict, _edge(strict))
    fill = 0.0 if strict else None
    whole = tuple(At(index) for index in kept)
    prefix = Read(site.add(scan), _at(whole, axis, at), fill)
    site.did("a sum over a prefix is a running sum", found.saved())
    left = [*range(node.rank), *(i for i in node.bound if i in needed)]
    place = {index: new for new, index in enumerate(left)}
    assert isinstance(node.op, Contract), node
    result = Node(
        node.op,
        tuple(rename_read(read, place) for read in (prefix, *late)),
        tuple(node.sizes[index] for index in left),
        node.rank,
        node.dtype,
    )
    return complete(result, site)


def _at(
    subscripts: tuple[Subscript, ...], axis: int, subscript: Subscript
) -> tuple[Subscript, ...]:
    return (*subscripts[:axis], subscript, *subscripts[axis + 1 :])


def _edge(strict: int) -> Boundary:
    return Boundary.ELSE if strict else Boundary.INSIDE


def _compared(node: Node, values: Node, site: Site) -> Comparison:
    """The sum as written, against forming all running sums, at middling sizes."""
    options = site.options
    where = points(node.sizes, options)
    return compared(
        where[len(where) // 2 :][:1],
        lambda point: node_price(node, point, options),
        lambda point: _SCAN_PASSES * node_price(values, point, options),
    )

"""The order in which the axes of values lie in memory: so that products are plain GEMMs.

Inputs, params, consts and outputs keep the declared order. Readers say what they would like, from
the back; then every step takes the order that its kind leaves, free choices going by the wishes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from tensorlang.check.program import Boundary
from tensorlang.dtype import Dtype
from tensorlang.ir.nodes import (
    Affine,
    At,
    Contract,
    Gather,
    Group,
    Iota,
    Merge,
    Node,
    Pointwise,
    Read,
    Reduce,
    Scalar,
    Scan,
    Scatter,
    Softmax,
    Subscript,
)
from tensorlang.ir.reads import read_indices, rename_read, substitute
from tensorlang.plan.builder import is_simple
from tensorlang.plan.plan import (
    AnyStep,
    Attention,
    AttentionStep,
    ProjectionsStep,
    Slot,
    Step,
)
from tensorlang.size import Size, product

Shapes = dict[Slot, tuple[tuple[Size, ...], Dtype]]
Order = tuple[int, ...]
_ROWS = 8  # of a small matrix, for a batch of them to be quick


def in_memory(
    steps: Sequence[AnyStep],
    fixed: Iterable[Slot],
    shapes: Mapping[Slot, tuple[tuple[Size, ...], Dtype]],
    weights: Collection[Slot] = (),
    stored: Mapping[Slot, Order] = MappingProxyType({}),
) -> tuple[list[AnyStep], Shapes]:
    """The same steps with the axes of every value in the order chosen, and their shapes.

    `weights` are kept for many calls: they lie as their readers want them, if that takes a copy.
    `stored` are params whose axes keep their declared numbers and lie in this order.
    """
    kept = set(fixed)
    for step in steps:
        if isinstance(step, Step) and isinstance(step.node.op, Merge):
            kept.add(step.node.reads[0].node)
    layout = _Layout(kept, shapes, frozenset(weights), stored)
    layout.wish(steps)
    out = [layout.place(step) for step in steps]
    placed: Shapes = {}
    for slot, (sizes, dtype) in shapes.items():
        order = layout.orders.get(slot)
        placed[slot] = (sizes if order is None else tuple(sizes[a] for a in order), dtype)
    return out, placed


def between(order: Sequence[int], node: Node) -> tuple[Order, Order] | None:
    """What lies before and after the summed axes of an operand, where they lie in the middle.

    Such an operand is multiplied from the left, without a copy: where rows enough come after.
    """
    summed = [place for place, index in enumerate(order) if index >= node.rank]
    if not summed or summed[-1] - summed[0] >= len(summed):
        return None
    before, after = tuple(order[: summed[0]]), tuple(order[summed[-1] + 1 :])
    rows = product(node.sizes[index] for index in after)
    if not before or not after or (isinstance(rows, int) and rows < _ROWS):
        return None
    return before, after


def from_right(left: Sequence[int], right: Sequence[int], node: Node) -> bool:
    """Whether a batch of matrices in these memory orders is multiplied as right @ left.

    Where left @ right would have to read both transposed.
    """
    return left[-1] < node.rank and left[-1] not in right and right[-1] >= node.rank


def _together(order: Sequence[int], members: frozenset[int]) -> bool:
    places = [place for place, index in enumerate(order) if index in members]
    return places[-1] - places[0] < len(places)


def _axes(read: Read) -> list[int] | None:
    """The index along each axis of a tensor that is read whole or in slices."""
    out: list[int] = []
    for subscript in read.subscripts:
        match subscript:
            case At(index) | Affine(((index, 1),), _, Boundary.INSIDE):
                out.append(index)
            case _:
                return None
    return out if len(set(out)) == len(out) else None


def _fastest(node: Node) -> int | None:
    """The longest known axis of both operands, for a product that broadcasts over axes of both."""
    left, right = (set(read_indices(read)) for read in node.reads)
    if node.bound or left >= right or right >= left:
        return None
    sizes = {i: size for i in left & right if isinstance(size := node.sizes[i], int)}
    longest = max(sizes, key=lambda i: (sizes[i], i), default=None)
    return longest if longest is not None and sizes[longest] >= _ROWS else None


@dataclass(slots=True)
class _Layout:
    fixed: set[Slot]
    shapes: Mapping[Slot, tuple[tuple[Size, ...], Dtype]]
    weights: frozenset[Slot]
    stored: Mapping[Slot, Order]
    wishes: dict[Slot, Order] = field(default_factory=dict)
    inner: dict[Slot, frozenset[int]] = field(default_factory=dict)  # summed by who wishes
    orders: dict[Slot, Order] = field(default_factory=dict)

    # --- wishes, from the back ---
    def wish(self, steps: Sequence[AnyStep]) -> None:
        for step in steps:
            if isinstance(step, AttentionStep):
                self._wish_attention(step.attention)
        for step in reversed(steps):
            match step:
                case ProjectionsStep(projections):
                    self._wish_product(projections[0].node)
                case Step(node=Node(op=Contract()) as node):
                    self._wish_product(node)
                case Step(out=out, node=Node(op=Pointwise()) as node):
                    self._pass_on(out, node)
                case _:
                    pass

    def _wish(self, read: Read, rank: Mapping[int, tuple[int, int]]) -> None:
        if is_simple(read):
            indices = [s.index for s in read.subscripts if isinstance(s, At)]
            axes = sorted(range(len(indices)), key=lambda axis: rank[indices[axis]])
            self.wishes.setdefault(read.node, tuple(axes))

    def _wish_attention(self, a: Attention) -> None:
        groups = (a.batch, (*a.query, *a.key), (*a.feature, *a.value))
        rank = {i: (g, k) for g, group in enumerate(groups) for k, i in enumerate(group)}
        for read in (a.q, a.k, a.v):
            self._wish(read, rank)

    def _wish_product(self, node: Node) -> None:
        if len(node.reads) != 2:
            return
        if not node.bound:
            self._wish_outer(node)
            return
        left, right = (set(read_indices(read)) for read in node.reads)
        for read in node.reads:
            rank = {}
            for place, index in enumerate(read_indices(read)):
                shared = index in left and index in right
                group = 1 if not shared else 2 if index >= node.rank else 0
                rank[index] = (group, place)
            if read.node not in self.wishes and is_simple(read):
                indices = [s.index for s in read.subscripts if isinstance(s, At)]
                summed = (axis for axis, i in enumerate(indices) if rank[i][0] == 2)
                self.inner[read.node] = frozenset(summed)
            self._wish(read, rank)

    def _wish_outer(self, node: Node) -> None:
        """A product that broadcasts runs along an axis of both operands: each has it last."""
        fastest = _fastest(node)
        for read in node.reads:
            axes = _axes(read)
            if fastest is not None and axes is not None and read.node not in self.wishes:
                order = sorted(range(len(axes)), key=lambda axis: axes[axis] == fastest)
                self.wishes[read.node] = tuple(order)

    def _pass_on(self, out: Slot, node: Node) -> None:
        wish = self.wishes.get(out)
        if wish is None:
            return
        for read in node.reads:
            if is_simple(read) and len(read.subscripts) == node.rank:
                self._wish(read, {index: (0, place) for place, index in enumerate(wish)})

    # --- orders, from the front ---
    def place(self, step: AnyStep) -> AnyStep:
        match step:
            case ProjectionsStep(projections):
                placed = []
                for p in projections:
                    self.orders[p.out] = self._order(p.out, p.node)
                    placed.append(replace(p, node=self._moved(p.node, self.orders[p.out])))
                return ProjectionsStep(tuple(placed))
            case AttentionStep(out, attention):
                return replace(step, attention=self._attention(out, attention))
            case Step(out, node):
                self.orders[out] = self._order(out, node)
                return replace(step, node=self._moved(node, self.orders[out]))

    def _order(self, out: Slot, node: Node) -> Order:
        declared = tuple(range(node.rank))
        if out in self.fixed:
            return declared
        if out in self.weights and isinstance(node.op, Contract | Pointwise):
            return self.wishes.get(out, declared)
        match node.op:
            case Contract() if len(node.reads) == 2 and node.bound:
                return self._product(out, node)
            case Contract() | Pointwise():
                return self._following(node, self.wishes.get(out, declared))
            case Softmax() | Scan() | Reduce():
                return self._after(node, node.reads[0], declared)
            case _:
                return declared

    def _product(self, out: Slot, node: Node) -> Order:
        """Batch axes, those of the left operand, those of the right: what a batched GEMM leaves."""
        left, right = (self._indices(read) for read in node.reads)
        if left is None or right is None:
            return tuple(range(node.rank))
        around = between(left, node) if not set(left) & set(right) & set(range(node.rank)) else None
        if around is not None:
            columns = [i for i in right if i < node.rank]
            order = [*around[0], *columns, *around[1]]
            return (*order, *(i for i in range(node.rank) if i not in order))
        shared = [i for i in left if i in right and i < node.rank]
        if shared and from_right(left, right, node):
            left, right = right, left
        groups = [
            shared,
            [i for i in left if i not in right and i < node.rank],
            [i for i in right if i not in left and i < node.rank],
        ]
        wish = self.wishes.get(out)
        if wish is not None:
            inner = self.inner.get(out, frozenset())
            sorted_ = [sorted(group, key=wish.index) for group in groups]
            if inner & set(groups[1]) and inner & set(groups[2]) and not set(groups[2]) <= inner:
                # summed over axes of both: next to each other in the middle
                sorted_[2].sort(key=lambda axis: axis not in inner)
            if not inner or _together([i for group in sorted_ for i in group], inner):
                groups = sorted_  # else it is copied anyway: the operands lie as they do
        order = [i for group in groups for i in group]
        return (*order, *(i for i in range(node.rank) if i not in order))

    def _following(self, node: Node, otherwise: Order) -> Order:
        """The order of the first operand that has all axes; else the fastest axis of both last."""
        for read in node.reads:
            indices = self._indices(read)
            if indices is not None and set(range(node.rank)) <= set(indices):
                return tuple(i for i in indices if i < node.rank)
        if not isinstance(node.op, Contract) or len(node.reads) != 2:
            return otherwise
        orders = [self._indices(read) for read in node.reads]
        last = {order[-1] if order else None for order in orders}
        fastest = last.pop() if len(last) == 1 else _fastest(node)
        if fastest is not None and fastest < node.rank:
            return (*(i for i in otherwise if i != fastest), fastest)
        return otherwise

    def _after(self, node: Node, read: Read, otherwise: Order) -> Order:
        indices = self._indices(read)
        if indices is None:
            return otherwise
        order = [i for i in indices if i < node.rank]
        return (*order, *(i for i in range(node.rank) if i not in order))

    def _indices(self, read: Read) -> list[int] | None:
        """Local indices of a plain read in memory order; None if it is no plain read."""
        out: list[int] = []
        read = self._permuted(read)
        order = self.stored.get(read.node, range(len(read.subscripts)))
        for subscript in (read.subscripts[axis] for axis in order):
            match subscript:
                case At(index):
                    out.append(index)
                case Group(indices):
                    out += indices
                case Affine(((index, 1),), _, Boundary.INSIDE):  # a slice
                    out.append(index)
                case Affine((), _, Boundary.INSIDE):  # one cell
                    pass
                case _:
                    return None
        return out if len(set(out)) == len(out) else None

    # --- rewriting ---
    def _moved(self, node: Node, order: Order) -> Node:
        names = {axis: place for place, axis in enumerate(order)}
        op = node.op
        match op:
            case Pointwise(expr):
                op = Pointwise(substitute(expr, lambda leaf: _iota(leaf, names)))
            case Softmax(axes, log):
                op = Softmax(tuple(sorted(names[axis] for axis in axes)), log)
            case Scan(kind, axis):
                op = Scan(kind, names[axis])
            case Scatter(kind, targets):
                op = Scatter(kind, tuple(self._subscripts(target) for target in targets))
            case _:
                pass
        reads = tuple(self._permuted(rename_read(read, names)) for read in node.reads)
        sizes = (*(node.sizes[axis] for axis in order), *node.sizes[node.rank :])
        return Node(op, reads, sizes, node.rank, node.dtype)

    def _attention(self, out: Slot, a: Attention) -> Attention:
        order = a.out_axes
        indices = self._indices(a.q)
        if out not in self.fixed and indices is not None:
            first = min((indices.index(i) for i in a.query if i in indices), default=0)
            after = [i for i in a.batch if i in indices and indices.index(i) > first]
            before = [i for i in indices if i in a.batch and i not in after]
            lacking = [i for i in a.batch if i not in indices]
            wanted = (*lacking, *before, *a.query, *after, *a.value)
            order = tuple(i for i in wanted if i in a.out_axes)
            assert len(order) == len(a.out_axes), (order, a)
        self.orders[out] = tuple(a.out_axes.index(i) for i in order)
        return replace(
            a,
            q=self._permuted(a.q),
            k=self._permuted(a.k),
            v=self._permuted(a.v),
            mask=None if a.mask is None else self._permuted(a.mask),
            bias=None if a.bias is None else self._permuted(a.bias),
            out_axes=order,
        )

    def _permuted(self, read: Read) -> Read:
        order = self.orders.get(read.node)
        subscripts = self._subscripts(read.subscripts)
        if order is not None:
            subscripts = tuple(subscripts[axis] for axis in order)
        return Read(read.node, subscripts, read.fill)

    def _subscripts(self, subscripts: Iterable[Subscript]) -> tuple[Subscript, ...]:
        out: list[Subscript] = []
        for subscript in subscripts:
            match subscript:
                case Gather(read, boundary):
                    out.append(Gather(self._permuted(read), boundary))
                case At() | Group() | Affine():
                    out.append(subscript)
        return tuple(out)


def _iota(leaf: Scalar, names: Mapping[int, int]) -> Scalar:
    return Iota(names[leaf.index]) if isinstance(leaf, Iota) else leaf

"""What the rules are made with: nodes with the spans of what they derive from, terms of a sum."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from tensorlang.check.program import ScatterOp
from tensorlang.differentiate.cells import Cells, known, number
from tensorlang.dtype import Dtype
from tensorlang.ir.graph import Graph
from tensorlang.ir.nodes import (
    App,
    Arg,
    At,
    Contract,
    Iota,
    Lit,
    Merge,
    Node,
    NodeId,
    Op,
    Pointwise,
    Read,
    Scalar,
    Scatter,
    SizeOf,
    Subscript,
)
from tensorlang.ir.reads import (
    identity_read,
    read_indices,
    rename_read,
    rename_subscript,
    subscript_indices,
    substitute,
)
from tensorlang.size import Size, product
from tensorlang.source import Span


class OpaqueCall(Exception):
    """A derivative through a `Call`, whose body is another graph: inline it first."""

    def __init__(self, node: NodeId) -> None:
        super().__init__(f"node {node} is a call of a sub-layer")
        self.node = node


@dataclass(frozen=True, slots=True)
class Term:
    """One of the terms that a derivative is the sum of: an expression over the tensor's axes."""

    expr: Scalar
    reads: tuple[Read, ...]


@dataclass(slots=True)
class Maker:
    """Adds nodes to a graph, each with the spans of the node whose derivative is being made."""

    graph: Graph
    spans: tuple[Span, ...] = field(default=())

    def add(
        self, op: Op, reads: Iterable[Read], sizes: Sequence[Size], rank: int, dtype: Dtype
    ) -> NodeId:
        node = Node(op, tuple(reads), tuple(sizes), rank, dtype)
        return self.graph.add(node, spans=self.spans, rules=("differentiate",))

    def cells(self, reads: Iterable[Read] = ()) -> Cells:
        return Cells(self.graph, reads)

    def whole(self, node: NodeId) -> Read:
        """A read of all of a node, axis k at local index k."""
        return identity_read(node, self.graph.node(node).rank)

    # --- nodes -----------------------------------------------------------------------------------
    def pointwise(self, expr: Scalar, cells: Cells, sizes: Sequence[Size]) -> NodeId:
        """The tensor of an expression; a tensor read as it is is itself."""
        if isinstance(expr, Arg):
            read = cells.reads[expr.position]
            node = self.graph.node(read.node)
            if read == identity_read(read.node, len(sizes)) and node.shape == tuple(sizes):
                return read.node
        dtype = cells.dtype(expr)
        return self.add(Pointwise(expr), cells.reads, sizes, len(sizes), dtype)

    def computed(
        self, expr: Scalar, cells: Cells, labels: Iterable[int], sizes: Mapping[int, Size]
    ) -> Read:
        """The tensor of an expression over some of the labels in use, read at them."""
        local = {label: axis for axis, label in enumerate(labels)}
        over = self.cells()

        def leaf(found: Arg | Lit | Iota | SizeOf) -> Scalar:
            match found:
                case Arg(position):
                    return over.read(rename_read(cells.reads[position], local))
                case Iota(index):
                    return Iota(local[index])
                case _:
                    return found

        node = self.pointwise(substitute(expr, leaf), over, [sizes[label] for label in local])
        return Read(node, tuple(At(label) for label in local))

    def full(self, value: complex, sizes: Sequence[Size], dtype: Dtype) -> NodeId:
        """The same number everywhere."""
        return self.add(Pointwise(number(value, dtype)), (), sizes, len(sizes), dtype)

    def total(self, terms: Sequence[Term], like: NodeId) -> NodeId:
        """The sum of terms over the axes of a tensor."""
        node = self.graph.node(like)
        terms = self._landed_together(terms)
        cells = self.cells()
        embedded = [cells.embed(term.expr, term.reads) for term in terms]
        expr = embedded[0] if len(embedded) == 1 else cells.apply("add", *embedded)
        return self.pointwise(cells.cast(expr, node.dtype), cells, node.shape)

    def _landed_together(self, terms: Sequence[Term]) -> list[Term]:
        """Terms that are sums by landing as one Scatter."""
        alone: list[Term] = []
        nodes: dict[NodeId, int] = {}
        for term in terms:
            match term:
                case Term(Arg(), (read,)) if read == self.whole(read.node) and isinstance(
                    self.graph.node(read.node).op, Scatter
                ):
                    nodes[read.node] = nodes.get(read.node, 0) + 1
                case _:
                    alone.append(term)
        if len(nodes) < 2 or max(nodes.values()) > 1:
            return list(terms)
        reads: list[Read] = []
        targets: list[tuple[Subscript, ...]] = []
        first = self.graph.node(next(iter(nodes)))
        sizes = list(first.shape)
        for identity in nodes:
            node = self.graph.node(identity)
            assert isinstance(node.op, Scatter) and node.op.op is ScatterOp.SUM, node
            moved = {index: len(sizes) + k for k, index in enumerate(node.bound)}
            sizes.extend(node.sizes[node.rank :])
            reads += [rename_read(read, moved) for read in node.reads]
            targets += [tuple(rename_subscript(s, moved) for s in t) for t in node.op.targets]
        made = self.scattered(ScatterOp.SUM, reads, targets, sizes, first.rank)
        return [*alone, Term(Arg(0), (self.whole(made),))]

    def contracted(
        self,
        factors: Sequence[Read],
        coefficient: int | float | complex,
        out: Sequence[int],
        sizes: Mapping[int, Size],
        dtype: Dtype,
    ) -> Read:
        """The sum of a product over all labels but `out`, as a read at those that it has."""
        factors, coefficient = self._without_numbers(factors, coefficient, out, sizes, dtype)
        used = dict.fromkeys(label for factor in factors for label in read_indices(factor))
        bound = [label for label in used if label not in out]
        if not bound and len(factors) == 1 and coefficient == 1:
            return factors[0]
        axes = [label for label in out if label in used]
        local = {label: k for k, label in enumerate((*axes, *bound))}
        reads = [rename_read(factor, local) for factor in factors]
        extents = [sizes[label] for label in local]
        node = self.add(Contract(coefficient), reads, extents, len(axes), dtype)
        return Read(node, tuple(At(label) for label in axes))

    def _without_numbers(
        self,
        factors: Sequence[Read],
        coefficient: int | float | complex,
        out: Sequence[int],
        sizes: Mapping[int, Size],
        dtype: Dtype,
    ) -> tuple[list[Read], int | float | complex]:
        """Factors that are numbers in the coefficient, and what is summed over them alone."""
        kept: list[Read] = []
        for factor in factors:
            value = known(self.graph, factor)
            if value is None:
                kept.append(factor)
            else:
                coefficient = coefficient * value.value
        left = {label for factor in kept for label in read_indices(factor)}.union(out)
        lost = dict.fromkeys(i for factor in factors for i in read_indices(factor) if i not in left)
        times = self.count((sizes[label] for label in lost), dtype)
        if isinstance(times, Read):
            kept.append(times)
        else:
            coefficient = coefficient * times
        if not kept:
            kept, coefficient = [Read(self.full(coefficient, (), dtype), ())], 1
        return kept, coefficient

    def count(self, sizes: Iterable[Size], dtype: Dtype) -> int | Read:
        """How many cells these axes have: a number, or a tensor of one where a call knows."""
        cells, size = self.cells(), product(sizes)
        if isinstance(size, int):
            return size
        return Read(self.pointwise(cells.cast(SizeOf(size), dtype), cells, ()), ())

    def scattered(
        self,
        kind: ScatterOp,
        values: Sequence[Read],
        targets: Sequence[tuple[Subscript, ...]],
        sizes: Sequence[Size],
        rank: int,
    ) -> NodeId:
        """Values landing on a tensor; local indices as in the node, of which some may be unused."""
        used = {i for value in values for i in read_indices(value)}
        used |= {i for target in targets for s in target for i in subscript_indices(s)}
        local = {i: k for k, i in enumerate(sorted(used.union(range(rank))))}
        landing = tuple(tuple(rename_subscript(s, local) for s in target) for target in targets)
        dtype = self.graph.node(values[0].node).dtype
        reads = [rename_read(value, local) for value in values]
        lengths = [sizes[i] for i in local]
        landing, reads = _kept_by_all(landing, reads, lengths, rank)
        return self.add(Scatter(kind, landing), reads, lengths, rank, dtype)

    def merged(self, node: NodeId, groups: Sequence[tuple[int, ...]]) -> NodeId:
        """Consecutive axes made one, row-major."""
        if all(len(group) == 1 for group in groups):
            return node
        found = self.graph.node(node)
        shape = [product(found.sizes[axis] for axis in group) for group in groups]
        return self.add(Merge(tuple(groups)), (self.whole(node),), shape, len(groups), found.dtype)

    def conjugate(self, read: Read) -> Read:
        """The same read of a conjugated tensor; a real one is its own."""
        node = self.graph.node(read.node)
        if node.dtype is not Dtype.COMPLEX:
            return read
        fill = None if read.fill is None else complex(read.fill).conjugate()
        match node.op:
            case Pointwise(App("to_complex")):
                return replace(read, fill=fill)
            case Pointwise(App("conj", (Arg(),))) if node.reads[0] == self.whole(
                node.reads[0].node
            ):
                return Read(node.reads[0].node, read.subscripts, fill)
        cells = self.cells()
        turned = cells.apply("conj", cells.read(self.whole(read.node)))
        return Read(self.pointwise(turned, cells, node.shape), read.subscripts, fill)


def _kept_by_all(
    landing: tuple[tuple[Subscript, ...], ...], reads: list[Read], sizes: list[Size], rank: int
) -> tuple[tuple[tuple[Subscript, ...], ...], list[Read]]:
    """An axis that only some contributions take as it is has an index of its own in those."""
    out = list(landing)
    for axis in range(rank):
        keep = [target[axis] == At(axis) for target in out]
        if all(keep):
            continue
        for k in (k for k, kept in enumerate(keep) if kept):
            own = {axis: len(sizes)}
            sizes.append(sizes[axis])
            out[k] = tuple(rename_subscript(s, own) for s in out[k])
            reads[k] = rename_read(reads[k], own)
    return tuple(out), reads

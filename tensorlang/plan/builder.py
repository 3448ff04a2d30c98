"""Writes steps: slots, names and spans of values, products of many reads as a tree of pairs.

The trees come from `Trees`, so that one walk of the graph can be repeated under other choices.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from tensorlang.dtype import Dtype
from tensorlang.ir.nodes import Arg as ArgOf
from tensorlang.ir.nodes import (
    At,
    Contract,
    Lit,
    Node,
    NodeId,
    Pointwise,
    Read,
    Semiring,
)
from tensorlang.ir.reads import operands, read_indices, rename_read
from tensorlang.order.trees import Pair, Problem, Product, Tree, pairs
from tensorlang.plan.plan import AnyStep, Slot, Step
from tensorlang.plan.weights import is_weight, is_weight_read
from tensorlang.size import Size
from tensorlang.source import Span

Number = int | float | complex
_LONGEST = 24  # of a name made of two


Trees = Callable[[Problem], Tree]


@dataclass(slots=True)
class Names:
    """Readable names, each given once."""

    taken: dict[str, int] = field(default_factory=dict)

    def fresh(self, base: str) -> str:
        base = re.sub(r"\W", "_", base) or "value"
        if base[0].isdigit():
            base = f"_{base}"
        if keyword.iskeyword(base):
            base = f"{base}_"
        name = base
        while name in self.taken:
            self.taken[base] = self.taken.get(base, 0) + 1
            name = f"{base}_{self.taken[base]}"
        self.taken[name] = 1
        return name


@dataclass(frozen=True, slots=True)
class Target:
    """Where a value goes: its slot if it has one already, its name, the lines it computes."""

    slot: Slot | None
    name: str
    spans: tuple[Span, ...]


@dataclass(slots=True)
class Builder:
    """Steps in order, axes of every value as the graph has them; `slots` maps nodes to slots."""

    trees: Trees
    weights: frozenset[Slot]  # params and consts: never the left operand if there is another
    kept: set[Slot]  # of those, and of what is made of them alone, what eval() keeps
    trained: frozenset[Slot]  # params that are not frozen
    grads: set[Slot]  # those, real inputs, and what is made of them: what needs a gradient
    free: int
    names: Names
    slots: dict[NodeId, Slot] = field(default_factory=dict)
    steps: list[AnyStep] = field(default_factory=list)
    shapes: dict[Slot, tuple[tuple[Size, ...], Dtype]] = field(default_factory=dict)
    named: dict[Slot, str] = field(default_factory=dict)
    parts: dict[Node, Slot] = field(default_factory=dict)  # of products, which others may have too

    def slot(self) -> Slot:
        self.free += 1
        return self.free - 1

    def emit(self, node: Node, target: Target) -> Slot:
        slot = self.slot() if target.slot is None else target.slot
        self.shapes[slot] = (node.shape, node.dtype)
        self.named[slot] = target.name
        self.steps.append(Step(slot, node, target.name, target.spans))
        if is_weight(node, self.kept):
            self.kept.add(slot)
        if node.dtype >= Dtype.REAL and not self.grads.isdisjoint(operands(node)):
            self.grads.add(slot)
        return slot

    def contract(
        self,
        reads: Sequence[Read],
        sizes: Sequence[Size],
        output: Sequence[int],
        dtype: Dtype,
        target: Target,
        coefficient: Number = 1,
        semiring: Semiring = Semiring.SUM_PRODUCT,
    ) -> Slot:
        """coefficient * sum of the product of reads over the indices that `output` lacks."""
        live = dict(enumerate(reads))
        if len(reads) < 2:
            mentioned = [i for read in reads for i in read_indices(read)]
            bound = tuple(i for i in dict.fromkeys(mentioned) if i not in output)
            return self._step(
                list(reads), sizes, output, bound, dtype, target, coefficient, semiring
            )
        factors = tuple(frozenset(read_indices(read)) for read in reads)
        product = Product(factors, frozenset(output))
        tree: Tree = ((0, 1),)
        if len(reads) > 2:
            kept = (k for k, read in live.items() if is_weight_read(read, sizes, self.kept))
            grads = [k for k, read in live.items() if read.node in self.grads]
            if sum(read.node in self.trained for read in reads) < 2:
                grads = []  # calls with and without gradients are not told apart
            problem = Problem(product, tuple(sizes), frozenset(kept), frozenset(grads))
            tree = self.trees(problem)
        steps = list(pairs(product, tree))
        scaled = self._smallest(steps, sizes) if coefficient != 1 else -1
        if semiring is not Semiring.SUM_PRODUCT:
            scaled = len(steps) - 1
        slot: Slot = -1
        for number, pair in enumerate(steps):
            last = number == len(steps) - 1
            result = tuple(output) if last else ()
            left, right = self._sides(live.pop(pair.left), live.pop(pair.right), pair, result)
            factor = coefficient if number == scaled else 1
            made = self._dtype((left, right), dtype)
            here = target
            if not last:
                name = self.names.fresh(self._product_name(left, right, pair, target.name))
                here = Target(None, name, target.spans)
            left, right = (
                self._summed(side, other, pair, sizes, made, here, semiring)
                for side, other in ((left, right), (right, left))
            )
            order = result or _natural(left, right, pair.result)
            bound = tuple(
                i
                for i in dict.fromkeys((*read_indices(left), *read_indices(right)))
                if i not in pair.result
            )
            kind = dtype if last else made
            slot = self._step([left, right], sizes, order, bound, kind, here, factor, semiring)
            live[len(reads) + number] = Read(slot, tuple(At(index) for index in order))
        return slot

    def copy(self, read: Read, sizes: Sequence[Size], dtype: Dtype, target: Target) -> Read:
        """The value of a read as a tensor of its own, one axis per index, in order of mention."""
        axes = tuple(dict.fromkeys(read_indices(read)))
        names = {index: axis for axis, index in enumerate(axes)}
        shape = tuple(sizes[index] for index in axes)
        node = Node(Pointwise(ArgOf(0)), (rename_read(read, names),), shape, len(axes), dtype)
        return Read(self.emit(node, target), tuple(At(index) for index in axes))

    def _summed(
        self,
        read: Read,
        other: Read,
        pair: Pair,
        sizes: Sequence[Size],
        dtype: Dtype,
        target: Target,
        semiring: Semiring,
    ) -> Read:
        """Sum first what is summed on this side alone."""
        mine = dict.fromkeys(read_indices(read))
        own = [i for i in mine if i not in pair.result and i not in read_indices(other)]
        if not own:
            return read
        kept = tuple(i for i in mine if i not in own)
        name = self.names.fresh(f"{target.name}_sum")
        into = Target(None, name, target.spans)
        slot = self._step([read], sizes, kept, tuple(own), dtype, into, 1, semiring)
        return Read(slot, tuple(At(index) for index in kept))

    def _sides(self, a: Read, b: Read, pair: Pair, output: tuple[int, ...]) -> tuple[Read, Read]:
        """Which operand is the left one: the activation, not the weight.

        Of two activations the one that owns the first free axis of the result.
        """
        weight_a, weight_b = a.node in self.weights, b.node in self.weights
        if weight_a is not weight_b:
            return (b, a) if weight_a else (a, b)
        own_b = pair.right_indices - pair.left_indices
        shared = pair.left_indices & pair.right_indices
        first = next((i for i in output if i not in shared), None)
        return (b, a) if first is not None and first in own_b else (a, b)

    def _product_name(self, left: Read, right: Read, pair: Pair, otherwise: str) -> str:
        """A name for part of a product, after its operands."""
        a, b = (self.named.get(read.node, otherwise) for read in (left, right))
        summed = (pair.left_indices & pair.right_indices) - pair.result
        if not summed and pair.left_indices >= pair.right_indices:
            return f"{a}_scaled"
        if not summed and pair.right_indices >= pair.left_indices:
            return f"{b}_scaled"
        both = f"{a}_{b}"
        return both if len(both) <= _LONGEST else otherwise

    def _dtype(self, reads: Iterable[Read], final: Dtype) -> Dtype:
        kind = max(self.shapes[read.node][1] for read in reads)
        return final if kind is Dtype.BOOL else min(kind, final)

    def _smallest(self, steps: list[Pair], sizes: Sequence[Size]) -> int:
        """The step with the fewest indices in its result, the first of them."""
        volumes = [(_symbolic(sizes[index] for index in pair.result)) for pair in steps]
        return min(range(len(steps)), key=lambda k: (volumes[k], k))

    def _step(
        self,
        reads: list[Read],
        sizes: Sequence[Size],
        output: Sequence[int],
        bound: Sequence[int],
        dtype: Dtype,
        target: Target,
        coefficient: Number,
        semiring: Semiring,
    ) -> Slot:
        order = (*output, *bound)
        names = {index: local for local, index in enumerate(order)}
        node = Node(
            Contract(coefficient, semiring),
            tuple(rename_read(read, names) for read in reads),
            tuple(sizes[index] for index in order),
            len(output),
            dtype,
        )
        if target.slot is not None:
            return self.emit(node, target)
        if node not in self.parts:
            self.parts[node] = self.emit(node, target)
        return self.parts[node]


def _natural(left: Read, right: Read, result: frozenset[int]) -> tuple[int, ...]:
    """Axes as a batched GEMM leaves them: shared ones, those of the left, those of the right."""
    a = [i for i in dict.fromkeys(read_indices(left)) if i in result]
    b = [i for i in dict.fromkeys(read_indices(right)) if i in result]
    shared = [i for i in a if i in b]
    return (*shared, *(i for i in a if i not in b), *(i for i in b if i not in a))


def _symbolic(sizes: Iterable[Size]) -> tuple[int, int]:
    """Orders sizes: the number of dynamic ones, then the product of the others."""
    dynamic, static = 0, 1
    for size in sizes:
        if isinstance(size, int):
            static *= size
        else:
            dynamic += 1
    return dynamic, static


def is_simple(read: Read) -> bool:
    """Whole axes, each at an index of its own."""
    indices = [s.index for s in read.subscripts if isinstance(s, At)]
    return len(indices) == len(read.subscripts) == len(set(indices))


def literal(node: Node) -> Lit | None:
    """The value of a node that is one number everywhere."""
    match node.op:
        case Pointwise(Lit() as value):
            return value
    return None

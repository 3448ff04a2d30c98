"""The orders in which products of many tensors are contracted, against one loop nest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tensorlang.explanation.costs import Count, Scope
from tensorlang.ir.cost import add, scale, volume
from tensorlang.ir.nodes import Contract, Semiring
from tensorlang.plan.cost import flops as step_flops
from tensorlang.plan.cost import used
from tensorlang.plan.plan import AnyStep, AttentionStep, Monomials, ProjectionsStep, Slot, Step
from tensorlang.size import Size
from tensorlang.source import Span


@dataclass(frozen=True)
class Contraction:
    """A product of `factors` tensors summed pair by pair.

    `tree` nests the pairs; `naive_flops` is the price of one loop nest over all its indices.
    """

    name: str
    tree: str
    factors: int
    flops: Count
    naive_flops: Count
    bytes: Count
    spans: tuple[Span, ...]


def contractions(
    scope: Scope, steps: Sequence[AnyStep], kept: Sequence[Slot], names: Mapping[Slot, str]
) -> tuple[Contraction, ...]:
    """The products among `steps`, a tree for each; `kept` are values that stay after them."""
    return tuple(_Trees(scope, steps, kept, names).all())


@dataclass(frozen=True)
class _Part:
    """A subtree: its text, number of tensors, the loops that it sums over, FLOPs and bytes.

    `scaled`: a number is a factor too.
    """

    text: str
    leaves: int
    summed: tuple[Size, ...]
    flops: Monomials
    bytes: Count
    scaled: bool


class _Trees:
    def __init__(
        self,
        scope: Scope,
        steps: Sequence[AnyStep],
        kept: Sequence[Slot],
        names: Mapping[Slot, str],
    ) -> None:
        self.scope = scope
        self.steps = steps
        self.names = names
        self.maker = {s.out: s for s in steps if isinstance(s, Step | AttentionStep)}
        self.readers: dict[Slot, list[AnyStep]] = {}
        for step in steps:
            for slot in used(step):
                self.readers.setdefault(slot, []).append(step)
        self.kept = frozenset(kept)

    def all(self) -> Iterator[Contraction]:
        for step in self.steps:
            match step:
                case ProjectionsStep(projections):
                    for p in projections:
                        yield self._tree(Step(p.out, p.node, p.name, p.spans))
                case AttentionStep() if not self._is_part(step):
                    yield self._attention(step)
                case Step() if _is_product(step) and not self._is_part(step):
                    yield self._tree(step)

    def _is_part(self, step: Step | AttentionStep) -> bool:
        """Read once, by a product of the same lines; an attention by any product."""
        readers = self.readers.get(step.out, [])
        if len(readers) != 1 or step.out in self.kept:
            return False
        (reader,) = readers
        if not isinstance(reader, Step) or not _is_product(reader):
            return False
        if sum(read.node == step.out for read in reader.node.reads) != 1:
            return False
        return isinstance(step, AttentionStep) or step.spans == reader.spans

    def _tree(self, step: Step) -> Contraction:
        part = self._part(step)
        each = part.leaves if part.summed else part.leaves - 1
        scaled = volume(step.node.shape) if part.scaled else {}
        naive = add((scale(volume((*step.node.shape, *part.summed)), each), scaled))
        return Contraction(
            step.name,
            part.text,
            part.leaves,
            self.scope.value(part.flops),
            self.scope.value(naive),
            part.bytes,
            step.spans,
        )

    def _part(self, step: Step) -> _Part:
        assert isinstance(step.node.op, Contract), step
        inner = [self._operand(read.node) for read in step.node.reads]
        texts = [f"({p.text})" if p.leaves > 1 else p.text for p in inner]
        own = [step.node.sizes[index] for index in step.node.bound]
        bytes_ = self.scope.step(step).bytes
        for part in inner:
            bytes_ = bytes_ + part.bytes
        return _Part(
            " · ".join(texts),
            sum(part.leaves for part in inner),
            (*own, *(size for part in inner for size in part.summed)),
            add([step_flops(step), *(part.flops for part in inner)]),
            bytes_,
            step.node.op.coefficient != 1 or any(part.scaled for part in inner),
        )

    def _operand(self, slot: Slot) -> _Part:
        match self.maker.get(slot):
            case Step() as source if _is_product(source) and self._is_part(source):
                return self._part(source)
            case AttentionStep() as source if self._is_part(source):
                return self._weighted(source)
        return _Part(self._name(slot), 1, (), {}, 0, False)

    def _weighted(self, step: AttentionStep) -> _Part:
        """The product of an attention's weights and values, as part of a longer product."""
        a = step.attention
        keys = [a.sizes[index] for index in a.key]
        cells = volume(a.sizes[i] for i in (*a.batch, *a.query, *a.key, *a.value))
        text = f"{self._softmax(step)} · {self._name(a.v.node)}"
        return _Part(text, 2, tuple(keys), scale(cells, 2), self.scope.step(step).bytes, False)

    def _attention(self, step: AttentionStep) -> Contraction:
        cost = self.scope.step(step)
        text = f"{self._softmax(step)} · {self._name(step.attention.v.node)}"
        return Contraction(step.name, text, 2, cost.flops, cost.flops, cost.bytes, step.spans)

    def _softmax(self, step: AttentionStep) -> str:
        q, k = (self._name(read.node) for read in (step.attention.q, step.attention.k))
        return f"softmax({q} · {k})"

    def _name(self, slot: Slot) -> str:
        return self.names.get(slot, f"value {slot}")


def _is_product(step: AnyStep) -> bool:
    if not isinstance(step, Step) or not isinstance(step.node.op, Contract):
        return False
    return step.node.op.semiring is Semiring.SUM_PRODUCT

"""Layer and root-mean-square norms that torch has kernels for, found among the planned steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tensorlang.backends.torch.body import Body
from tensorlang.backends.torch.operand import Operand, Value, contiguous
from tensorlang.dtype import Dtype
from tensorlang.ir.nodes import App, Arg, At, Contract, Lit, Node, Pointwise, Read, Scalar, Semiring
from tensorlang.plan.cost import used
from tensorlang.plan.plan import AnyStep, Slot, Step
from tensorlang.size import Size


@dataclass(frozen=True, slots=True)
class Norm:
    """torch's `function` of slot `source` over its last axis; `absorbed` need no step."""

    function: str
    source: Slot
    width: int
    weight: Slot | None
    bias: Slot | None
    eps: float
    absorbed: tuple[Slot, ...]


def norms(
    steps: Sequence[AnyStep], kept: Sequence[Slot], values: Mapping[Slot, Value]
) -> dict[Slot, Norm]:
    """Norms by the slot of their last step. What they absorb is read nowhere else."""
    defined = {step.out: step.node for step in steps if isinstance(step, Step)}
    readers: dict[Slot, int] = dict.fromkeys(kept, 2)
    for step in steps:
        for slot in used(step):
            readers[slot] = readers.get(slot, 0) + 1
    known = {slot for slot, value in values.items() if value.rank == 1}
    out: dict[Slot, Norm] = {}
    for step in steps:
        if isinstance(step, Step) and isinstance(step.node.op, Pointwise):
            found = _Reader(step.node, defined, known).norm()
            if found is not None and _private(found, readers):
                out[step.out] = found
    return out


def printed(body: Body, norm: Norm, rank: int) -> Operand:
    """The call of torch's function."""
    arguments = [body.values[norm.source].text, f"({norm.width},)"]
    for name, slot in (("weight", norm.weight), ("bias", norm.bias)):
        if slot is not None:
            arguments.append(f"{name}={body.values[slot].text}")
    text = f"F.{norm.function}({', '.join(arguments)}, eps={norm.eps!r})"
    return contiguous(text, range(rank), Dtype.REAL)


def _private(norm: Norm, readers: Mapping[Slot, int]) -> bool:
    """The mean is read by the centred square and by the end, all else once."""
    *others, last = norm.absorbed
    if norm.function == "rms_norm":
        return readers.get(last) == 1
    mean, *rest = (*others, last)
    return readers.get(mean) == 2 and all(readers.get(slot) == 1 for slot in rest)


@dataclass(frozen=True, slots=True)
class _Reader:
    """Takes a Pointwise apart: x * rsqrt(mean(x^2) + eps) * g, or the same centred, + b."""

    node: Node
    defined: Mapping[Slot, Node]
    known: set[Slot]

    def norm(self) -> Norm | None:
        node = self.node
        if node.dtype is not Dtype.REAL or node.rank == 0:
            return None
        width = node.sizes[node.rank - 1]
        assert isinstance(node.op, Pointwise)
        expr, bias = node.op.expr, None
        match expr:
            case App("add", (App("mul") as scaled, Arg(k))) if self._vector(k):
                expr, bias = scaled, node.reads[k].node
            case _:
                pass
        if not isinstance(width, int) or not isinstance(expr, App) or expr.function != "mul":
            return None
        value, root, weight = self._factors(expr.args)
        if value is None or root is None:
            return None
        match root:
            case App("rsqrt", (App("add", (Arg(spread), Lit(eps))),)):
                pass
            case _:
                return None
        if not self._reduced(spread) or isinstance(eps, complex):
            return None
        slot = node.reads[spread].node
        match value:
            case Arg(x) if self._whole(x) and bias is None:
                source = node.reads[x].node
                if not self._mean_of_squares(slot, source, width):
                    return None
                return Norm("rms_norm", source, width, weight, None, float(eps), (slot,))
            case App("add", (Arg(x), App("neg", (Arg(m),)))) if self._whole(x) and self._reduced(m):
                source, mean = node.reads[x].node, node.reads[m].node
                square = self._variance(slot, source, mean, width)
                if square is None:
                    return None
                absorbed = (mean, square, slot)
                return Norm("layer_norm", source, width, weight, bias, float(eps), absorbed)
        return None

    def _factors(self, args: Sequence[Scalar]) -> tuple[Scalar | None, Scalar | None, Slot | None]:
        """(what is normalised, the reciprocal root, the weight) of two or three factors."""
        value = root = None
        weight = None
        for arg in args:
            if isinstance(arg, Arg) and weight is None and self._vector(arg.position):
                weight = self.node.reads[arg.position].node
            elif isinstance(arg, App) and arg.function == "rsqrt" and root is None:
                root = arg
            elif value is None:
                value = arg
            else:
                return None, None, None
        return value, root, weight

    def _vector(self, position: int) -> bool:
        """A vector over the last axis that exists before the step."""
        read, last = self.node.reads[position], self.node.rank - 1
        return read.subscripts == (At(last),) and last > 0 and read.node in self.known

    def _whole(self, position: int) -> bool:
        read = self.node.reads[position]
        return read.subscripts == _axes(self.node.rank)

    def _reduced(self, position: int) -> bool:
        """A read over all axes but the last."""
        read = self.node.reads[position]
        return read.subscripts == _axes(self.node.rank - 1)

    def _mean_of_squares(self, slot: Slot, source: Slot, width: Size) -> bool:
        mean = self.defined.get(slot)
        if mean is None or not _is_mean(mean, width):
            return False
        whole = Read(source, (*_axes(mean.rank), At(mean.rank)))
        return mean.reads == (whole, whole)

    def _variance(self, slot: Slot, source: Slot, mean: Slot, width: Size) -> Slot | None:
        """The slot of the centred square, if `slot` is its mean and `mean` that of `source`."""
        first, last = self.defined.get(mean), self.defined.get(slot)
        if first is None or last is None or not (_is_mean(first, width) and _is_mean(last, width)):
            return None
        whole = (*_axes(first.rank), At(first.rank))
        if first.reads != (Read(source, whole),) or len(last.reads) != 1:
            return None
        if last.reads[0].subscripts != whole:
            return None
        square = self.defined.get(last.reads[0].node)
        if square is None or not isinstance(square.op, Pointwise) or len(square.reads) != 2:
            return None
        match square.op.expr:
            case App("pow", (App("add", (Arg(x), App("neg", (Arg(m),)))), Lit(2))):
                pass
            case _:
                return None
        centred = (Read(source, _axes(square.rank)), Read(mean, _axes(square.rank - 1)))
        same = (square.reads[x], square.reads[m]) == centred
        return last.reads[0].node if same else None


def _axes(count: int) -> tuple[At, ...]:
    return tuple(At(axis) for axis in range(count))


def _is_mean(node: Node, width: Size) -> bool:
    """The mean over one index of this size, which is known."""
    if not isinstance(node.op, Contract) or node.op.semiring is not Semiring.SUM_PRODUCT:
        return False
    if len(node.bound) != 1 or node.sizes[node.rank] != width or not isinstance(width, int):
        return False
    return node.op.coefficient == 1 / width

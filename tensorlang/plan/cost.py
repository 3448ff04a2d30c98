"""What steps cost, as polynomials in the dynamic sizes: FLOPs, bytes moved, bytes alive at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import assert_never

import sympy

from tensorlang.check.program import TransformOp
from tensorlang.dtype import Dtype
from tensorlang.ir.nodes import (
    App,
    Call,
    Const,
    Contract,
    Input,
    Merge,
    Node,
    Param,
    Pointwise,
    Reduce,
    Scalar,
    Scan,
    Scatter,
    Softmax,
    Transform,
)
from tensorlang.ir.reads import operands
from tensorlang.plan.grid import Point
from tensorlang.plan.plan import (
    AnyStep,
    Attention,
    AttentionStep,
    Cost,
    Monomials,
    ProjectionsStep,
    Slot,
    Step,
)
from tensorlang.size import Size

_ITEM = {Dtype.BOOL: 1, Dtype.INT: 8, Dtype.REAL: 4, Dtype.COMPLEX: 8}
_FFT_FLOPS = 25  # 5 n log2 n a transform, for n around 32
_FFTS = {TransformOp.FFT, TransformOp.IFFT, TransformOp.RFFT, TransformOp.IRFFT}


# --- polynomials ---------------------------------------------------------------------------------
def volume(sizes: Iterable[Size]) -> Monomials:
    """Product of sizes. What is no polynomial is a symbol named by its text."""
    return dict(_volume(tuple(sizes)))


def add(terms: Iterable[Monomials]) -> Monomials:
    out: Monomials = {}
    for term in terms:
        for monomial, coefficient in term.items():
            out[monomial] = out.get(monomial, 0) + coefficient
    return {monomial: out[monomial] for monomial in sorted(out) if out[monomial]}


def scale(term: Monomials, factor: int) -> Monomials:
    return {monomial: factor * coefficient for monomial, coefficient in term.items()}


def at(cost: Monomials, point: Point) -> float:
    """The polynomial at a point; names that the point lacks count as 256."""
    total = 0.0
    for monomial, coefficient in cost.items():
        value = float(coefficient)
        for name, power in monomial:
            value *= float(point.get(name, 256)) ** power
        total += value
    return total


_Frozen = tuple[tuple[tuple[tuple[str, int], ...], int], ...]


@lru_cache(maxsize=65536)
def _volume(sizes: tuple[Size, ...]) -> _Frozen:
    out: Monomials = {(): 1}
    for size in sizes:
        out = _times(out, dict(_polynomial(size)))
    return tuple(sorted(out.items()))


def _times(a: Monomials, b: Monomials) -> Monomials:
    out: Monomials = {}
    for left, p in a.items():
        for right, q in b.items():
            powers: dict[str, int] = dict(left)
            for name, power in right:
                powers[name] = powers.get(name, 0) + power
            key = tuple(sorted(powers.items()))
            out[key] = out.get(key, 0) + p * q
    return out


@lru_cache(maxsize=65536)
def _polynomial(size: Size) -> _Frozen:
    if isinstance(size, int):
        return (((), size),)
    out: Monomials = {}
    for term, coefficient in sympy.expand(size).as_coefficients_dict().items():
        if not coefficient.is_Integer:
            return ((((str(size), 1),), 1),)
        powers: dict[str, int] = {}
        for base, power in term.as_powers_dict().items():
            if base == 1:
                continue
            if not (power.is_Integer and power > 0):
                return ((((str(size), 1),), 1),)
            powers[str(base)] = powers.get(str(base), 0) + int(power)
        key = tuple(sorted(powers.items()))
        out[key] = out.get(key, 0) + int(coefficient)
    return tuple(sorted(out.items()))


# --- steps ---------------------------------------------------------------------------------------
def cost(
    steps: Sequence[AnyStep],
    held: Sequence[Slot],
    kept: Sequence[Slot],
    shapes: Mapping[Slot, tuple[tuple[Size, ...], Dtype]],
    point: Point,
) -> Cost:
    """Cost of a list of steps; `held` are there before it, `kept` after it.

    The peak is that moment's polynomial which is largest at `point`.
    """
    return Cost(
        add(flops(step) for step in steps),
        add(moved(step, shapes) for step in steps),
        _peak(steps, held, kept, shapes, point),
    )


def flops(step: AnyStep) -> Monomials:
    match step:
        case AttentionStep():
            return attention_flops(step.attention)
        case ProjectionsStep(projections):
            return add(node_flops(projection.node) for projection in projections)
        case Step():
            return node_flops(step.node)
    assert_never(step)


def moved(step: AnyStep, shapes: Mapping[Slot, tuple[tuple[Size, ...], Dtype]]) -> Monomials:
    """Bytes read and written, each operand once."""
    if isinstance(step, Step) and isinstance(step.node.op, Merge | Input | Param | Const):
        return {}
    slots = dict.fromkeys((*made(step), *used(step)))
    return add(held_bytes(slot, shapes) for slot in slots)


def held_bytes(slot: Slot, shapes: Mapping[Slot, tuple[tuple[Size, ...], Dtype]]) -> Monomials:
    sizes, dtype = shapes[slot]
    return scale(volume(sizes), _ITEM[dtype])


def made(step: AnyStep) -> tuple[Slot, ...]:
    """Slots that a step fills."""
    if isinstance(step, ProjectionsStep):
        return tuple(projection.out for projection in step.projections)
    return (step.out,)


def used(step: AnyStep) -> tuple[Slot, ...]:
    """Slots that a step reads, each once."""
    match step:
        case AttentionStep(attention=attention):
            reads = (attention.q, attention.k, attention.v, attention.mask, attention.bias)
            return tuple(dict.fromkeys(read.node for read in reads if read is not None))
        case ProjectionsStep(projections):
            return tuple(dict.fromkeys(slot for p in projections for slot in operands(p.node)))
        case Step():
            return operands(step.node)
    assert_never(step)


def attention_flops(attention: Attention) -> Monomials:
    """Logits and values 2 a multiply-add, softmax 5 a cell."""
    cells = (*attention.batch, *attention.query, *attention.key)
    sizes = attention.sizes

    def over(indices: Iterable[int]) -> Monomials:
        return volume(sizes[index] for index in indices)

    return add(
        (
            scale(over((*cells, *attention.feature)), 2),
            scale(over((*cells, *attention.value)), 2),
            scale(over(cells), 5),
        )
    )


def node_flops(node: Node) -> Monomials:
    space = volume(node.sizes)
    match node.op:
        case Input() | Param() | Const() | Merge() | Call():
            return {}
        case Contract(coefficient):
            each = (2 if node.bound and len(node.reads) > 1 else len(node.reads) - 1) or bool(
                node.bound
            )
            once = volume(node.shape) if coefficient != 1 else {}
            return add((scale(space, int(each)), once))
        case Pointwise(expr):
            return scale(space, applications(expr))
        case Reduce() | Scan():
            return space
        case Softmax():
            return scale(space, 5)
        case Scatter():
            return scale(volume(node.sizes[index] for index in node.bound), len(node.reads))
        case Transform(op, source):
            if op in _FFTS:
                return scale(space, _FFT_FLOPS)
            if op is TransformOp.CONCAT:
                return {}
            return scale(volume((*node.sizes, node.sizes[source[0]])), 2)
    assert_never(node.op)


def applications(expr: Scalar) -> int:
    """Scalar operations of an expression; an n-ary one counts n - 1."""
    if not isinstance(expr, App):
        return 0
    own = max(1, len(expr.args) - 1) if expr.function in {"add", "mul", "and", "or"} else 1
    return own + sum(applications(arg) for arg in expr.args)


def _peak(
    steps: Sequence[AnyStep],
    held: Sequence[Slot],
    kept: Sequence[Slot],
    shapes: Mapping[Slot, tuple[tuple[Size, ...], Dtype]],
    point: Point,
) -> Monomials:
    last: dict[Slot, int] = dict.fromkeys(held, -1)
    for position, step in enumerate(steps):
        last.update((slot, position) for slot in (*made(step), *used(step)) if slot in shapes)
    last.update((slot, len(steps)) for slot in kept)
    dying: dict[int, list[Slot]] = {}
    for slot, position in last.items():
        dying.setdefault(position, []).append(slot)
    size = {slot: at(held_bytes(slot, shapes), point) for slot in last}
    alive = dict.fromkeys(held)
    now = sum(size[slot] for slot in alive)
    most, moment = now, tuple(alive)
    for position, step in enumerate(steps):
        for slot in made(step):
            if slot not in alive:
                alive[slot] = None
                now += size[slot]
        if now > most:
            most, moment = now, tuple(alive)
        for slot in dying.get(position, ()):
            if slot in alive and slot not in held:
                del alive[slot]
                now -= size[slot]
    return add(held_bytes(slot, shapes) for slot in moment)

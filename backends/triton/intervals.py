"""Loop bounds from conditions: which blocks of one axis a block of another can reach.

A conjunct that is affine in the two axes, with coefficient 1 or -1 on the one that is walked,
bounds the walk; all others stay a mask on every tile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tensorlang.backends.triton.build import (
    add,
    both,
    ceil_to,
    conjuncts,
    floor_to,
    integer,
    least,
    most,
    scale,
)
from tensorlang.backends.triton.kernel_ir import Const, DType, Expr, Iota, Map, Ref


@dataclass(frozen=True, slots=True)
class Linear:
    """sum of coefficient * axis + offset, the offset an integer expression in sizes."""

    coefficients: tuple[tuple[str, int], ...]
    offset: Expr

    def of(self, axis: str) -> int:
        return dict(self.coefficients).get(axis, 0)


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of blocks [lo, hi) of the walked axis; `full`: the condition holds on all of it."""

    lo: Expr
    hi: Expr
    full: bool


def segments(
    condition: Expr | None,
    owner: str,
    owner_block: str,
    walked: str,
    block: str,
    extent: Expr,
    known: Sequence[str] = (),
) -> tuple[Segment, ...]:
    """Runs of blocks of `walked` that together cover every cell where the condition holds for a
    position in the block of `owner` that starts at `{owner}_first`.

    Blocks in full runs lie inside the axis and satisfy the condition everywhere. `known` are axes
    of which the position is one number here.
    """
    lo: Expr = integer(0)
    hi = extent
    full_lo: Expr = integer(0)
    full_hi = extent
    whole: list[Expr] = []  # what must hold so that blocks can be full
    masked = False  # a conjunct became no bound
    for conjunct in conjuncts(condition):
        forms = constraints(conjunct)
        allowed = {owner, walked, *known}
        if forms is None or any(set(dict(f.coefficients)) - allowed for f in forms):
            masked = True
            continue
        for form in forms:
            offset = add(form.offset, *(_of(form, axis) for axis in known if form.of(axis)))
            greatest = add(_extreme(form.of(owner), owner, owner_block, True), offset)
            smallest = add(_extreme(form.of(owner), owner, owner_block, False), offset)
            match form.of(walked):
                case -1:  # walked <= owner part + offset
                    hi = least(hi, add(greatest, integer(1)))
                    full_hi = least(full_hi, add(smallest, integer(1)))
                case 1:  # walked >= -(owner part + offset)
                    lo = most(lo, scale(greatest, -1))
                    full_lo = most(full_lo, scale(smallest, -1))
                case 0 if known:
                    whole.append(Map("ge", (smallest, integer(0))))
                case _:
                    masked = True
    start = floor_to(lo, block)
    if masked:
        return (Segment(start, hi, False),)
    first = ceil_to(full_lo, block)
    last = floor_to(full_hi if hi == extent else most(integer(0), full_hi), block)
    runs = []
    if first != integer(0):
        runs.append(Segment(start, least(first, hi), False))
    full = both(*whole)
    if full is not None:
        last = Map("where", (full, last, first))
    runs.append(Segment(first, last, True))
    runs.append(Segment(last if first == integer(0) else most(first, last), hi, False))
    return tuple(runs)


def span(
    condition: Expr | None, owner: str, owner_block: str, walked: str, inner: str, extent: Expr
) -> tuple[Expr, Expr]:
    """First position and end of `walked`, one at a time, that a block of `owner` can reach through
    some position of `inner`."""
    lo: Expr = integer(0)
    hi = extent
    forms = [form for conjunct in conjuncts(condition) for form in constraints(conjunct) or ()]
    direct = [form for form in forms if not form.of(inner)]
    up, down = ([f for f in forms if f.of(inner) == sign] for sign in (1, -1))
    for form in dict.fromkeys((*direct, *(_sum(a, b, 1) for a in up for b in down))):
        if set(dict(form.coefficients)) - {owner, walked}:
            continue
        greatest = add(_extreme(form.of(owner), owner, owner_block, True), form.offset)
        match form.of(walked):
            case -1:
                hi = least(hi, add(greatest, integer(1)))
            case 1:
                lo = most(lo, scale(greatest, -1))
            case _:
                pass
    return lo, hi


def constraints(condition: Expr) -> tuple[Linear, ...] | None:
    """Forms that are at least 0 exactly where an integer comparison holds; None if not affine."""
    if not (isinstance(condition, Map) and condition.op in ("lt", "le", "gt", "ge", "eq")):
        return None
    left, right = (linear(arg) for arg in condition.args)
    if left is None or right is None:
        return None
    below, above = _difference(right, left), _difference(left, right)
    match condition.op:
        case "lt":
            return (_shifted(below, -1),)
        case "le":
            return (below,)
        case "gt":
            return (_shifted(above, -1),)
        case "ge":
            return (above,)
        case _:
            return (below, above)


def linear(expr: Expr) -> Linear | None:
    """The affine form of an integer expression over axes and sizes."""
    match expr:
        case Const(dtype=DType.INT):
            return Linear((), expr)
        case Ref():
            return Linear((), expr)
        case Iota(axis):
            return Linear(((axis, 1),), integer(0))
        case Map("add", args):
            total: Linear | None = Linear((), integer(0))
            for arg in args:
                term = linear(arg)
                total = None if total is None or term is None else _sum(total, term, 1)
            return total
        case Map("sub", (a, b)):
            x, y = linear(a), linear(b)
            return None if x is None or y is None else _difference(x, y)
        case Map("neg", (a,)):
            x = linear(a)
            return None if x is None else _times(x, -1)
        case Map("mul", (a, b)):
            if isinstance(a, Const):
                a, b = b, a
            x = linear(a)
            if x is None or not (isinstance(b, Const) and b.dtype is DType.INT):
                return None
            return _times(x, int(b.value))
        case _:
            return None


def _sum(a: Linear, b: Linear, sign: int) -> Linear:
    coefficients = dict(a.coefficients)
    for axis, coefficient in b.coefficients:
        coefficients[axis] = coefficients.get(axis, 0) + sign * coefficient
    kept = tuple((axis, c) for axis, c in coefficients.items() if c)
    return Linear(kept, add(a.offset, scale(b.offset, sign)))


def _difference(a: Linear, b: Linear) -> Linear:
    return _sum(a, b, -1)


def _times(a: Linear, factor: int) -> Linear:
    scaled = tuple((axis, c * factor) for axis, c in a.coefficients if factor)
    return Linear(scaled, scale(a.offset, factor))


def _shifted(a: Linear, by: int) -> Linear:
    return Linear(a.coefficients, add(a.offset, integer(by)))


def _extreme(coefficient: int, owner: str, block: str, greatest: bool) -> Expr:
    """Greatest or least of coefficient * position over a block of the owner."""
    first: Expr = Ref(f"{owner}_first")
    if (coefficient > 0) == greatest:
        first = add(first, Ref(block), integer(-1))
    return scale(first, coefficient) if coefficient else integer(0)


def _of(form: Linear, axis: str) -> Expr:
    return scale(Iota(axis), form.of(axis))

"""Affine subscripts, and the proof that a position lies inside its axis whatever the sizes are.

Sound, not complete: what is not proved needs a boundary in the source. language.md, section 12,
"Conditions", lists what is always proved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import assert_never

import sympy

from tensorlang.check.polynomial import Case, Poly, System, add, constant, multiply, strictly
from tensorlang.check.program import (
    Affine,
    Along,
    Apply,
    Expr,
    Index,
    IndexValue,
    Literal,
    Read,
    Reduce,
    SizeValue,
    Transform,
)
from tensorlang.dtype import Dtype
from tensorlang.size import Size, expression, simplest

Ranges = Mapping[str, tuple[int, int]]  # least and greatest value of an integer tensor

_CASES = 16  # of one condition
_ORDER = ("lt", "le", "gt", "ge", "eq", "ne")


def affine(expr: Expr) -> Affine | None:
    """Give an integer expression as offset + sum of coefficient * index, None if it is not one."""
    form = _affine(expr)
    if form is None:
        return None
    terms, offset = form
    kept = tuple((index, coefficient) for index, coefficient in terms.items() if coefficient)
    return Affine(kept, simplest(offset))


def inside(
    position: Expr, size: Size, facts: Sequence[Expr] = (), ranges: Ranges | None = None
) -> bool:
    """Prove 0 <= position < size for all values of the indices and sizes for which `facts` hold.

    `ranges` bounds the values of integer tensors, e.g. of consts.
    """
    if not facts and (bounds := _interval(position)) is not None and isinstance(size, int):
        return bounds[0] >= 0 and bounds[1] < size
    reader = _Reader(ranges or {})
    for fact in facts:
        reader.assume(fact)
    poly = reader.poly(position)
    above = strictly(add(reader.system.size(size), poly, -1))
    return reader.system.proves(poly) and reader.system.proves(above)


def at_least(size: Size, least: int, facts: Sequence[Expr] = ()) -> bool:
    """Prove size >= least for all values of the symbols for which `facts` hold."""
    if isinstance(size, int):
        return size >= least
    reader = _Reader({})
    for fact in facts:
        reader.assume(fact)
    return reader.system.proves(add(reader.system.size(size), constant(-least)))


# --- affine forms --------------------------------------------------------------------------------
def _affine(expr: Expr) -> tuple[dict[Index, int], Size] | None:
    match expr:
        case Literal(bool()) | Literal(float()) | Literal(complex()):
            return None
        case Literal(int() as value):
            return {}, value
        case IndexValue(index):
            return {index: 1}, 0
        case SizeValue(size):
            return {}, size
        case Apply("neg", (arg,)):
            form = _affine(arg)
            return None if form is None else _scaled(form, -1)
        case Apply("add", args):
            terms: dict[Index, int] = {}
            offset: Size = 0
            for arg in args:
                form = _affine(arg)
                if form is None:
                    return None
                for index, coefficient in form[0].items():
                    terms[index] = terms.get(index, 0) + coefficient
                offset = offset + form[1]
            return terms, offset
        case Apply("mul", args):
            out: tuple[dict[Index, int], Size] = {}, 1
            for arg in args:
                form = _affine(arg)
                if form is None:
                    return None
                if form[0] and out[0]:
                    return None
                fixed, varying = (out, form) if form[0] else (form, out)
                if varying[0] and not isinstance(fixed[1], int):
                    return None
                out = _scaled(varying, fixed[1])
            return out
        case Apply(function, args):
            sizes: list[Size] = []
            for arg in args:
                form = _affine(arg)
                if form is None or form[0]:
                    return None
                sizes.append(simplest(form[1]))
            made = _fixed(function, sizes)
            return None if made is None else ({}, made)
        case _:
            return None


def _scaled(form: tuple[dict[Index, int], Size], factor: Size) -> tuple[dict[Index, int], Size]:
    terms, offset = form
    if not isinstance(factor, int):
        assert not terms, form
        return {}, offset * factor
    return {index: c * factor for index, c in terms.items()}, offset * factor


def _fixed(function: str, args: Sequence[Size]) -> Size | None:
    """Give the value of an integer function of sizes, None if there is none in closed form."""
    match function, args:
        case (("floordiv" | "mod"), (a, b)):
            if not (isinstance(b, int) and b != 0) and not at_least(b, 1):
                return None
            if isinstance(a, int) and isinstance(b, int):
                return a // b if function == "floordiv" else a % b
            return sympy.floor(expression(a) / b) if function == "floordiv" else sympy.Mod(a, b)
        case "pow", (a, int(b)) if 0 <= b <= 8:
            return a**b
        case "min", _:
            ints = [arg for arg in args if isinstance(arg, int)]
            return min(ints) if len(ints) == len(args) else sympy.Min(*args)
        case "max", _:
            ints = [arg for arg in args if isinstance(arg, int)]
            return max(ints) if len(ints) == len(args) else sympy.Max(*args)
    return None


def _interval(expr: Expr) -> tuple[int, int] | None:
    """Give the least and greatest value of an affine expression over axes of known sizes."""
    form = _affine(expr)
    if form is None or not isinstance(form[1], int):
        return None
    low = high = form[1]
    for index, coefficient in form[0].items():
        size = index.dim.size
        if not isinstance(size, int):
            return None
        reach = coefficient * (size - 1)
        low, high = low + min(0, reach), high + max(0, reach)
    return low, high


# --- positions and conditions as polynomials -----------------------------------------------------
@dataclass(frozen=True)
class _Reader:
    """Turns integer expressions into polynomials and conditions into inequalities."""

    ranges: Ranges
    system: System = field(default_factory=System)

    def index(self, index: Index) -> Poly:
        poly, new = self.system.atom(index, nonnegative=True)
        if new:  # a value of an index exists: 0 <= index <= size - 1
            self.system.known.append(
                strictly(add(self.system.size(index.dim.size), poly, -1)),
            )
        return poly

    def poly(self, expr: Expr) -> Poly:
        match expr:
            case Literal(value):
                return constant(int(value.real)) if _whole(value) else self.opaque(expr)
            case IndexValue(index):
                return self.index(index)
            case SizeValue(size):
                return self.system.size(size)
            case Apply():
                return self.apply(expr)
            case Read(tensor, _, _, otherwise) if tensor in self.ranges:
                low, high = self.ranges[tensor]
                if otherwise is not None:
                    assert not isinstance(otherwise.value, complex), expr
                    low, high = min(low, int(otherwise.value)), max(high, int(otherwise.value))
                poly, new = self.system.atom(expr, low >= 0)
                if new:
                    self.system.known += [
                        add(poly, constant(-low)),
                        add(constant(high), poly, -1),
                    ]
                return poly
            case Read() | Reduce() | Along() | Transform():
                return self.opaque(expr)
        assert_never(expr)

    def opaque(self, expr: Expr) -> Poly:
        return self.system.atom(expr)[0]

    def apply(self, expr: Apply) -> Poly:
        args = expr.args
        if expr.dtype is Dtype.BOOL:
            truth = self.cases(expr, True), self.cases(expr, False)
            return self.system.choice(expr, ((truth[0], constant(1)), (truth[1], {})))
        match expr.function, args:
            case (("floor" | "ceil"), (Apply("div", (a, b)),)) if _integral(a) and _integral(b):
                over, under = self.poly(a), self.poly(b)
                if expr.function == "floor":
                    return self.system.floor(over, under)
                return _negated(self.system.floor(_negated(over), under))
            case (("floor" | "ceil" | "to_int"), (a,)) if _integral(a):
                return self.poly(a)
        if expr.dtype is not Dtype.INT:
            return self.opaque(expr)
        match expr.function, args:
            case "add", _:
                total: Poly = {}
                for arg in args:
                    total = add(total, self.poly(arg))
                return total
            case "neg", (a,):
                return _negated(self.poly(a))
            case "mul", _:
                out = constant(1)
                for arg in args:
                    out = multiply(out, self.poly(arg))
                return out if len(out) <= 64 else self.opaque(expr)
            case "pow", (a, Literal(int(n))) if 0 <= n <= 4:
                base, out = self.poly(a), constant(1)
                for _ in range(n):
                    out = multiply(out, base)
                return out if len(out) <= 64 else self.opaque(expr)
            case "floordiv", (a, b):
                return self.system.floor(self.poly(a), self.poly(b))
            case "mod", (a, b):
                return self.system.modulo(self.poly(a), self.poly(b))
            case (("max" | "min"), (_, *_)):
                parts = [self.poly(arg) for arg in args]
                return self.system.extreme(parts, 1 if expr.function == "max" else -1)
            case "abs", (a,):
                poly = self.poly(a)
                return self.system.extreme([poly, _negated(poly)], 1)
            case "where", (condition, then, otherwise):
                yes, no = self.cases(condition, True), self.cases(condition, False)
                values = self.poly(then), self.poly(otherwise)
                return self.system.choice(expr, ((yes, values[0]), (no, values[1])))
        return self.opaque(expr)

    def assume(self, fact: Expr) -> None:
        """Add a condition to what is known."""
        cases = self.cases(fact, True)
        if len(cases) == 1:
            self.system.known += cases[0]
        else:
            self.system.alternatives.append(cases)

    def cases(self, condition: Expr, truth: bool) -> list[Case]:
        """Give inequalities, one case of which holds if the condition is `truth`.

        A part that says nothing of integers gives the empty case.
        """
        match condition:
            case Literal(bool(value)):
                return [[]] if value is truth else []
            case Apply("not", (a,)):
                return self.cases(a, not truth)
            case Apply(("and" | "or") as function, args):
                parts = [self.cases(arg, truth) for arg in args]
                return _every(parts) if (function == "and") is truth else _some(parts)
            case Apply("where", (test, then, otherwise), Dtype.BOOL):
                return _some(
                    [
                        _every([self.cases(test, True), self.cases(then, truth)]),
                        _every([self.cases(test, False), self.cases(otherwise, truth)]),
                    ]
                )
            case Apply(function, (a, b)) if function in _ORDER and _integral(a) and _integral(b):
                return self.comparison(function, self.poly(a), self.poly(b), truth)
            case _:
                return [[]]

    def comparison(self, function: str, a: Poly, b: Poly, truth: bool) -> list[Case]:
        above, below = add(a, b, -1), add(b, a, -1)
        match function, truth:
            case ("lt", True) | ("ge", False):
                return [[strictly(below)]]
            case ("le", True) | ("gt", False):
                return [[below]]
            case ("gt", True) | ("le", False):
                return [[strictly(above)]]
            case ("ge", True) | ("lt", False):
                return [[above]]
            case ("eq", True) | ("ne", False):
                return [[above, below]]
        return [[strictly(above)], [strictly(below)]]


def _every(parts: Sequence[list[Case]]) -> list[Case]:
    """Give the cases of a conjunction; parts with too many are left out."""
    out: list[Case] = [[]]
    for cases in sorted(parts, key=len):
        if len(out) * len(cases) <= _CASES:
            out = [[*case, *more] for case in out for more in cases]
    return out


def _some(parts: Sequence[list[Case]]) -> list[Case]:
    """Give the cases of a disjunction; it says nothing if one of them does not."""
    out = [case for cases in parts for case in cases]
    return out if len(out) <= _CASES and all(out) else [[]]


def _negated(poly: Poly) -> Poly:
    return {m: -c for m, c in poly.items()}


def _whole(value: bool | int | float | complex) -> bool:
    return isinstance(value, int) or (isinstance(value, float) and value.is_integer())


def _integral(expr: Expr) -> bool:
    """Whether the expression has integer values only."""
    match expr:
        case Literal(value):
            return _whole(value)
        case IndexValue() | SizeValue():
            return True
        case Apply(("floor" | "ceil"), (_,)):
            return True
        case _:
            return expr.dtype in (Dtype.BOOL, Dtype.INT)

"""Bodies of loops as statements: which of them are needed, and what is left of their masks where a
block lies inside its axis."""

from __future__ import annotations

from collections.abc import Sequence

from tensorlang.backends.triton.build import expressions, rebuild, walk
from tensorlang.backends.triton.kernel_ir import (
    Const,
    DType,
    Expr,
    For,
    Let,
    Load,
    Map,
    Ref,
    Stmt,
    Store,
)
from tensorlang.backends.triton.ssa import Values
from tensorlang.backends.triton.tails import inside


def loaded(body: Sequence[Stmt]) -> set[str]:
    """Tensors that statements load, those inside their loops included."""
    found: set[str] = set()
    for stmt in body:
        found |= {n.tensor for e in expressions(stmt) for n in walk(e) if isinstance(n, Load)}
        if isinstance(stmt, For):
            found |= loaded(stmt.body)
    return found


def needed(lets: Sequence[Let], stmts: Sequence[Stmt]) -> list[Let]:
    """The Lets that statements read, directly or through others."""
    wanted = {n.name for s in stmts for e in expressions(s) for n in walk(e) if isinstance(n, Ref)}
    out: list[Let] = []
    for let in reversed(lets):
        if let.name in wanted:
            out.append(let)
            wanted |= {n.name for n in walk(let.value) if isinstance(n, Ref)}
    return out[::-1]


def unmasked(
    values: Values, body: Sequence[Stmt], axis: str, carried: frozenset[str]
) -> list[Stmt]:
    """The statements where all cells are inside an axis."""
    condition = inside(values.kernel.axis(axis))
    holds = {s.name for s in body if isinstance(s, Let) and s.value == condition}
    known: dict[str, Expr] = {}

    def new(expr: Expr) -> Expr:
        if isinstance(expr, Ref):
            return known.get(expr.name, expr)
        expr = rebuild(expr, new)
        match expr:
            case Map("where", (Ref(name), a, _)) if name in holds:
                if axis in values.type(a).axes:
                    return a
                return Map("mul", (a, Const(1.0, DType.ACCUMULATE, (axis,))))
            case Map("and", args):
                kept = tuple(a for a in args if not (isinstance(a, Ref) and a.name in holds))
                return kept[0] if len(kept) == 1 else Map("and", kept)
        return expr

    out: list[Stmt] = []
    for stmt in body:
        match stmt:
            case Let(name, value):
                if name in holds and name not in carried:
                    continue
                value = new(value)
                if isinstance(value, Ref) and name not in carried:
                    known[name] = value
                else:
                    out.append(Let(name, value))
            case Store(tensor, index, value, pred):
                out.append(Store(tensor, tuple(map(new, index)), new(value), pred))
            case _:
                raise AssertionError(stmt)
    return out

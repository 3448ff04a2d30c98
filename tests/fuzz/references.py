"""Random references: every form of subscript, gathers, groups, boundaries."""

from __future__ import annotations

from tests.fuzz.pool import DOTS, Axis, Pool, Tensor

Scope = tuple[str, ...]
OUTSIDE = {"bool": "false", "real": "0.25", "int": "0", "complex": "0"}
FIXED = ["1", "2", "3"]
MOST_NESTED = 3  # gathers within gathers


def indices(scope: Scope) -> list[str]:
    return [index for index in scope if index != DOTS]


def reference(pool: Pool, tensor: Tensor, scope: Scope, must: str | None = None) -> str:
    """A tensor at positions of the scope; `must` stands plainly at one axis of its dim."""
    own = tensor.own
    if not tensor.axes:
        return tensor.name
    known = own is not None and {*own} <= {*scope} and (must is None or must in own)
    if known and pool.chance(0.25):
        return tensor.name
    pool.within += 1
    places = [k for k, axis in enumerate(tensor.axes) if must and axis == pool.dim_of(must)]
    chosen = pool.rng.choice(places) if places else None
    out = [
        must if k == chosen and must else subscript(pool, axis, scope)
        for k, axis in enumerate(tensor.axes)
    ]
    pool.within -= 1
    return f"{tensor.name}[{', '.join(out)}]".replace("@", OUTSIDE[tensor.kind])


def subscript(pool: Pool, axis: Axis, scope: Scope) -> str:
    """A position along an axis; @ stands for the value outside."""
    if axis == DOTS:
        return DOTS
    pair = axis if isinstance(axis, tuple) else pool.split.get(axis)
    if pair is not None:
        sides = [[i for i in indices(scope) if pool.dim_of(i) == dim] for dim in pair]
        if all(sides) and pool.chance(0.7):
            return f"({pool.pick(sides[0])} {pool.pick(sides[1])})"
    if isinstance(axis, tuple):
        return _bounded(pool, axis[1], scope, any(pool.dims[dim] is None for dim in axis))
    return _along(pool, axis, scope)


def _along(pool: Pool, dim: str, scope: Scope) -> str:
    own = [index for index in indices(scope) if pool.dim_of(index) == dim]
    gathers = [t for t in pool.readable("int", scope) if t.into == dim]
    size = pool.dims[dim]
    roll = pool.rng.random()
    if own and roll < 0.6:
        return pool.pick(own)
    if gathers and pool.within < MOST_NESTED and roll < 0.72:
        return reference(pool, pool.rng.choice(gathers), scope)
    if own and roll < 0.76:
        return f"{pool.pick(own)} // {pool.pick(['2', '3'])}"
    if own and roll < 0.79:
        return f"|{dim}| - 1 - {pool.pick(own)}"
    if size is not None and roll < 0.82:
        return pool.pick(["0", f"|{dim}| - 1"])
    equal = [i for i in indices(scope) if size is not None and pool.dims[pool.dim_of(i)] == size]
    if equal and roll < 0.86:
        return pool.pick(equal)
    return _bounded(pool, dim, scope, size is None)


def _bounded(pool: Pool, dim: str, scope: Scope, dynamic: bool) -> str:
    """A position that may lie outside."""
    numbers = [t for t in pool.readable("int", scope) if t.into is None]
    options = indices(scope)
    index = pool.pick(options) if options else "0"
    if numbers and pool.within < MOST_NESTED and pool.chance(0.2):
        index = reference(pool, pool.rng.choice(numbers), scope)
        if " else " in index:
            index = pool.pick(options) if options else "1"
    step = pool.pick(FIXED)
    moved = pool.pick(
        [
            f"{index} - {step}", f"{index} + {step}", f"2 * {index} - {step}", index,
            f"{step} - {index}", f"{index} + {pool.pick(options) if options else step} - {step}",
        ]
    )  # fmt: skip
    if (pool.empty and dynamic) or pool.chance(0.5):
        return f"{moved} else @"
    return f"{pool.pick(['wrap', 'clamp', 'reflect'])}({moved})"


def guarded(pool: Pool, scope: Scope) -> str:
    """A read that a condition proves to lie inside."""
    options = [
        (tensor, place, index)
        for tensor in pool.readable("real", scope)
        for place, axis in enumerate(tensor.axes)
        for index in indices(scope)
        if axis == pool.dim_of(index)
    ]
    if not options:
        return "0.5"
    tensor, place, index = pool.rng.choice(options)
    dim = pool.dim_of(index)
    position, condition = pool.rng.choice(
        [
            (f"{index} - 1", f"{index} > 0"),
            (f"{index} - 2", f"2 <= {index}"),
            (f"{index} + 1", f"{index} < |{dim}| - 1"),
            (f"2 * {index}", f"2 * {index} < |{dim}|"),
        ]
    )
    out = [subscript(pool, axis, scope) for axis in tensor.axes]
    out[place] = position
    read = f"{tensor.name}[{', '.join(out)}]".replace("@", OUTSIDE["real"])
    return f"({read} if {condition} else {pool.pick(['0', '0.25'])})"

"""Random expressions over the indices in scope: real, complex, int and bool, moderate in value."""

from __future__ import annotations

from tests.fuzz.pool import DOTS, Pool, Tensor

Scope = tuple[str, ...]

SMOOTH = (
    "tanh({0})", "sin({0})", "cos({0})", "sigmoid({0})", "exp(-({0})^2)", "gelu({0})", "silu({0})",
    "softplus({0})", "erf({0})", "atan({0})", "sqrt(1 + ({0})^2)", "log(2 + ({0})^2)",
    "rsqrt(1 + ({0})^2)", "asin(0.5 * tanh({0}))", "acos(0.5 * tanh({0}))", "sinh(tanh({0}))",
    "cosh(tanh({0}))", "tan(0.5 * tanh({0}))", "relu({0})", "abs({0})", "sign({0})", "frac({0})",
    "({0})^2", "({0})^3", "-({0})", "({0}) % 3", "0.1 * floor({0})", "0.1 * (({0}) // 2)",
    "stopgrad({0})", "dropout({0}, 0.5)", "(1.5 + sin({0}))^0.5", "ceil({0}) * 0.1",
)  # fmt: skip
JOINED = (
    "({0}) + ({1})", "({0}) - ({1})", "({0}) * ({1})", "({0}) / (2 + ({1})^2)", "max({0}, {1})",
    "min({0}, {1})", "atan2({0}, 2 + ({1})^2)", "(1.2 + sigmoid({0}))^tanh({1})", "0.5 * ({0})",
)  # fmt: skip
REDUCTIONS = (
    "sum", "mean", "max", "min", "prod", "logsumexp", "norm", "var", "std", "sum", "mean",
)  # fmt: skip


def real(pool: Pool, scope: Scope, depth: int) -> str:
    """A real expression that has no free index outside of the scope."""
    roll = pool.rng.random()
    if depth <= 0 or roll < 0.22:
        return leaf(pool, scope)
    if roll < 0.42:
        return pool.rng.choice(SMOOTH).format(real(pool, scope, depth - 1))
    if roll < 0.6:
        form = pool.rng.choice(JOINED)
        return form.format(real(pool, scope, depth - 1), real(pool, scope, depth - 1))
    if roll < 0.68:
        then, otherwise = (real(pool, scope, depth - 1) for _ in range(2))
        return f"(({then}) if {condition(pool, scope, depth - 1)} else ({otherwise}))"
    if roll < 0.84:
        return reduction(pool, scope, depth)
    if roll < 0.92:
        return along(pool, scope, depth)
    if roll < 0.95 and pool.defs:
        return pool.rng.choice(pool.defs).format(
            real(pool, scope, depth - 1), real(pool, scope, depth - 1)
        )
    if roll < 0.98 and pool.readable("complex", scope):
        inner = complex_(pool, scope, depth - 1)
        return f"{pool.pick(['real', 'imag'])}({inner})"
    return at(pool, scope, depth)


def leaf(pool: Pool, scope: Scope) -> str:
    """A literal, a reference, an index as a value, a size."""
    roll = pool.rng.random()
    named = [index for index in scope if index != DOTS]
    if roll < 0.1:
        return pool.pick(["0.5", "2", "-1.25", "0.1", "1"])
    if roll < 0.17 and named:
        return f"0.1 * {pool.pick(named)}"
    if roll < 0.2:
        return f"0.1 * |{pool.pick(list(pool.dims))}|"
    options = pool.readable("real", scope)
    return reference(pool, pool.rng.choice(options), scope) if options else "0.3"


def having(pool: Pool, index: str, scope: Scope) -> str:
    """A real expression in which `index` is free."""
    if index == DOTS:
        options = [t for t in pool.readable("real", scope) if DOTS in t.axes]
        return reference(pool, pool.rng.choice(options), scope)
    dim = pool.dim_of(index)
    options = [t for t in pool.readable("real", scope) if dim in t.axes]
    if not options or pool.chance(0.1):
        return f"sin({index} + 0.5)"
    return reference(pool, pool.rng.choice(options), scope, index)


def reference(pool: Pool, tensor: Tensor, scope: Scope, must: str | None = None) -> str:
    """A tensor at positions of the scope; `must` stands plainly at one axis of its dim."""
    if not tensor.axes:
        return tensor.name
    places = [k for k, axis in enumerate(tensor.axes) if must and axis == pool.dim_of(must)]
    chosen = pool.rng.choice(places) if places else None
    out = []
    for k, axis in enumerate(tensor.axes):
        if axis == DOTS:
            out.append(DOTS)
        elif isinstance(axis, tuple):
            out.append(f"({' '.join(axis)})")
        else:
            out.append(must if k == chosen and must else subscript(pool, axis, scope))
    outside = {"bool": "false", "real": "0.25", "int": "0", "complex": "0"}[tensor.kind]
    return f"{tensor.name}[{', '.join(out)}]".replace("@", outside)


def subscript(pool: Pool, dim: str, scope: Scope) -> str:
    """A position along a dim."""
    own = [index for index in scope if index != DOTS and pool.dim_of(index) == dim]
    others = [index for index in scope if index != DOTS]
    gathers = [t for t in pool.readable("int", scope) if t.into == dim]
    roll = pool.rng.random()
    closed = pool.empty and pool.dims[dim] is None
    if own and roll < 0.62:
        return pool.pick(own)
    if gathers and roll < 0.72:
        return reference(pool, pool.rng.choice(gathers), scope)
    index = pool.pick(others) if others else "0"
    step = pool.pick(["1", "2", "3"])
    moved = pool.pick([f"{index} - {step}", f"{index} + {step}", f"2 * {index} - {step}", index])
    if roll < 0.85 or closed:
        return f"{moved} else @"
    form = pool.pick(["wrap", "clamp", "reflect"])
    if roll < 0.97:
        return f"{form}({moved})"
    return f"|{dim}| - 1 - {pool.pick(own)}" if own else f"{form}({moved})"


def condition(pool: Pool, scope: Scope, depth: int) -> str:
    """A bool expression."""
    named = [index for index in scope if index != DOTS]
    roll = pool.rng.random()
    flags = pool.readable("bool", scope)
    if flags and roll < 0.2:
        return reference(pool, pool.rng.choice(flags), scope)
    if named and roll < 0.55:
        a, b = pool.pick(named), pool.pick(named)
        return pool.pick(
            [f"{a} <= {b}", f"{a} < {b} + 1", f"{a} % 2 == 0", f"{a} != 1", f"{a} >= 2",
             f"0 <= {a} - {b} < 3", f"{a} < 0", f"not {a} == {b}"]
        )  # fmt: skip
    if depth > 0 and roll < 0.7:
        first, second = (condition(pool, scope, depth - 1) for _ in range(2))
        return f"({first} {pool.pick(['and', 'or'])} {second})"
    if depth > 0 and roll < 0.76:
        j = pool.inner(scope)
        return f"{pool.pick(['any', 'all'])}[{j}]({having(pool, j, (*scope, j))} > 0.2)"
    return f"{real(pool, scope, min(depth - 1, 1))} > {pool.pick(['0.11', '-0.3', '0.7'])}"


def where(pool: Pool, scope: Scope, depth: int) -> str:
    return f" where {condition(pool, scope, depth - 1)}" if pool.chance(0.4) else ""


def reduction(pool: Pool, scope: Scope, depth: int) -> str:
    """A reduction over one or two indices that its body has."""
    j = pool.inner(scope)
    inside = (*scope, j)
    body = f"{having(pool, j, inside)} + {real(pool, inside, depth - 2)}"
    if pool.chance(0.2):
        k = pool.inner(inside)
        if k != j:
            inside = (*inside, k)
            body = f"({body}) * {having(pool, k, inside)}"
            j = f"{j}, {k}"
    op = pool.rng.choice(REDUCTIONS)
    cond = where(pool, inside, depth)
    if op in ("max", "min", "logsumexp", "prod"):  # identities of empty ones are not finite
        return f"tanh({op}[{j}{cond}]({body}))"
    if pool.chance(0.06):
        return f"0.1 * count[{j} where {condition(pool, inside, depth - 1)}]"
    if pool.chance(0.05) and "," not in j:
        return f"0.1 * {pool.pick(['argmax', 'argmin'])}[{j}]({body})"
    return f"{op}[{j}{cond}]({body})"


def along(pool: Pool, scope: Scope, depth: int) -> str:
    """A softmax or a scan along an index of the scope."""
    named = [index for index in scope if index != DOTS]
    if not named:
        return leaf(pool, scope)
    j = pool.pick(named)
    body = f"{having(pool, j, scope)} + {real(pool, scope, depth - 2)}"
    cond = where(pool, scope, depth)
    roll = pool.rng.random()
    if roll < 0.3:
        return f"cumsum[{j}{cond}]({body})"
    if roll < 0.4:
        return f"cumprod[{j}](tanh({body}))"
    if roll < 0.5:
        return f"tanh(log_softmax[{j}]({body}))"
    others = [index for index in named if index != j]
    if others and pool.chance(0.35):
        k = pool.pick(others)
        return f"softmax[{j}, {k}{cond}]({body} + {having(pool, k, scope)})"
    return f"softmax[{j}{cond}]({body})"


def at(pool: Pool, scope: Scope, depth: int) -> str:
    """An expression read at a computed position."""
    named = [index for index in scope if index != DOTS]
    if not named or pool.empty:
        return leaf(pool, scope)
    j = pool.pick(named)
    return f"at[{j} = {pool.pick(['wrap', 'clamp'])}({j} + 1)]({having(pool, j, scope)})"


def complex_(pool: Pool, scope: Scope, depth: int) -> str:
    """A complex expression."""
    options = pool.readable("complex", scope)
    roll = pool.rng.random()
    if depth <= 0 or roll < 0.4:
        if options and roll < 0.35:
            return reference(pool, pool.rng.choice(options), scope)
        return f"complex({leaf(pool, scope)}, {leaf(pool, scope)})"
    if roll < 0.6:
        return f"({complex_(pool, scope, depth - 1)}) * ({complex_(pool, scope, depth - 1)})"
    if roll < 0.75:
        return f"({complex_(pool, scope, depth - 1)}) + {real(pool, scope, depth - 2)}"
    if roll < 0.85:
        return f"conj({complex_(pool, scope, depth - 1)})"
    j = pool.inner(scope)
    inside = (*scope, j)
    return f"sum[{j}]({having(pool, j, inside)} * ({complex_(pool, inside, depth - 2)}))"

"""Random expressions over the indices in scope: real, complex, int and bool, moderate in value.

Where a value is rounded or compared, an odd number is added first: a tie would be a matter of luck.
"""

from __future__ import annotations

from tests.fuzz.pool import DOTS, Pool
from tests.fuzz.references import Scope, guarded, indices, reference

SMOOTH = (
    "tanh({0})", "sin({0})", "cos({0})", "sigmoid({0})", "exp(-({0})^2)", "gelu({0})", "silu({0})",
    "softplus({0})", "erf({0})", "atan({0})", "sqrt(1 + ({0})^2)", "log(2 + ({0})^2)",
    "rsqrt(1 + ({0})^2)", "asin(0.5 * tanh({0}))", "acos(0.5 * tanh({0}))", "sinh(tanh({0}))",
    "cosh(tanh({0}))", "tan(0.5 * tanh({0}))", "relu({0} + 0.137)", "abs({0} + 0.137)",
    "sign({0} + 0.137)", "frac({0} + 0.137)", "({0})^2", "tanh({0})^3", "-({0})",
    "({0} + 0.137) % 3", "0.1 * floor({0} + 0.137)", "0.1 * (({0} + 0.137) // 2)",
    "stopgrad({0})", "dropout({0} + 0.137, 0.5)", "(1.5 + sin({0}))^0.5", "0.1 * ceil({0} + 0.137)",
    "exp(tanh({0}))", "2^tanh({0})", "1 / (2 + cos({0}))", "({0}) / 3", "pi * tanh({0})",
)  # fmt: skip
JOINED = (
    "({0}) + ({1})", "({0}) - ({1})", "({0}) * ({1})", "({0}) / (2 + ({1})^2)", "max({0}, {1})",
    "min({0}, {1})", "atan2({0}, 2 + ({1})^2)", "(1.2 + sigmoid({0}))^tanh({1})", "0.5 * ({0})",
)  # fmt: skip
REDUCTIONS = ("sum", "mean", "max", "min", "prod", "logsumexp", "norm", "var", "std", "sum", "mean")
COMPLEX = (
    "conj({0})", "({0}) * ({1})", "({0}) + ({1})", "({0}) - ({1})", "({0}) / (2 + abs({1}))",
    "exp(complex(0, 1) * tanh(abs({0})))", "tanh(real({0})) * ({1})", "({0})^2", "-({0})",
    "0.5 * ({0}) / complex(1, 0.5)", "exp(({0}) / (1 + abs({0})))",
)  # fmt: skip


# --- real ----------------------------------------------------------------------------------------
def real(pool: Pool, scope: Scope, depth: int) -> str:
    """A real expression that has no free index outside of the scope."""
    roll = pool.rng.random()
    if depth <= 0 or roll < 0.2:
        return leaf(pool, scope)
    if roll < 0.4:
        return pool.rng.choice(SMOOTH).format(real(pool, scope, depth - 1))
    if roll < 0.56:
        form = pool.rng.choice(JOINED)
        return form.format(real(pool, scope, depth - 1), real(pool, scope, depth - 1))
    if roll < 0.64:
        then, otherwise = (real(pool, scope, depth - 1) for _ in range(2))
        return f"(({then}) if {condition(pool, scope, depth - 1)} else ({otherwise}))"
    if roll < 0.8:
        return reduction(pool, scope, depth)
    if roll < 0.88:
        return along(pool, scope, depth)
    if roll < 0.92 and pool.defs:
        return pool.rng.choice(pool.defs).format(
            real(pool, scope, depth - 1), real(pool, scope, depth - 1)
        )
    if roll < 0.96:
        inner = complex_(pool, scope, depth - 1)
        return f"{pool.pick(['real', 'imag', 'real', 'abs'])}({inner} + complex(0.1, 0.2))"
    if roll < 0.98:
        return f"0.1 * ({whole(pool, scope, depth - 1)})"
    return at(pool, scope, depth)


def leaf(pool: Pool, scope: Scope) -> str:
    """A literal, a reference, an index as a value, a size."""
    roll = pool.rng.random()
    if roll < 0.1:
        return pool.pick(["0.5", "2", "-1.25", "0.1", "1"])
    if roll < 0.17 and indices(scope):
        return f"0.1 * {pool.pick(indices(scope))}"
    if roll < 0.2:
        return f"0.1 * |{pool.pick(list(pool.dims))}|"
    if roll < 0.26:
        return guarded(pool, scope)
    options = pool.readable("real", scope)
    return reference(pool, pool.rng.choice(options), scope) if options else "0.3"


def having(pool: Pool, index: str, scope: Scope) -> str:
    """A real expression in which `index` is free."""
    options = pool.readable("real", scope)
    if index == DOTS:
        return reference(pool, pool.rng.choice([t for t in options if DOTS in t.axes]), scope)
    options = [t for t in options if pool.dim_of(index) in t.axes]
    if not options or pool.chance(0.1):
        return f"sin({index} + 0.5)"
    return reference(pool, pool.rng.choice(options), scope, index)


def complete(pool: Pool, scope: Scope, text: str) -> str:
    """Mention every index of the left side."""
    return " + ".join([text, *(f"0.5 * {having(pool, index, scope)}" for index in scope)])


# --- int and bool --------------------------------------------------------------------------------
def whole(pool: Pool, scope: Scope, depth: int) -> str:
    """An int expression."""
    roll = pool.rng.random()
    if depth <= 0 or roll < 0.4:
        options = pool.readable("int", scope)
        if options and roll < 0.25:
            return reference(pool, pool.rng.choice(options), scope)
        return pool.pick([*indices(scope), "1", f"|{pool.pick(list(pool.dims))}|"])
    if roll < 0.6:
        form = pool.pick(["({0}) + {1}", "({0}) - ({1})", "max({0}, {1})", "({0}) * ({1})"])
        return form.format(whole(pool, scope, depth - 1), whole(pool, scope, depth - 1))
    if roll < 0.7:
        return f"({whole(pool, scope, depth - 1)}) {pool.pick(['//', '%'])} {pool.pick(['2', '3'])}"
    if roll < 0.8:
        return f"{pool.pick(['floor', 'ceil'])}({real(pool, scope, depth - 1)} + 0.137)"
    j = pool.inner(scope)
    inside = (*scope, j)
    if roll < 0.87:
        return f"count[{j} where {condition(pool, inside, depth - 1)}]"
    if roll < 0.93:
        return argument(pool, j, scope, depth)
    return f"sum[{j}](({whole(pool, inside, depth - 1)}) * ({j} + 1))"


def argument(pool: Pool, j: str, scope: Scope, depth: int) -> str:
    """An argmax, with terms that make ties unlikely."""
    inside = (*scope, j)
    body = f"{having(pool, j, inside)} + {real(pool, inside, depth - 2)} + 0.01 * sin(2.3 * {j})"
    return f"{pool.pick(['argmax', 'argmin'])}[{j}{where(pool, inside, depth)}]({body})"


def condition(pool: Pool, scope: Scope, depth: int) -> str:
    """A bool expression."""
    named = indices(scope)
    roll = pool.rng.random()
    flags = pool.readable("bool", scope)
    if flags and roll < 0.2:
        return reference(pool, pool.rng.choice(flags), scope)
    if named and roll < 0.55:
        a, b = pool.pick(named), pool.pick(named)
        return pool.pick(
            [f"{a} <= {b}", f"{a} < {b} + 1", f"{a} % 2 == 0", f"{a} != 1", f"{a} >= 2",
             f"0 <= {a} - {b} < 3", f"{a} < 0", f"not {a} == {b}", f"{b} - 2 < {a} <= {b}"]
        )  # fmt: skip
    if depth > 0 and roll < 0.68:
        first, second = (condition(pool, scope, depth - 1) for _ in range(2))
        return f"({first} {pool.pick(['and', 'or'])} {second})"
    if depth > 0 and roll < 0.74:
        j = pool.inner(scope)
        inside = (*scope, j)
        body = f"{having(pool, j, inside)} > 0.2"
        return f"{pool.pick(['any', 'all'])}[{j}{where(pool, inside, depth)}]({body})"
    if roll < 0.82:
        first, second = (whole(pool, scope, min(depth - 1, 1)) for _ in range(2))
        return f"({first}) {pool.pick(['<', '>=', '==', '!='])} {second}"
    return f"{real(pool, scope, min(depth - 1, 1))} > {pool.pick(['0.1137', '-0.3137', '0.7137'])}"


def where(pool: Pool, scope: Scope, depth: int) -> str:
    return f" where {condition(pool, scope, depth - 1)}" if pool.chance(0.4) else ""


# --- operators -----------------------------------------------------------------------------------
def reduction(pool: Pool, scope: Scope, depth: int) -> str:
    """A reduction over one or two indices that its body has."""
    j = pool.inner(scope)
    inside = (*scope, j)
    body = f"{having(pool, j, inside)} + {real(pool, inside, depth - 2)}"
    if pool.reducers and pool.chance(0.15):
        return pool.rng.choice(pool.reducers).format(j, body, having(pool, j, inside))
    if pool.chance(0.2):
        k = pool.inner(inside)
        inside = (*inside, k)
        body = f"({body}) * {having(pool, k, inside)}"
        j = f"{j}, {k}"
    op = pool.rng.choice(REDUCTIONS)
    cond = where(pool, inside, depth)
    if op in ("max", "min", "logsumexp", "prod"):  # infinite over no cell, or large
        return f"tanh({op}[{j}{cond}]({body}))"
    return f"{op}[{j}{cond}]({body})"


def along(pool: Pool, scope: Scope, depth: int) -> str:
    """A softmax or a scan along an index of the scope."""
    named = indices(scope)
    if not named:
        return leaf(pool, scope)
    j = pool.pick(named)
    body = f"{having(pool, j, scope)} + {real(pool, scope, depth - 2)}"
    cond = where(pool, scope, depth)
    roll = pool.rng.random()
    if roll < 0.3:
        return f"cumsum[{j}{cond}]({body})"
    if roll < 0.4:
        return f"cumprod[{j}{cond}](tanh({body}))"
    op = "softmax" if roll < 0.8 else "log_softmax"
    close = "" if op == "softmax" else ", -9.137)"  # it is -inf where the condition does not hold
    op = op if op == "softmax" else "0.3 * max(log_softmax"
    others = [index for index in named if index != j]
    if others and pool.chance(0.35):
        k = pool.pick(others)
        return f"{op}[{j}, {k}{cond}]({body} + {having(pool, k, scope)}){close}"
    return f"{op}[{j}{cond}]({body}){close}"


def at(pool: Pool, scope: Scope, depth: int) -> str:
    """An expression read at a computed position."""
    named = indices(scope)
    if not named or pool.empty:
        return leaf(pool, scope)
    j = pool.pick(named)
    body = f"{having(pool, j, scope)} + {real(pool, scope, depth - 2)}"
    index = pool.pick(named)
    moved = pool.pick([f"{index} + 1", f"{index} - 1", f"2 * {index}"])
    if pool.chance(0.3):
        return f"at[{j} = {moved} else 0]({body})"
    return f"at[{j} = {pool.pick(['wrap', 'clamp', 'reflect'])}({moved})]({body})"


# --- complex -------------------------------------------------------------------------------------
def complex_(pool: Pool, scope: Scope, depth: int) -> str:
    """A complex expression."""
    options = pool.readable("complex", scope)
    roll = pool.rng.random()
    if depth <= 0 or roll < 0.35:
        if options and roll < 0.3:
            return reference(pool, pool.rng.choice(options), scope)
        return f"complex({leaf(pool, scope)}, {leaf(pool, scope)})"
    if roll < 0.7:
        form = pool.rng.choice(COMPLEX)
        return form.format(complex_(pool, scope, depth - 1), complex_(pool, scope, depth - 1))
    if roll < 0.78:
        first, second = (complex_(pool, scope, depth - 1) for _ in range(2))
        return f"(({first}) if {condition(pool, scope, depth - 1)} else ({second}))"
    j = pool.inner(scope)
    inside = (*scope, j)
    body = f"{having(pool, j, inside)} * ({complex_(pool, inside, depth - 2)})"
    if roll > 0.95 and indices(scope):
        j = pool.pick(indices(scope))
        return f"cumsum[{j}]({having(pool, j, scope)} * ({complex_(pool, scope, depth - 2)}))"
    return f"{pool.pick(['sum', 'mean', 'sum'])}[{j}{where(pool, inside, depth)}]({body})"

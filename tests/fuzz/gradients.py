"""Random derivatives: of sums and of tensors, by inputs, params and what was computed, nested."""

from __future__ import annotations

from tests.fuzz.expressions import condition, having, real
from tests.fuzz.pool import DOTS, Pool, Tensor
from tests.fuzz.references import reference
from tests.fuzz.statements import Lines, declared, written

CONSTANT = "KVEC"  # how the names of consts begin
MOST = 3  # cells of a derivative each ask for a run of the reference


def gradient(pool: Pool) -> Lines:
    """A derivative, and sometimes one of that along a direction."""
    if pool.gradients >= MOST:
        return []
    options = [t for t in pool.tensors if t.kind in ("real", "complex") and len(t.axes) < 4]
    options = [t for t in options if t.name == "C" or t.name[0] not in CONSTANT]
    options += [t for t in options if t.kind == "real"][-3:]
    by = pool.rng.choice(options)
    lines = [_derivative(pool, by, _body(pool, by))]
    made = pool.tensors[-1]
    if pool.chance(0.4) and by.kind == "real" and pool.gradients < MOST:
        inner = made.name
        if made.own is None or pool.chance(0.3):
            inner = f"{made.name}[{_indices(made)}]"
        weight = pool.pick([f"{inner}", "0.7", f"sin({inner})"])
        lines.append(_derivative(pool, pool.rng.choice([by, by, *options]), f"{inner} * {weight}"))
    return lines


def _body(pool: Pool, by: Tensor) -> str:
    """What is differentiated: a tensor as it is, or a sum of an expression that mentions one."""
    later = [t for t in pool.tensors if t.kind == "real" and t.own is not None and t.axes]
    if later and pool.chance(0.4):
        last = pool.rng.choice(later[-3:])
        return pool.pick([last.name, f"{last.name}^2", f"-2 * {last.name}", f"tanh({last.name})"])
    scope: tuple[str, ...] = ()
    while len(scope) < pool.rng.randint(1, 3):
        scope = (*scope, pool.inner(scope))
    if DOTS in by.axes:
        scope = (DOTS, *scope)
    read = reference(pool, by, scope)
    read = f"real({read} * complex(0.6, 0.8))" if by.kind == "complex" else read
    text = f"tanh({read}) * ({real(pool, scope, 2)})"
    text += "".join(f" + 0.3 * {having(pool, index, scope)}" for index in scope)
    inside = pool.chance(0.3) and DOTS not in scope
    where = f" where {condition(pool, scope, 1)}" if inside else ""
    return f"sum[{', '.join(scope)}{where}]({text})"


def _derivative(pool: Pool, by: Tensor, body: str) -> str:
    pool.gradients += 1
    made = Tensor(pool.fresh("T"), by.axes, by.kind, None, by.own)
    place = by.name if by.own is not None and pool.chance(0.3) else f"{by.name}[{_indices(by)}]"
    factor = pool.pick(["", "", "0.5 * ", "-"])
    close = pool.chance(0.4) and by.kind == "real"
    text = f"{factor}grad[{place}]({body})"
    pool.tensors.append(made)
    return f"{declared(made)} = {f'tanh({text})' if close else text}"


def _indices(tensor: Tensor) -> str:
    return written(tensor.own or tensor.axes)

"""Random params, dense or stored as factors, and constants by expression, list or constructor."""

from __future__ import annotations

import math

from tests.fuzz.pool import STATIC, Pool, Tensor
from tests.fuzz.statements import declared

LAWS = ["normal(std = 0.5)", "uniform(-1, 1)", "kaiming", "ones", "xavier", "constant(0.5)"]
DENSE = [*LAWS, "orthogonal", "eye(0.5)", "given"]
CENTRED = ["normal(std = 0.5)", "uniform(-1, 1)", "kaiming", "zeros", "xavier", "given"]
PLAIN = ["cp(rank = 2)", "tucker(ranks = 2)", "tt(2)", "tr(2)", "blockterm(ranks = 1)"]
GROUPED = ["kron", "kron(rank = 2)", "tt(2)", "tr(2)", "tucker(ranks = 1)", "cp(1)"]


def dtype(tensor: Tensor) -> str:
    return "" if tensor.kind == "real" else f": {tensor.kind}"


# --- params --------------------------------------------------------------------------------------
def params(pool: Pool) -> list[str]:
    lines = []
    for k in range(pool.rng.randint(0, 3)):
        kind = "complex" if pool.chance(0.1) else "real"
        if pool.chance(0.25):
            lines += _factored(pool, f"W{k}", kind)
            continue
        axes = tuple(pool.rng.sample(list(STATIC), pool.rng.randint(1, 2)))
        frozen = "frozen " if pool.chance(0.15) else ""
        made = Tensor(f"W{k}", axes, kind, own=axes)
        lines.append(f"{frozen}param {declared(made)}{dtype(made)} ~ {pool.pick(DENSE)}")
        pool.tensors.append(made)
    return lines


def _factored(pool: Pool, name: str, kind: str) -> list[str]:
    """A param of one of the registry's forms, on axes that suit it."""
    lines = []
    law, form = pool.pick(CENTRED), pool.pick(["lowrank", "square", "grouped", "plain", "plain"])
    if form == "square":
        a = pool.pick(list(STATIC))
        made = Tensor(name, (a, a), kind, own=(a, f"{a}'"))
        form = pool.pick(["circulant", "toeplitz", f"blockdiag({pool.dims[a]})"])
        if not form.startswith("blockdiag"):
            law = pool.pick(LAWS)
    elif form == "grouped":
        a, b = pool.rng.sample(list(STATIC), 2)
        dims = [pool.fresh("g"), pool.fresh("g")]
        sizes = [pool.rng.randint(1, 3) for _ in dims]
        lines.append("dim " + ", ".join(f"{d} = {n}" for d, n in zip(dims, sizes, strict=True)))
        pool.dims |= zip(dims, sizes, strict=True)
        made = Tensor(name, ((a, dims[0]), (b, dims[1])), kind)
        form = pool.pick(GROUPED)
    else:
        count = 2 if form == "lowrank" else pool.rng.randint(2, 3)
        axes = tuple(pool.rng.sample(list(STATIC), count))
        made = Tensor(name, axes, kind, own=axes)
        if form == "plain":
            form = pool.pick(PLAIN)
        else:
            rows, columns = (pool.dims[axis] or 1 for axis in axes)
            blocks = f"blockdiag(n = {math.gcd(rows, columns)})"
            form = pool.pick(["lowrank(1)", "lowrank(2)", "toeplitz", blocks])
    frozen = "frozen " if pool.chance(0.1) else ""
    pool.tensors.append(made)
    return [*lines, f"{frozen}param {declared(made)}{dtype(made)} ~ {law} as {form}"]


# --- constants -----------------------------------------------------------------------------------
def consts(pool: Pool) -> list[str]:
    lines = []
    if pool.chance(0.4):
        a, b = pool.rng.sample(list(STATIC), 2)
        third = pool.pick([f" + 0.1 * {a}", " * (1 if p < 2 else 0)"]) if "p" in (a, b) else ""
        values = [f"0.3 * ({a} - {b})", f"1.0 if {a} == {b} else 0", f"cos({a} * {b})"]
        lines.append(f"const K[{a}, {b}] = ({pool.pick(values)}){third}")
        pool.tensors.append(Tensor("K", (a, b), own=(a, b)))
    if pool.chance(0.15):
        size = pool.dims["q"]
        assert size is not None
        values = [str(value) for value in [0.5, -1, 2, 0.25][:size]]
        lines.append(f"const V[q] = [{', '.join(values)}]")
        kind = "real" if "0.5" in values else "int"
        pool.tensors.append(Tensor("V", ("q",), kind, own=("q",)))
    if pool.chance(0.3):
        lines.append("const offset[w] = [0, 1, 3]")
        other = pool.pick(["X0[n - offset[w] else 0, 0]", "X1[0 else 0, clamp(n + offset[w])]"])
        if pool.empty:
            other = "X0[n - offset[w] else 0, 0]"
        lines.append(f"O[n, w] = {other}")
        pool.tensors.append(Tensor("O", ("n", "w"), own=("n", "w")))
        pool.dims["w"] = 3
    if pool.chance(0.3):
        lines.append(_constructed(pool))
    return lines


def _constructed(pool: Pool) -> str:
    """A constant by one of the registry's constructors."""
    a, b = pool.rng.sample(list(STATIC), 2)
    size = pool.dims[a] or 1
    options = [
        ("eye", (a, f"{a}'"), ""),
        ("eye", (a, f"{a}'", f"{a}''"), ""),
        ("dft", (a, b), ""),
        ("random_normal", (a, b), ", seed = 3, std = 0.5"),
        ("random_signs", (a,), ", seed = 1"),
    ]
    if size == 3:
        options += [("levi_civita", (a, f"{a}'", f"{a}''"), "")] * 2
    if size == 2:
        options += [("levi_civita", (a, f"{a}'"), "")]
    if size >= 2:
        options += [("plucker", ("pairs", a, f"{a}'"), "")] * 2
    if size in (1, 2, 4):
        options += [("hadamard", (a, f"{a}'"), "")]
    name, slots, more = pool.rng.choice(options)
    if name == "plucker":
        pool.dims["pairs"] = size * (size - 1) // 2
    made = Tensor(
        pool.fresh("E"),
        tuple(slot.rstrip("'") for slot in slots),
        "complex" if name == "dft" else "real",
        own=slots,
    )
    pool.tensors.append(made)
    form = pool.pick(["", "", " as sparse", " as dense"])
    return f"const {declared(made)} = {name}({', '.join(slots)}{more}){form}"

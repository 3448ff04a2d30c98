"""Random products with coupling coefficients: irreps, spherical harmonics, along edges."""

from __future__ import annotations

from tests.fuzz.expressions import complete, having, real
from tests.fuzz.pool import Pool, Tensor
from tests.fuzz.statements import declared, define

COUPLED = {  # by constructor: the irreps of three dims, and how many components they have
    "cg": (
        ('"1o"', '"1o"', '"1e"', (3, 3, 3)),
        ('"1o"', '"1o"', '"0e"', (3, 3, 1)),
        ('"0e"', '"1o"', '"1o"', (1, 3, 3)),
        ('"2e"', '"1o"', '"1o"', (5, 3, 3)),
    ),
    "cg_paths": (
        ("1", "1", "1", (4, 4, 4)),
        ('"0e + 1o"', '"1o"', "1", (4, 3, 4)),
        ('"0e"', '"1o"', '"0e + 1o"', (1, 3, 4)),
    ),
    "gaunt": (("1", "1", "1", (4, 4, 4)), ("1", "1", "2", (4, 4, 9)), ("1", "0", "1", (4, 1, 4))),
}


def coupling(pool: Pool) -> list[str]:
    """C[i, j, k] with two factors, one of them often spherical harmonics; gathered, scattered."""
    name = pool.pick(list(COUPLED))
    *irreps, sizes = pool.rng.choice(COUPLED[name])
    dims = i, j, k = [pool.fresh(letter) for letter in "ijk"]
    pool.dims |= zip(dims, sizes, strict=True)
    lines = ["dim " + ", ".join(f"{d} = irreps({x})" for d, x in zip(dims, irreps, strict=True))]
    paths = [pool.fresh("path")] if name == "cg_paths" else []
    made = Tensor(pool.fresh("C"), (*paths, *dims), own=(*paths, *dims))
    lines.append(f"const {declared(made)} = {name}({', '.join(map(str, made.axes))})")
    batch = pool.pick([d for d in pool.dims if d not in (*dims, *paths)])
    scope = (batch, i)
    lines.append(define(pool, scope, "real", complete(pool, scope, real(pool, scope, 1))))
    left = f"{pool.tensors[-1].name}[{batch}, {i}]"
    right = having(pool, j, (batch, j))
    if irreps[1] == "1" and pool.chance(0.6):
        x = pool.fresh("x")
        lines += [f"dim {x} = 3"]
        pool.dims[x] = 3
        vector = complete(pool, (batch, x), real(pool, (batch, x), 1))
        text = f"spherical_harmonics[{x} -> {j}]({vector} + 0.3)"
        lines.append(define(pool, (batch, j), "real", text))
        right = f"{pool.tensors[-1].name}[{batch}, {j}]"
    factors = [f"{made.name}[{', '.join(map(str, made.axes))}]", left, f"({right})"]
    factors += [f"cos({path} + 0.3 * {batch})" for path in paths]
    pool.rng.shuffle(factors)
    targets = [t for t in pool.readable("int", (batch,)) if t.into and t.axes == (batch,)]
    if targets and pool.chance(0.5) and targets[0].into not in (batch, *dims, *paths):
        into = str(targets[0].into)
        sent = Tensor(pool.fresh("T"), (into, k))
        pool.tensors.append(sent)
        target = f"{sent.name}[{into} = {targets[0].name}[{batch}], {k}]"
        return [*lines, f"{target} += {' * '.join(factors)}"]
    text = f"{' * '.join(factors)} + 0.1 * {having(pool, k, (batch, k))}"
    return [*lines, define(pool, (batch, k), "real", f"{text} + 0.1 * {batch}")]

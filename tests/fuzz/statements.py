"""Random statements of every kind; each defines tensors that later ones may read."""

from __future__ import annotations

import itertools
import re

from tests.fuzz.expressions import (
    argument,
    complete,
    complex_,
    condition,
    having,
    real,
    where,
    whole,
)
from tests.fuzz.pool import DOTS, DYNAMIC, STATIC, Axis, Pool, Tensor
from tests.fuzz.references import reference, subscript

Lines = list[str]


def written(axes: tuple[Axis, ...]) -> str:
    return ", ".join(f"({' '.join(axis)})" if isinstance(axis, tuple) else axis for axis in axes)


def mentions(text: str, index: str) -> bool:
    return re.search(rf"(?<![\w'.|]){re.escape(index)}(?![\w'|])", text) is not None


def declared(tensor: Tensor) -> str:
    return f"{tensor.name}[{written(tensor.own or tensor.axes)}]"


def left(pool: Pool, most: int = 3) -> tuple[str, ...]:
    """Indices of a new tensor, some of them primed, sometimes with the batch axes in front."""
    indices: list[str] = []
    for dim in pool.some(0, most):
        indices.append(dim)
        if len(indices) < most and pool.chance(0.12):
            indices.append(f"{dim}'")
    if pool.dots and pool.chance(0.4):
        indices = [DOTS, *indices[:2]]
    return tuple(indices)


def define(
    pool: Pool, indices: tuple[str, ...], kind: str, text: str, into: str | None = None
) -> str:
    axes = tuple(index if index == DOTS else pool.dim_of(index) for index in indices)
    made = Tensor(pool.fresh("T"), axes, kind, into, indices)
    pool.tensors.append(made)
    return f"{declared(made)} = {text}"


def grouped(pool: Pool, indices: tuple[str, ...], pair: tuple[str, str], text: str) -> str:
    made = Tensor(pool.fresh("T"), (*indices, pair))
    pool.tensors.append(made)
    return f"{declared(made)} = {text}"


# --- equations -----------------------------------------------------------------------------------
def equation(pool: Pool) -> Lines:
    scope = left(pool)
    text = complete(pool, scope, real(pool, scope, pool.rng.randint(1, 4)))
    return [define(pool, scope, "real", f"tanh({text})" if pool.chance(0.5) else text)]


def product(pool: Pool) -> Lines:
    """Implicit sums: indices that two or three factors share and the left lacks."""
    scope = left(pool, 2)
    inside = scope
    for _ in range(pool.rng.randint(1, 3)):
        inside = (*inside, pool.inner(inside))
    factors = [having(pool, index, inside) for index in scope]
    for index in inside[len(scope) :]:
        factors += [having(pool, index, inside) for _ in range(pool.rng.choice([2, 2, 2, 3]))]
    factors = [f"({f})" if " " in f else f for f in factors]
    pool.rng.shuffle(factors)
    text = " * ".join(factors) + pool.pick(["", "", " / 2", f" / {max(2, len(factors))}"])
    if pool.chance(0.15):
        text += f" / (2 + {having(pool, inside[-1], inside)}^2)"
    if pool.chance(0.2):
        text = f"tanh({text})"
    if pool.chance(0.3):
        text += f" + {complete(pool, scope, '0.1')}"
    return [define(pool, scope, "real", text)]


def chain(pool: Pool) -> Lines:
    """A product of matrices along a path of dims, as contraction orders differ on."""
    path = pool.rng.sample(list(pool.dims), min(len(pool.dims), pool.rng.randint(2, 4)))
    factors = []
    for a, b in itertools.pairwise(path):
        tensor = next((t for t in pool.tensors if t.axes in ((a, b), (b, a))), None)
        name = tensor.name if tensor is not None and tensor.kind == "real" else None
        axes = tensor.axes if tensor is not None else ()
        factors.append(
            f"{name}[{', '.join(map(str, axes))}]" if name else f"cos({a} * {b} + 0.3 * {a})"
        )
    ends = f"{having(pool, path[0], (path[0],))} * " if pool.chance(0.3) else ""
    scope = tuple(dict.fromkeys(i for i in (path[0], path[-1]) if not (ends and i == path[0])))
    return [define(pool, scope, "real", ends + " * ".join(factors))]


def numbers(pool: Pool) -> Lines:
    """An int tensor; an argmax may be gathered by."""
    scope = left(pool, 2)
    scope = tuple(index for index in scope if index != DOTS)
    if pool.chance(0.4):
        dim = pool.inner(scope)
        text = argument(pool, dim, scope, 2)
        for index in scope:
            text += f" + 0 * {index}"
        gathered = None if pool.empty else pool.dim_of(dim)
        return [define(pool, scope, "int", text, gathered)]
    text = " + ".join([f"({whole(pool, scope, 3)})", *scope])
    return [define(pool, scope, "int", text)]


def flags(pool: Pool) -> Lines:
    scope = tuple(pool.some(1, 2))
    text = " and ".join(f"{having(pool, index, scope)} > -0.4137" for index in scope)
    return [define(pool, scope, "bool", f"{text} or {condition(pool, scope, 2)}")]


def complex_equation(pool: Pool) -> Lines:
    scope = tuple(pool.some(0, 2))
    text = complete(pool, scope, complex_(pool, scope, 3))
    return [define(pool, scope, "complex", f"{text} + complex(0, 1)")]


# --- groups, windows, scatters -------------------------------------------------------------------
def group(pool: Pool) -> Lines:
    a, b = pool.rng.sample(list(pool.dims), 2)
    scope = (*[d for d in pool.some(0, 1) if d not in (a, b)], a, b)
    text = complete(pool, scope, real(pool, scope, 2))
    return [grouped(pool, scope[:-2], (a, b), text)]


def split(pool: Pool) -> Lines:
    """A dim that is a product of two, and a tensor along it."""
    a, b = pool.rng.sample(list(STATIC), 2)
    dim = pool.fresh("f")
    rest = tuple(d for d in pool.some(0, 1) if d not in (a, b))
    lines = [f"dim {dim} = {a} * {b}"]
    pool.dims[dim] = None
    pool.split[dim] = (a, b)
    scope = (*rest, dim)
    lines.append(define(pool, scope, "real", complete(pool, scope, real(pool, scope, 1))))
    merged = pool.tensors[-1]
    scope = (*rest, b, a)
    read = f"{merged.name}[{', '.join([*rest, f'({a} {b})'])}]"
    lines.append(define(pool, scope, "real", f"{read} * {real(pool, scope, 1)}"))
    return lines


def window(pool: Pool) -> Lines:
    """A convolution: a proved read, by stride or dilation."""
    known = [d for d, size in pool.dims.items() if size is not None or d in DYNAMIC]
    options = [t for t in pool.tensors if t.kind == "real" and any(a in known for a in t.axes)]
    tensor = pool.rng.choice(options)
    if DOTS in tensor.axes:
        return []
    place = pool.rng.choice([k for k, a in enumerate(tensor.axes) if a in known])
    x = str(tensor.axes[place])
    u, y = pool.fresh("u"), pool.fresh("y")
    size = pool.dims[x]
    width = pool.rng.choice([w for w in (1, 2, 3) if size is None or w <= size])
    form = pool.rng.choice(
        [
            (f"{x} - {width} + 1", f"{y} + {u}"),
            (f"({x} - {width}) // 2 + 1", f"2 * {y} + {u}"),
            (f"{x} - {width} + 1", f"|{x}| - 1 - {y} - {u}"),
            (f"{x}", f"{y} + {u} - 1 else 0.25"),
            (f"{x}", f"wrap({y} - 2 * {u})"),
        ]
    )
    lines = [f"dim {u} = {width}, {y} = {form[0]}"]
    pool.dims |= {u: width, y: None}
    scope = (*(d for d in pool.some(0, 1) if d not in (u, y)), y)
    inside = (*scope, u)
    out = [subscript(pool, axis, inside) for axis in tensor.axes]
    out[place] = form[1]
    read = f"{tensor.name}[{', '.join(out)}]".replace("@", "0.25")
    weight = f"cos({u} + {' + '.join(scope)})"
    if pool.chance(0.6):
        kernel = Tensor(pool.fresh("K"), (pool.pick(list(STATIC)), u))
        lines.append(f"param {declared(kernel)} ~ normal(std = 0.5)")
        pool.tensors.append(kernel)
        weight = reference(pool, kernel, inside, u)
    mentioned = " + ".join(["0.1", *(f"0.2 * {having(pool, i, scope)}" for i in scope)])
    op = pool.pick(["", f"max[{u}]", f"sum[{u}]", f"logsumexp[{u}]"])
    body = f"({read}) * ({weight})"
    if not op:
        body = f"sin({u} + 0.5) * {body}"
    return [*lines, define(pool, scope, "real", f"{op}({body}) + {mentioned}")]


def scatter(pool: Pool) -> Lines:
    """One or two contributions to one tensor, at gathered or computed positions."""
    dim = pool.pick(list(pool.dims))
    source = pool.inner((dim,))
    extra = [d for d in pool.some(0, 1) if d not in (dim, pool.dim_of(source))]
    if pool.dots and pool.chance(0.3):
        extra.insert(0, DOTS)
    place = pool.rng.randint(0, len(extra))
    name = pool.fresh("T")
    op = pool.pick(["+=", "+=", "max=", "min="])
    lines = []
    for _ in range(pool.rng.choice([1, 1, 1, 2])):
        if pool.chance(0.2):
            source = pool.inner((dim,))
        if pool.dim_of(source) in extra:
            continue
        landing, position = _landing(pool, dim, source, extra)
        scope = (*landing, *extra)
        body = complete(pool, scope, real(pool, scope, 2)) if scope else "0.5"
        slots = [*extra[:place], f"{dim} = {position}", *extra[place:]]
        lines.append(f"{name}[{', '.join(slots)}] {op} {body}")
    if lines:
        pool.tensors.append(Tensor(name, (*extra[:place], dim, *extra[place:])))
    return lines


def _landing(pool: Pool, dim: str, source: str, extra: Lines) -> tuple[tuple[str, ...], str]:
    """The indices that land on a dim, and where."""
    a, b = pool.split.get(dim, ("", ""))
    if dim in pool.split and not {a, b} & {*extra} and pool.chance(0.6):
        return (f"{a}'", f"{b}'"), f"{a}' * |{b}| + {b}'"
    targets = [t for t in pool.readable("int", (source,)) if t.into == dim]
    position = pool.pick(
        [f"{source} + 1", f"{source} - 1", f"2 * {source}", f"{source} // 2", "1", source]
    )
    position = f"wrap({position})" if pool.chance(0.2) else f"{position} else drop"
    if targets and pool.chance(0.7):
        position = reference(pool, pool.rng.choice(targets), (source,))
    return ((source,) if mentions(position, source) else ()), position


# --- transforms ----------------------------------------------------------------------------------
NORMS = ["", "", ', norm = "forward"', ', norm = "ortho"']


def spectral(pool: Pool) -> Lines:
    """A Fourier transform along one or two axes to other dims, sometimes back."""
    names = pool.rng.sample(list(pool.dims), 4)
    count = pool.rng.choice([1, 1, 2])
    pairs = list(zip(names[:count], names[2 : 2 + count], strict=True))
    rest = tuple(d for d in pool.some(0, 1) if d not in names)
    sources, targets = (tuple(pair[k] for pair in pairs) for k in (0, 1))
    op = pool.pick(["fft", "rfft", "ifft", "rfft"])
    scope = (*rest, *sources)
    body = complete(pool, scope, real(pool, scope, 1))
    if op != "rfft" and pool.chance(0.5):
        body = complete(pool, scope, complex_(pool, scope, 1))
    norm = pool.pick(NORMS)
    there = ", ".join(f"{a} -> {b}" for a, b in pairs)
    lines = [define(pool, (*rest, *targets), "complex", f"{op}[{there}]({body}{norm})")]
    if pool.chance(0.6):
        back = ", ".join(f"{b} -> {a}" for a, b in pairs)
        spectrum = f"{pool.tensors[-1].name}[{', '.join((*rest, *targets))}]"
        op, kind = ("irfft", "real") if op == "rfft" else ("ifft", "complex")
        factor = pool.pick(["", f" * cos({targets[0]} + 0.5)"])
        lines.append(define(pool, scope, kind, f"{op}[{back}]({spectrum}{factor}{norm})"))
    return lines


def joined(pool: Pool) -> Lines:
    parts = pool.rng.sample(list(pool.dims), pool.rng.choice([2, 2, 3]))
    dim = pool.fresh("f")
    rest = tuple(d for d in pool.some(0, 1) if d not in parts)
    bodies = [complete(pool, (*rest, d), real(pool, (*rest, d), 1)) for d in parts]
    text = f"concat[{', '.join(parts)} -> {dim}]({', '.join(bodies)})"
    pool.dims[dim] = None
    return [f"dim {dim} = {' + '.join(parts)}", define(pool, (*rest, dim), "real", text)]


def matrix(pool: Pool) -> Lines:
    """A matrix function of something near the identity."""
    d = pool.pick(list(STATIC))
    rest = tuple(x for x in pool.some(0, 1) if x != d)
    scope = (*rest, d, f"{d}'")
    near = f"0.1 * tanh({complete(pool, scope, real(pool, scope, 1))})"
    lines = [define(pool, scope, "real", f"{near} + (1 if {d} == {d}' else 0)")]
    m = f"{pool.tensors[-1].name}[{', '.join(scope)}]"
    mirrored = f"{pool.tensors[-1].name}[{', '.join((*rest, scope[-1], d))}]"
    op = pool.pick(["inv", "expm", "solve", "sqrtm", "logm", "cholesky", "eigvals", "eigvecs"])
    if op == "solve":
        right = having(pool, d, (*rest, d))
        renamed = f"at[{d}' = {d}](solve[{d}, {d}']({m}, {right}))"
        return [*lines, define(pool, (*rest, d), "real", renamed)]
    if op.startswith("eig"):
        spread = f"0.5 * ({m} + {mirrored}) + (0.7 * {d} if {d} == {d}' else 0)"
        values = f"{op}[{d}, {d}' -> {d}'']({spread})"
        kept = (*rest, d, f"{d}''") if op == "eigvecs" else (*rest, f"{d}''")
        return [*lines, define(pool, kept, "real", values)]
    if op == "cholesky":
        m = f"0.5 * ({m} + {mirrored}) + (1 if {d} == {d}' else 0)"
    return [*lines, define(pool, scope, "real", f"{op}[{d}, {d}']({m})")]


def masked_attention(pool: Pool) -> Lines:
    """Softmax of a masked product, then the product with values: what attention fuses."""
    n = pool.pick(list(pool.dims))
    c = pool.pick([d for d in pool.dims if d != n])
    rest = tuple(d for d in pool.some(0, 1) if d not in (n, c))
    other = pool.pick([d for d in pool.dims if d not in (n, c, *rest)])
    key = pool.pick([f"{n}'", other])
    query, keys = (*rest, n), (*rest, key)
    q = having(pool, c, (*query, c))
    k = having(pool, c, (*keys, c))
    if not mentions(k, key):
        k = f"cos({key} + 2 * {c})"
    scope = (*rest, n, key)
    logits = f"({q}) * ({k}) / 2"
    if pool.chance(0.3):
        logits += f" + {real(pool, scope, 1)}"
    text = f"softmax[{key}{where(pool, scope, 2)}]({logits})"
    missing = [i for i in (*rest, n) if not mentions(f"{q} * {k}", i)]
    weights = text + "".join(f" + 0 * {i}" for i in missing)
    lines = [define(pool, scope, "real", weights)]
    made = pool.tensors[-1].name
    values = having(pool, key, (*rest, key, c))
    result = (*rest, n, c)
    text = f"{made}[{', '.join(scope)}] * ({values})"
    text += f" + 0.1 * {having(pool, c, result)}"
    return [*lines, define(pool, result, "real", text)]

"""Random programs: inputs, params, consts, statements of every kind, sub-layers, outputs."""

from __future__ import annotations

from collections.abc import Callable

from tests.fuzz.decisions import Decisions
from tests.fuzz.expressions import complex_, having, real, reference
from tests.fuzz.pool import DOTS, DYNAMIC, STATIC, Pool, Tensor

EMPTY = "# Sizes may be 0."
DEFS = {
    "blend(x, y) = 0.5 * x + sigmoid(y) * 0.25": "blend({0}, {1})",
    "bump(x, y = 1.0) = tanh(x) * y": "bump({0}, y = {1})",
}
SUBS = """\
layer Running(w = 0.5):
    input  A[..., u]
    output B[..., u] = cumsum[u](A) * w + mean[u](A)

layer Pair():
    input  A[..., u]
    output B[..., u] = softmax[u](A)
    output C[...] = logsumexp[u](A)

layer Mixing(u = 3, s = 2):
    input  A[..., u]
    param  W[u, u'] ~ normal(std = 0.5)
    param  b[u] ~ uniform(-1, 1)
    H[..., u] = tanh(A[..., u'] * W[u, u'] + b[u])
    output B[..., u] = H + s * A
"""


def program(rng: Decisions) -> str:
    """The text of a file whose layer L is well typed."""
    pool = Pool(rng, empty=rng.random() < 0.08)
    hypers = {name: rng.choice(sizes) for name, sizes in STATIC.items()}
    pool.dims = {**hypers, **dict.fromkeys(DYNAMIC)}
    dots = rng.random() < 0.25
    head = [f"def {text}" for text in DEFS if rng.random() < 0.4]
    pool.defs = [form for text, form in DEFS.items() if f"def {text}" in head]
    body = declarations(pool, dots)
    made: list[Tensor] = []
    kinds: list[Callable[[Pool, bool], list[str]]] = [
        equation, equation, equation, product, product, scatter, spectral, joined, matrix, group,
        call, complex_equation, flags,
    ]  # fmt: skip
    for _ in range(rng.randint(1, 5)):
        before = len(pool.tensors)
        body += rng.choice(kinds)(pool, dots)
        made += pool.tensors[before:]
    body += outputs(pool, made)
    arguments = ", ".join(f"{name} = {size}" for name, size in hypers.items())
    layer = [f"layer L({arguments}):", *(f"    {line}" for line in body)]
    first = EMPTY if pool.empty else ""
    return (
        "\n\n".join(part for part in (first, "\n".join(head), SUBS, "\n".join(layer)) if part)
        + "\n"
    )


def declarations(pool: Pool, dots: bool) -> list[str]:
    """Inputs of every kind that together mention every dynamic dim, params and consts."""
    rng = pool.rng
    inputs = [Tensor("X0", ("n", "p")), Tensor("X1", ("m", "n")), Tensor("X2", ("e",))]
    for k in range(rng.randint(0, 2)):
        inputs.append(Tensor(f"Z{k}", tuple(_some(pool, 0, 3))))
    if dots:
        inputs.append(Tensor("D", rng.choice([(DOTS, "p"), (DOTS, "n", "p"), ("n", DOTS, "q")])))
    if rng.random() < 0.6:
        inputs.append(Tensor("I", ("e",), "int", rng.choice(list(pool.dims))))
    if rng.random() < 0.25:
        inputs.append(Tensor("J", tuple(_some(pool, 1, 2)), "int", rng.choice(list(pool.dims))))
    if rng.random() < 0.35:
        inputs.append(Tensor("keep", tuple(_some(pool, 1, 2)), "bool"))
    if rng.random() < 0.3:
        inputs.append(Tensor("C", tuple(_some(pool, 1, 2)), "complex"))
    lines = ["input " + ", ".join(f"{declared(t)}{_dtype(t)}" for t in inputs)]
    pool.tensors += inputs
    for k in range(rng.randint(0, 3)):
        axes = tuple(rng.sample(list(STATIC), rng.randint(1, 2)))
        frozen = "frozen " if rng.random() < 0.15 else ""
        law = rng.choice(["normal(std = 0.5)", "uniform(-1, 1)", "kaiming"])
        made = Tensor(f"W{k}", axes, "complex" if rng.random() < 0.1 else "real")
        lines.append(f"{frozen}param {declared(made)}{_dtype(made)} ~ {law}")
        pool.tensors.append(made)
    if rng.random() < 0.4:
        axes = tuple(rng.sample(list(STATIC), 2))
        a, b = axes
        value = rng.choice([f"0.3 * ({a} - {b})", f"1.0 if {a} == {b} else 0", f"cos({a} * {b})"])
        lines.append(f"const K[{a}, {b}] = {value}")
        pool.tensors.append(Tensor("K", axes))
    if rng.random() < 0.3:
        lines.append("const offset[w] = [0, 1, 3]")
        lines.append("O[n, w] = X0[n - offset[w] else 0, 0]")
        pool.tensors.append(Tensor("O", ("n", "w")))
        pool.dims["w"] = 3
    return lines


def declared(tensor: Tensor) -> str:
    axes = (f"({' '.join(a)})" if isinstance(a, tuple) else a for a in tensor.axes)
    return f"{tensor.name}[{', '.join(axes)}]"


def _dtype(tensor: Tensor) -> str:
    return "" if tensor.kind == "real" else f": {tensor.kind}"


def _some(pool: Pool, least: int, most: int) -> list[str]:
    names = list(pool.dims)
    return pool.rng.sample(names, min(len(names), pool.rng.randint(least, most)))


def _left(pool: Pool, dots: bool, most: int = 3) -> tuple[str, ...]:
    """Axes of a new tensor: dims, sometimes with the batch axes in front."""
    axes = _some(pool, 0, most)
    if dots and pool.chance(0.4):
        axes = [DOTS, *axes[:2]]
    return tuple(axes)


def _complete(pool: Pool, scope: tuple[str, ...], text: str) -> str:
    """Mention every index of the left side."""
    return " + ".join([text, *(f"0.5 * {having(pool, index, scope)}" for index in scope)])


def _define(pool: Pool, axes: tuple[str, ...], kind: str, text: str) -> str:
    made = Tensor(pool.fresh("T"), axes, kind)
    pool.tensors.append(made)
    return f"{declared(made)} = {text}"


def equation(pool: Pool, dots: bool) -> list[str]:
    scope = _left(pool, dots)
    text = _complete(pool, scope, real(pool, scope, pool.rng.randint(1, 4)))
    return [_define(pool, scope, "real", f"tanh({text})" if pool.chance(0.5) else text)]


def product(pool: Pool, dots: bool) -> list[str]:
    """Implicit sums: indices that two or three factors share and the left lacks."""
    scope = _left(pool, dots, 2)
    factors: list[str] = []
    inside = scope
    for _ in range(pool.rng.randint(1, 3)):
        j = pool.inner(inside)
        inside = (*inside, j)
    for j in inside[len(scope) :]:
        factors += [having(pool, j, inside) for _ in range(2)]
    factors += [having(pool, index, inside) for index in scope]
    factors = [f"({f})" if " " in f else f for f in factors]
    pool.rng.shuffle(factors)
    text = " * ".join(factors) + pool.pick(["", "", " / 2", f" / {max(2, len(factors))}"])
    if pool.chance(0.3):
        text += f" + {_complete(pool, scope, '0.1')}"
    return [_define(pool, scope, "real", text)]


def scatter(pool: Pool, dots: bool) -> list[str]:
    dim = pool.pick(list(pool.dims))
    source = pool.inner((dim,))
    scope = (source,)
    extra = [d for d in _some(pool, 0, 1) if d not in (dim, source)]
    scope = (*scope, *extra)
    targets = [t for t in pool.readable("int", (source,)) if t.into == dim]
    if targets:
        where = reference(pool, pool.rng.choice(targets), (source,))
        if source not in where:
            where = f"0 * {source} + {where} else drop"
    else:
        where = f"{source} {pool.pick(['+ 1', '- 1', '+ 0'])} else drop"
    op = pool.pick(["+=", "+=", "max=", "min="])
    name = pool.fresh("T")
    body = _complete(pool, scope, real(pool, scope, 2))
    lines = [f"{name}[{', '.join([f'{dim} = {where}', *extra])}] {op} {body}"]
    if pool.chance(0.25):
        again = _complete(pool, scope, real(pool, scope, 1))
        lines.append(f"{name}[{', '.join([f'{dim} = {where}', *extra])}] {op} {again}")
    pool.tensors.append(Tensor(name, (dim, *extra)))
    return lines


def spectral(pool: Pool, dots: bool) -> list[str]:
    """A transform along one axis to another dim, sometimes back."""
    source, target = pool.rng.sample(list(STATIC), 2)
    rest = tuple(d for d in _some(pool, 0, 1) if d not in (source, target))
    scope = (*rest, source)
    body = _complete(pool, scope, real(pool, scope, 1))
    op = pool.pick(["fft", "rfft", "ifft"])
    norm = pool.pick(["", ', norm = "forward"', ', norm = "ortho"'])
    lines = [_define(pool, (*rest, target), "complex", f"{op}[{source} -> {target}]({body}{norm})")]
    if pool.chance(0.5):
        spectrum = pool.tensors[-1]
        read = reference(pool, spectrum, (*rest, target), target)
        text = f"irfft[{target} -> {source}]({read})"
        lines.append(_define(pool, (*rest, source), "real", text))
    return lines


def joined(pool: Pool, dots: bool) -> list[str]:
    a, b = pool.rng.sample(list(pool.dims), 2)
    dim = pool.fresh("f")
    rest = tuple(d for d in _some(pool, 0, 1) if d not in (a, b))
    parts = [_complete(pool, (*rest, d), real(pool, (*rest, d), 1)) for d in (a, b)]
    axes = (*rest, dim)
    made = Tensor(pool.fresh("T"), axes)
    text = f"concat[{a}, {b} -> {dim}]({parts[0]}, {parts[1]})"
    pool.tensors.append(made)
    pool.dims[dim] = None
    return [f"dim {dim} = {a} + {b}", f"{declared(made)} = {text}"]


def matrix(pool: Pool, dots: bool) -> list[str]:
    """A matrix function of something near the identity."""
    d = pool.pick(list(STATIC))
    rest = tuple(x for x in _some(pool, 0, 1) if x != d)
    scope = (*rest, d, f"{d}'")
    body = f"0.1 * tanh({_complete(pool, scope, real(pool, scope, 1))})"
    body += f" + (1 if {d} == {d}' else 0)"
    if pool.chance(0.3):
        right = having(pool, d, (*rest, d))
        text = f"at[{d}' = {d}](solve[{d}, {d}']({body}, {right}))"
        return [_define(pool, (*rest, d), "real", text)]
    op = pool.pick(["inv", "expm"])
    return [_define(pool, (*rest, d), "real", f"sum[{d}']({op}[{d}, {d}']({body}))")]


def group(pool: Pool, dots: bool) -> list[str]:
    a, b = pool.rng.sample(list(STATIC), 2)
    scope = (*[d for d in _some(pool, 0, 1) if d not in (a, b)], a, b)
    body = _complete(pool, scope, real(pool, scope, 2))
    made = Tensor(pool.fresh("T"), (*scope[:-2], (a, b)))
    pool.tensors.append(made)
    return [f"{declared(made)} = {body}"]


def call(pool: Pool, dots: bool) -> list[str]:
    """A sub-layer bound to an axis of a tensor."""
    options = [
        t for t in pool.tensors
        if t.kind == "real" and t.axes and DOTS not in t.axes
        and all(isinstance(a, str) for a in t.axes)
    ]  # fmt: skip
    tensor = pool.rng.choice(options)
    axis = pool.rng.choice([a for a in tensor.axes if isinstance(a, str)])
    name = pool.fresh("sub")
    stack = pool.pick(["", "", "[2]", "[0]"])
    plain = f"{tensor.name}"
    size = pool.dims[axis]
    axes = tuple(a for a in tensor.axes if isinstance(a, str))
    if size is not None and axis in STATIC and pool.chance(0.5):
        head = f"sub {name}{stack} = Mixing(u = {axis}, s = {pool.pick(['1', '2'])})"
        return [head, _define(pool, axes, "real", f"{name}[u = {axis}]({plain})")]
    if pool.chance(0.35):
        rest = tuple(a for a in axes if a != axis)
        first, second = Tensor(pool.fresh("T"), axes), Tensor(pool.fresh("T"), rest)
        if pool.empty:
            return []
        pool.tensors += [first, second]
        line = f"{declared(first)}, {declared(second)} = {name}[u = {axis}]({plain})"
        return [f"sub {name} = Pair()", line]
    inner = real(pool, axes, 1) if pool.chance(0.3) else plain
    inner = inner if inner == plain else f"{_complete(pool, axes, inner)}"
    head = f"sub {name}{stack} = Running({pool.pick(['', '0.25'])})"
    return [head, _define(pool, axes, "real", f"0.5 * {name}[u = {axis}]({inner})")]


def complex_equation(pool: Pool, dots: bool) -> list[str]:
    scope = tuple(_some(pool, 0, 2))
    text = _complete(pool, scope, complex_(pool, scope, 3))
    return [_define(pool, scope, "complex", f"{text} + complex(0, 1)")]


def flags(pool: Pool, dots: bool) -> list[str]:
    scope = tuple(_some(pool, 1, 2))
    text = " and ".join(f"{having(pool, index, scope)} > -0.4" for index in scope)
    return [_define(pool, scope, "bool", text)]


def outputs(pool: Pool, made: list[Tensor]) -> list[str]:
    """One to three outputs: values already there, and one expression over them."""
    lines = []
    for tensor in pool.rng.sample(made, min(len(made), pool.rng.randint(0, 2))):
        name = pool.fresh("Out")
        axes = ", ".join(
            f"({' '.join(a)})" if isinstance(a, tuple) else str(a) for a in tensor.axes
        )
        lines.append(
            f"output {name}[{axes}] = {tensor.name}" if axes else f"output {name}[] = {tensor.name}"
        )
    scope = tuple(_some(pool, 0, 2))
    reals = [t for t in made if t.kind == "real" and DOTS not in t.axes]
    text = real(pool, scope, 2)
    if reals:
        last = reals[-1]
        bound = [a for axis in last.axes for a in (axis if isinstance(axis, tuple) else (axis,))]
        renamed = {a: a + "'" * (2 if a in scope else 0) for a in bound}
        if not any(isinstance(a, tuple) for a in last.axes):
            subscripts = ", ".join(renamed[a] for a in bound)
            read = f"{last.name}[{subscripts}]" if bound else last.name
            text += f" + mean[{', '.join(renamed.values())}]({read})" if bound else f" + {read}"
    return [*lines, f"output Y[{', '.join(scope)}] = {_complete(pool, scope, text)}"]

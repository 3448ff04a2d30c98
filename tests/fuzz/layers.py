"""Sub-layers that random programs call, and the calls."""

from __future__ import annotations

from tests.fuzz.expressions import complete, complex_, having, real
from tests.fuzz.pool import DOTS, STATIC, Pool, Tensor
from tests.fuzz.statements import declared, define

RUNNING = """\
layer Running(w = 0.5):
    input  A[..., u]
    output B[..., u] = cumsum[u](A) * w + mean[u](A)
"""
PAIR = """\
layer Pair():
    input  A[..., u]
    output B[..., u] = softmax[u](A)
    output C[...] = tanh(logsumexp[u](A))
"""
MIXING = """\
layer Mixing(u = 3, s = 2):
    input  A[..., u]
    param  W[u, u'] ~ normal(std = 0.5)
    param  b[u] ~ uniform(-1, 1)
    H[..., u] = tanh(A[..., u'] * W[u, u'] + b[u])
    output B[..., u] = H + s * A
"""
MAPPING = """\
layer Mapping(u, o):
    input  A[..., u]
    frozen param W[o, u] ~ normal(std = 0.5)
    sub    twice[2] = Scaling(o)
    output B[..., o] = twice[i = o](A[..., u] * W[o, u])
"""
SCALING = """\
layer Scaling(i):
    input  A[..., i]
    param  g[i] ~ ones
    output B[..., i] = tanh(A * g) + A[..., |i| - 1 - i]
"""
CROSSING = """\
layer Crossing():
    input  A[u, v], x[v]
    S[v, u] = A[u, v] * sigmoid(x[v])
    output B[v, u] = S - max[u'](S[v, u'])
"""
PICKING = """\
layer Picking(scale = 1):
    input  A[..., u], which[k]: int
    output B[..., k] = A[..., wrap(which[k])] * scale
"""
TUNED = """\
layer Tuned(o: list = [1, 2], scale: float = 0.5, flip: bool = false, mode: str = "ortho"):
    input  A[..., u]
    const  offset[k] = o
    S[..., u] = scale * sum[k](A[..., u - offset[k] else 0.25])
    F[..., u] = real(fft[u -> u](A, norm = mode))
    output B[..., u] = tanh(S + F) if flip else S - A
"""
THIN = """\
layer Thin(u = 3, rank = 1):
    input  A[..., u]
    param  W[u, u'] ~ normal(std = 0.5) as lowrank(rank)
    output B[..., u] = A[..., u'] * W[u', u]
"""
TURNING = """\
layer Turning(t: float = 0.5):
    input  Z[..., u]: complex, x[u]
    output B[..., u] = Z * exp(complex(0, t) * x) + conj(Z[..., |u| - 1 - u])
    output C[...] = sum[u](real(Z * conj(B)))
"""


def call(pool: Pool) -> list[str]:
    """A sub-layer bound to an axis of a tensor."""
    options = [
        t for t in pool.tensors
        if t.kind == "real" and t.axes and DOTS not in t.axes
        and all(isinstance(a, str) for a in t.axes) and len(set(t.axes)) == len(t.axes)
    ]  # fmt: skip
    tensor = pool.rng.choice(options)
    axes = tuple(str(axis) for axis in tensor.axes)
    axis = pool.pick(list(axes))
    given = f"{tensor.name}[{', '.join(axes)}]"
    if pool.chance(0.4):
        given = complete(pool, axes, real(pool, axes, 1))
    kinds = ["running", "running", "tuned", "turning"]
    if axis in STATIC:
        kinds += ["mixing", "mixing", "mapping", "thin"]
    if not pool.empty:
        kinds.append("pair")
    if len(axes) == 2:
        kinds.append("crossing")
    if any(t.axes == ("e",) and t.kind == "int" for t in pool.tensors) and "e" not in axes:
        kinds.append("picking")
    return _CALLS[pool.pick(kinds)](pool, axes, axis, given)


def _use(pool: Pool, *texts: str) -> str:
    for text in texts:
        pool.layers[text.split("(")[0]] = text
    return pool.fresh("sub")


def _running(pool: Pool, axes: tuple[str, ...], axis: str, given: str) -> list[str]:
    name = _use(pool, RUNNING)
    stack = pool.pick(["", "", "[2]", "[0]"])
    head = f"sub {name}{stack} = Running({pool.pick(['', '0.25', 'w = 1'])})"
    return [head, define(pool, axes, "real", f"0.5 * {name}[u = {axis}]({given})")]


def _mixing(pool: Pool, axes: tuple[str, ...], axis: str, given: str) -> list[str]:
    name = _use(pool, MIXING)
    stack = pool.pick(["", "", "[2]", "[1]"])
    head = f"sub {name}{stack} = Mixing(u = {axis}, s = {pool.pick(['1', '2'])})"
    return [head, define(pool, axes, "real", f"{name}[u = {axis}]({given})")]


def _mapping(pool: Pool, axes: tuple[str, ...], axis: str, given: str) -> list[str]:
    name = _use(pool, SCALING, MAPPING)
    target = next(d for d in STATIC if d not in axes or d == axis)
    if target == axis:
        return _mixing(pool, axes, axis, given)
    head = f"sub {name} = Mapping({axis}, o = {target})"
    result = (*(a for a in axes if a != axis), target)
    return [head, define(pool, result, "real", f"{name}[u = {axis}, o = {target}]({given})")]


def _tuned(pool: Pool, axes: tuple[str, ...], axis: str, given: str) -> list[str]:
    name = _use(pool, TUNED)
    options = [
        pool.pick(["o = [0]", "o = [1, 2, 4]", "o = [-1]"]),
        pool.pick(["scale = 2", "scale = -0.25"]),
        "flip = true",
        pool.pick(['mode = "forward"', 'mode = "backward"']),
    ]
    chosen = [text for text in options if pool.chance(0.5)]
    head = f"sub {name} = Tuned({', '.join(chosen)})"
    return [head, define(pool, axes, "real", f"{name}[u = {axis}]({given})")]


def _thin(pool: Pool, axes: tuple[str, ...], axis: str, given: str) -> list[str]:
    name = _use(pool, THIN)
    stack = pool.pick(["", "[2]"])
    head = f"sub {name}{stack} = Thin(u = {axis}, rank = {pool.pick(['1', '2'])})"
    return [head, define(pool, axes, "real", f"{name}[u = {axis}]({given})")]


def _turning(pool: Pool, axes: tuple[str, ...], axis: str, given: str) -> list[str]:
    """A complex argument, and results of both kinds."""
    name = _use(pool, TURNING)
    rest = tuple(a for a in axes if a != axis)
    first = Tensor(pool.fresh("T"), axes, "complex", own=axes)
    second = Tensor(pool.fresh("T"), rest, own=rest)
    other = having(pool, axis, (axis,))
    number = f"complex({given}, {real(pool, axes, 1)}) + {complex_(pool, axes, 1)}"
    pool.tensors += [first, second]
    line = f"{declared(first)}, {declared(second)} = {name}[u = {axis}]({number}, {other})"
    return [f"sub {name} = Turning({pool.pick(['', '0.25', 't = 1'])})", line]


def _pair(pool: Pool, axes: tuple[str, ...], axis: str, given: str) -> list[str]:
    name = _use(pool, PAIR)
    rest = tuple(a for a in axes if a != axis)
    first = Tensor(pool.fresh("T"), axes, own=axes)
    second = Tensor(pool.fresh("T"), rest, own=rest)
    pool.tensors += [first, second]
    line = f"{declared(first)}, {declared(second)} = {name}[u = {axis}]({given})"
    return [f"sub {name} = Pair()", line]


def _crossing(pool: Pool, axes: tuple[str, ...], axis: str, given: str) -> list[str]:
    name = _use(pool, CROSSING)
    u, v = (axes[0], axes[1]) if axis == axes[0] else (axes[1], axes[0])
    other = complete(pool, (v,), real(pool, (v,), 1))
    if u == v:
        return []
    line = define(pool, (u, v), "real", f"tanh({name}[u = {u}, v = {v}]({given}, {other}))")
    return [f"sub {name} = Crossing()", line]


def _picking(pool: Pool, axes: tuple[str, ...], axis: str, given: str) -> list[str]:
    if pool.empty:
        return _running(pool, axes, axis, given)
    name = _use(pool, PICKING)
    picks = next(t for t in pool.tensors if t.axes == ("e",) and t.kind == "int")
    result = (*(a for a in axes if a != axis), "e")
    text = f"{name}[u = {axis}, k = e]({given}, {picks.name}[e])"
    return [f"sub {name} = Picking()", define(pool, result, "real", text)]


_CALLS = {
    "running": _running,
    "mixing": _mixing,
    "mapping": _mapping,
    "pair": _pair,
    "crossing": _crossing,
    "picking": _picking,
    "tuned": _tuned,
    "thin": _thin,
    "turning": _turning,
}

"""Random programs: inputs, params, consts, statements of every kind, sub-layers, outputs."""

from __future__ import annotations

from collections.abc import Callable

from tests.fuzz import statements as s
from tests.fuzz.decisions import Decisions
from tests.fuzz.equivariant import coupling
from tests.fuzz.expressions import complete, real
from tests.fuzz.gradients import gradient
from tests.fuzz.layers import call
from tests.fuzz.params import consts, dtype, params
from tests.fuzz.pool import DOTS, DYNAMIC, STATIC, Axis, Pool, Tensor

EMPTY = "# Sizes may be 0."
DEFS = {
    "def blend(x, y) = 0.5 * x + sigmoid(y) * 0.25": "blend({0}, {1})",
    "def bump(x, y = 1.0) = tanh(x) * y": "bump({0}, y = {1})",
    "def twice(x, y) = less(less(x, y), y)\ndef less(x, y) = 0.3 * x - y": "twice({0}, {1})",
}
REDUCERS = {
    "def centre[d](x, y) = sum[d](x * y) / (1 + |d|)": "centre[{0}]({1}, {2})",
    "def spread[d](x, y) = max[d](x) - mean[d where y > 0.1137](x)": "tanh(spread[{0}]({1}, {2}))",
    "use std: cosine": "cosine[{0}]({1}, {2} + 0.1, eps = 0.01)",
    "use std: distance2": "distance2[{0}]({1}, {2})",
    "use std: huber": "huber[{0}]({1}, {2} + 0.137)",
    "use std: entropy": "sum[{0}]({1}) - entropy[{0}]({2})",
}
STATEMENTS: tuple[Callable[[Pool], list[str]], ...] = (
    s.equation, s.equation, s.equation, s.product, s.product, s.chain, s.scatter, s.scatter,
    s.spectral, s.joined, s.matrix, s.group, s.split, s.window, s.masked_attention, call, call,
    s.complex_equation, s.flags, s.numbers, coupling, gradient, gradient, gradient,
)  # fmt: skip


def program(rng: Decisions) -> str:
    """The text of a file whose layer L is well typed."""
    pool = Pool(rng, empty=rng.random() > 0.92, dots=rng.random() > 0.75)
    hypers = {name: rng.choice(sizes) for name, sizes in STATIC.items()}
    pool.dims = {**hypers, **dict.fromkeys(DYNAMIC)}
    head = _definitions(pool)
    body = declarations(pool)
    made: list[Tensor] = []
    for _ in range(rng.randint(1, 5)):
        before = len(pool.tensors)
        body += rng.choice(STATEMENTS)(pool)
        made += pool.tensors[before:]
        if rng.random() > 0.9:
            body += _early(pool)
    body += outputs(pool, made)
    arguments = ", ".join(f"{name} = {size}" for name, size in hypers.items())
    layer = [f"layer L({arguments}):", *(f"    {line}" for line in body)]
    first = [EMPTY] if pool.empty else []
    uses = [line for line in head if line.startswith("use")]
    defs = [line for line in head if not line.startswith("use")]
    blocks = ["\n".join([*first, *uses]), "\n".join(defs), *pool.layers.values(), "\n".join(layer)]
    return "\n\n".join(block.strip() for block in blocks if block) + "\n"


def _definitions(pool: Pool) -> list[str]:
    chosen = [text for text in (*DEFS, *REDUCERS) if pool.chance(0.3)]
    pool.defs = [DEFS[text] for text in chosen if text in DEFS]
    unproved = ("max[d]", "huber", "entropy")  # over no cell they are infinite
    pool.reducers = [
        REDUCERS[text]
        for text in chosen
        if text in REDUCERS and not (pool.empty and any(word in text for word in unproved))
    ]
    return chosen


# --- declarations --------------------------------------------------------------------------------
def declarations(pool: Pool) -> list[str]:
    """Inputs of every kind that together mention every dynamic dim, params and consts."""
    inputs = _inputs(pool)
    lines = ["input " + ", ".join(f"{s.declared(t)}{dtype(t)}" for t in inputs)]
    pool.tensors += inputs
    for name in ("k", "l"):
        if pool.chance(0.2):
            dim = pool.pick([*STATIC, *DYNAMIC])
            lines.append(f"index {name} in {dim}")
            pool.named[name] = dim
    return [*lines, *params(pool), *consts(pool)]


def _inputs(pool: Pool) -> list[Tensor]:
    rng = pool.rng
    inputs = [Tensor("X0", ("n", "p")), Tensor("X1", ("m", "n")), Tensor("X2", ("e",))]
    inputs.append(Tensor("X3", ("q", "r")))
    inputs += [Tensor(f"Z{k}", tuple(pool.some(0, 3))) for k in range(rng.randint(0, 2))]
    if pool.dots:
        forms: list[tuple[Axis, ...]] = [(DOTS, "p"), (DOTS, "n", "p"), ("n", DOTS, "q")]
        inputs.append(Tensor("D", rng.choice(forms)))
    if pool.chance(0.2):
        a, b, c = rng.sample([*STATIC, *DYNAMIC], 3)
        inputs.append(Tensor("G", rng.choice([((a, b),), (c, (a, b)), ((a, b), c)])))
    if pool.chance(0.6):
        inputs.append(Tensor("I", ("e",), "int", pool.pick(list(pool.dims))))
    if pool.chance(0.25):
        inputs.append(Tensor("J", tuple(pool.some(1, 2)), "int", pool.pick(list(pool.dims))))
    if pool.chance(0.2):
        inputs.append(Tensor("N", tuple(pool.some(0, 2)), "int"))
    if pool.chance(0.35):
        inputs.append(Tensor("keep", tuple(pool.some(1, 2)), "bool"))
    if pool.chance(0.3):
        inputs.append(Tensor("C", tuple(pool.some(0, 2)), "complex"))
    return [Tensor(t.name, t.axes, t.kind, t.into, _plain(t.axes)) for t in inputs]


def _plain(axes: tuple[Axis, ...]) -> tuple[str, ...] | None:
    return tuple(str(a) for a in axes) if all(isinstance(a, str) for a in axes) else None


# --- outputs -------------------------------------------------------------------------------------
def _early(pool: Pool) -> list[str]:
    """An output that later statements read."""
    scope = s.left(pool, 2)
    text = complete(pool, scope, real(pool, scope, 2))
    return [f"output {s.define(pool, scope, 'real', text)}"]


def outputs(pool: Pool, made: list[Tensor]) -> list[str]:
    """One to three outputs: values already there, and one expression over them."""
    lines = []
    for tensor in pool.rng.sample(made, min(len(made), pool.rng.randint(0, 2))):
        indices = s.written(tensor.own or tensor.axes)
        read = tensor.name if tensor.own else f"{tensor.name}[{indices}]"
        lines.append(f"output {pool.fresh('Out')}[{indices}] = {read}")
    scope = tuple(pool.some(0, 2))
    text = real(pool, scope, 2)
    reals = [t for t in made if t.kind == "real" and t.own is not None and DOTS not in t.axes]
    if reals:
        last = reals[-1]
        assert last.own is not None
        bound = [pool.dim_of(i) + "'" * (k + 2) for k, i in enumerate(last.own)]
        read = f"{last.name}[{', '.join(bound)}]" if bound else last.name
        text += f" + mean[{', '.join(bound)}]({read})" if bound else f" + {read}"
    return [*lines, f"output Y[{', '.join(scope)}] = {complete(pool, scope, text)}"]

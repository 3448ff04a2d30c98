"""K2, softmax over pairs of keys: kernels on numpy against float64 torch, loops by brute force."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
import torch

from tensorlang.backends.triton import third
from tensorlang.backends.triton.attention_parts import Attention, Mask
from tensorlang.backends.triton.build import call, integer
from tensorlang.backends.triton.evaluate import run
from tensorlang.backends.triton.kernel_ir import Cast, Const, DType, Expr, Iota, Load, Map, Ref
from tensorlang.backends.triton.validate import validate

QUERY, J, K = Iota("i"), Iota("j"), Iota("k")


def _within(key: Expr, width: int) -> Expr:
    return call("and", call("le", key, QUERY), call("lt", call("sub", QUERY, key), integer(width)))


CONDITIONS: dict[str, Expr | None] = {
    "none": None,
    "causal": call("and", call("le", J, QUERY), call("le", K, QUERY)),
    "windows": call("and", _within(J, 7), _within(K, 3)),
    "ordered": call("and", call("le", K, J), call("le", J, QUERY)),
    "future": call("and", call("gt", J, QUERY), call("ge", K, J)),
    "apart": call("ne", J, K),
    "of the first alone": call("le", J, QUERY),
    "of the second alone": call("gt", K, QUERY),
    "never": call("and", call("lt", J, QUERY), call("gt", J, QUERY)),
    "sum": call("le", call("add", J, K), QUERY),
}
OPS = {
    "le": np.less_equal, "lt": np.less, "gt": np.greater, "ge": np.greater_equal,
    "ne": np.not_equal, "and": np.logical_and, "add": np.add, "sub": np.subtract,
}  # fmt: skip


def _truth(expr: Expr, at: dict[str, npt.NDArray[np.int64]]) -> npt.NDArray[np.bool_]:
    match expr:
        case Iota(axis):
            return at[axis]  # type: ignore[return-value]
        case Const(value):
            return np.asarray(value)
        case Map(op, args):
            return np.asarray(OPS[op](*(_truth(arg, at) for arg in args)))
    raise AssertionError(expr)


def _attend(
    spec: Attention, n: int, m: int, m2: int, keep: npt.NDArray[np.bool_], mask: object = None
) -> None:
    """Every kernel against torch, output, log-sum-exp and all five gradients."""
    rng = np.random.default_rng(0)
    b = (2, 1)[: spec.batch]
    c, e = spec.features, spec.values
    shapes = {"Q": (n, c), "K1": (m, c), "K2": (m2, c), "V1": (m, e), "V2": (m2, e), "G": (n, e)}
    arrays = {name: rng.standard_normal((*b, *shape)) for name, shape in shapes.items()}
    arrays |= {"O": np.full((*b, n, e), np.nan), "M0": np.asarray(mask if mask is not None else 0)}
    arrays |= {name: np.full((*b, n), np.nan) for name in "LD"}
    arrays |= {f"D{x}": np.full_like(arrays[x], np.nan) for x in ("Q", "K1", "K2", "V1", "V2")}
    sizes = {f"B{i}": size for i, size in enumerate(b)}
    sizes |= {"N": n, "M": m, "M2": m2, "ZERO": 0}
    for kernel in third.kernels(spec):
        run(kernel, {t.name: arrays[t.name] for t in kernel.tensors}, sizes, kernel.configs[-1])
    leaves = [torch.tensor(arrays[x], requires_grad=True) for x in ("Q", "K1", "K2", "V1", "V2")]
    q, k1, k2, v1, v2 = leaves
    logits = torch.einsum("...ic,...jc,...kc->...ijk", q, k1, k2) * spec.scale
    seen = torch.tensor(np.broadcast_to(keep, (n, m, m2)).copy())
    logits = logits.masked_fill(~seen, -torch.inf).flatten(-2)
    alive = seen.flatten(-2).any(-1, keepdim=True)
    p = torch.softmax(logits.masked_fill(~alive, 0.0), -1).masked_fill(~alive, 0.0)
    p = p.unflatten(-1, (m, m2))
    made = torch.einsum("...ijk,...je,...ke->...ie", p, v1, v2)
    wanted = [made, *torch.autograd.grad(made, leaves, torch.tensor(arrays["G"]))]
    for name, want in zip(("O", "DQ", "DK1", "DK2", "DV1", "DV2"), wanted, strict=True):
        np.testing.assert_allclose(
            arrays[name], want.detach().numpy(), rtol=1e-10, atol=1e-12, err_msg=name
        )
    lse = torch.logsumexp(logits, -1) / math.log(2)
    want = torch.where(alive[..., 0], lse, torch.inf).detach().expand(*b, n)
    np.testing.assert_allclose(arrays["L"], want.numpy(), rtol=1e-11)


@pytest.mark.parametrize("name", CONDITIONS)
def test_kernels_obey_every_rule(name: str) -> None:
    for kernel in third.kernels(Attention("a", 1, 16, 16, 0.3, CONDITIONS[name])):
        validate(kernel)


@pytest.mark.parametrize("name", CONDITIONS)
def test_output_and_gradients(name: str) -> None:
    condition = CONDITIONS[name]
    for n, m, m2 in ((1, 1, 1), (19, 19, 19), (5, 18, 3)):
        at = dict(zip("ijk", np.mgrid[:n, :m, :m2], strict=True))
        keep = np.ones((n, m, m2), bool) if condition is None else _truth(condition, at)
        _attend(Attention("a", 1, 6, 5, 0.3, condition), n, m, m2, keep)


@pytest.mark.parametrize("scale", [-0.4, 0.0])
def test_a_scale_that_is_not_positive(scale: float) -> None:
    _attend(Attention("a", 0, 8, 8, scale), 9, 5, 20, np.ones((9, 5, 20), bool))


@pytest.mark.parametrize("size", [3, 24, 80])
def test_head_sizes_that_are_no_powers_of_two(size: int) -> None:
    keep = _truth(call("le", J, QUERY), dict(zip("ijk", np.mgrid[:7, :7, :17], strict=True)))
    _attend(Attention("a", 1, size, 20, 0.2, call("le", J, QUERY)), 7, 7, 17, keep)


def test_a_mask_read_per_cell_with_empty_rows() -> None:
    keep = np.random.default_rng(1).random((18, 6, 17)) < 0.5
    keep[[0, 7, 17]] = False
    index, extents = (QUERY, J, K), (Ref("N"), Ref("M"), Ref("M2"))
    read = Cast(Load("M0", index), DType.BOOL)
    masks = (Mask("M0", DType.BOOL, index, extents),)
    _attend(Attention("a", 1, 8, 5, 0.3, read, masks), 18, 6, 17, keep, keep)
    at = dict(zip("ijk", np.mgrid[:18, :6, :17], strict=True))
    below = call("le", K, QUERY)
    spec = Attention("a", 1, 8, 5, 0.3, call("and", read, below), masks)
    _attend(spec, 18, 6, 17, keep & _truth(below, at), keep)

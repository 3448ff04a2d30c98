"""What a launch passes to a kernel: 64-bit offsets where a tensor asks for them, every stride."""

from __future__ import annotations

import runpy
from typing import Any

import pytest
import torch

import tensorlang as tl
from tests.example_cases import EXAMPLES


class _Kernel:
    """Takes the place of a kernel and remembers how it was launched."""

    def __init__(self) -> None:
        self.grid: tuple[int, ...] = ()
        self.given: tuple[Any, ...] = ()
        self.named: dict[str, Any] = {}

    def __getitem__(self, grid: tuple[int, ...]) -> _Kernel:
        self.grid = grid
        return self

    def __call__(self, *given: Any, **named: Any) -> None:
        self.given, self.named = given, named


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("emitted") / "norms_triton.py"
    tl.compile(str(EXAMPLES / "norms.tl"), target="triton", bind={"d": 5}).write(path)
    made = runpy.run_path(str(path))
    inside: dict[str, Any] = made["_launch"].__globals__
    inside.update(made)  # run_path has emptied it
    return inside


def _launched(names: dict[str, Any], monkeypatch: pytest.MonkeyPatch, *xs: torch.Tensor) -> _Kernel:
    monkeypatch.setitem(names, "_INTERPRET", True)  # so that the kernel is called as it is
    kernel = _Kernel()
    names["_launch"](kernel, 3, xs, (7,), ({"BR": 8}, 4, 2))
    return kernel


@pytest.mark.parametrize(
    ("sizes", "strides", "wide"),
    [
        ((2, 5), (5, 1), False),
        ((2, 5), (2**31 - 5, 1), False),
        ((2, 5), (2**31 - 4, 1), True),
        ((2**31, 2), (1, 0), False),
        ((2**31 + 1, 2), (1, 0), True),
        ((1, 5), (2**40, 1), False),
    ],
)
def test_offsets_are_64_bit_where_a_tensor_asks(
    names: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    sizes: tuple[int, ...],
    strides: tuple[int, ...],
    wide: bool,
) -> None:
    small = torch.empty(5, device="meta")
    large = torch.empty_strided(sizes, strides, device="meta")
    kernel = _launched(names, monkeypatch, small, large)
    assert kernel.named["WIDE"] is wide
    assert kernel.grid == (3,)


def test_every_stride_is_passed_in_order(
    names: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    x = torch.empty(2, 3, 5).permute(2, 0, 1)
    g = torch.empty(1).expand(4)  # as gradients of sums are
    kernel = _launched(names, monkeypatch, x, g)
    assert kernel.given[0] is x and kernel.given[1] is g
    assert kernel.given[2:] == (*x.stride(), 0, 7)
    assert kernel.named["BR"] == 8 and kernel.named["num_warps"] == 4

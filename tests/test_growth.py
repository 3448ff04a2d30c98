"""How work grows: exponents of FLOPs and bytes in a size, of compiling in the number of equations.

Counts, never times: FLOPs and bytes from the plan, Python calls from a profiler.
"""

from __future__ import annotations

import cProfile
import math
from collections.abc import Callable
from pathlib import Path

import pytest

import tensorlang as tl
from benchmarks.grassmann import PLAIN
from benchmarks.long_layer import long_layer
from tests.example_cases import EXAMPLES


def _exponent(cost: Callable[[int], float], small: int) -> float:
    return math.log2(cost(2 * small) / cost(small))


def _cost(layer: object, quantity: str, **shapes: tuple[int, ...]) -> float:
    return float(tl.explain(layer, **shapes).to_dict()[quantity])


@pytest.fixture(scope="module")
def axial() -> object:
    return tl.load(str(EXAMPLES / "axial.tl")).AxialPair(d=8, heads=2)


def test_axial_attention_is_quadratic_in_its_own_axis_and_linear_in_the_other(
    axial: object,
) -> None:
    along = tl.load(str(EXAMPLES / "axial.tl")).AxialAttention(d=8, heads=2)
    assert 1.9 < _exponent(lambda n: _cost(along, "flops", X=(16, n, 8)), 2**14) <= 2.0
    assert _exponent(lambda b: _cost(along, "flops", X=(b, 64, 8)), 2**10) == pytest.approx(1.0)


def test_axial_attention_over_a_square_costs_its_side_cubed_not_to_the_fourth(
    axial: object,
) -> None:
    assert 2.9 < _exponent(lambda n: _cost(axial, "flops", X=(1, n, n, 8)), 2**14) <= 3.0
    assert _exponent(lambda n: _cost(axial, "parameters", X=(1, n, n, 8)), 2**10) == 0.0


def test_third_order_attention_is_cubic_in_flops_and_forms_no_cube() -> None:
    core = tl.load(str(EXAMPLES / "third_order.tl")).Trilinear()

    def cost(quantity: str) -> Callable[[int], float]:
        return lambda n: _cost(
            core, quantity, **dict.fromkeys(("Q", "K1", "K2", "V1", "V2"), (1, n, 8))
        )

    assert 2.9 < _exponent(cost("flops"), 2**10) <= 3.0
    assert _exponent(cost("peak_bytes"), 2**10) <= 2.1


def test_third_order_attention_of_low_rank_is_linear(tmp_path: Path) -> None:
    core = _spec(
        tmp_path,
        """
        input Q[n, c], K1[n, c], K2[n, c], V1[n, e], V2[n, e]
        output Y[n, e] = Q[n, c] * K1[n', c] * V1[n', e] * K2[n'', c] * V2[n'', e]
        """,
    )()
    names = ("Q", "K1", "K2", "V1", "V2")

    def cost(quantity: str) -> Callable[[int], float]:
        return lambda n: _cost(core, quantity, **dict.fromkeys(names, (n, 8)))

    assert _exponent(cost("flops"), 2**10) <= 1.01
    assert _exponent(cost("bytes"), 2**10) <= 1.01


def test_third_order_attention_with_additive_logits_is_quadratic(tmp_path: Path) -> None:
    core = _spec(
        tmp_path,
        """
        input Q[n, c], K1[n, c], K2[n, c], V1[n, c], V2[n, c]
        A[n, n', n''] = softmax[n', n''](Q[n, c] * K1[n', c] + Q[n, c] * K2[n'', c])
        output Y[n, c] = A[n, n', n''] * V1[n', c] * V2[n'', c]
        """,
    )()
    names = ("Q", "K1", "K2", "V1", "V2")

    def cost(quantity: str) -> Callable[[int], float]:
        return lambda n: _cost(core, quantity, **dict.fromkeys(names, (n, 8)))

    assert 1.9 < _exponent(cost("flops"), 2**10) <= 2.0
    assert _exponent(cost("peak_bytes"), 2**10) <= 1.01


def test_attention_over_rows_written_densely_costs_what_axial_attention_costs(
    tmp_path: Path,
) -> None:
    rows = _spec(
        tmp_path,
        """
        input Q[y, x, c], K[y, x, c], V[y, x, c]
        A[y, x, y', x'] = softmax[y', x' where y' == y](Q[y, x, c] * K[y', x', c])
        output Y[y, x, c] = A[y, x, y', x'] * V[y', x', c]
        """,
    )()
    assert (
        _exponent(lambda y: _cost(rows, "flops", **dict.fromkeys("QKV", (y, 16, 8))), 2**8) == 1.0
    )
    assert (
        _exponent(lambda x: _cost(rows, "flops", **dict.fromkeys("QKV", (16, x, 8))), 2**12) > 1.9
    )


@pytest.mark.parametrize("batch", [1, 64, 1024])
def test_a_tucker_layer_is_linear_in_each_size(tmp_path: Path, batch: int) -> None:
    layer = _spec(
        tmp_path,
        """
        input X[b, i]
        param W[o, i] ~ kaiming as tucker(ranks = [r, r])
        output Y[b, o] = W[o, i] * X[b, i]
        """,
        "o, i, r",
    )

    def cost(b: int, i: int, o: int, r: int) -> float:
        return _cost(layer(o=o, i=i, r=r), "flops", X=(b, i))

    assert _exponent(lambda b: cost(b, 512, 512, 16), batch) <= 1.01
    assert _exponent(lambda i: cost(batch, i, 512, 16), 512) <= 1.01
    assert _exponent(lambda o: cost(batch, 512, o, 16), 512) <= 1.01
    assert _exponent(lambda r: cost(batch, 4096, 4096, r), 16) <= 1.01


@pytest.mark.parametrize("batch", [1, 64, 1024])
def test_a_tensor_train_costs_the_power_three_halves_of_the_width(
    tmp_path: Path, batch: int
) -> None:
    layer = _spec(
        tmp_path,
        """
        dim   o1 = a, o2 = a, i1 = a, i2 = a
        input X[b, (i1 i2)]
        param W[(o1 o2), (i1 i2)] ~ kaiming as tt(rank = r)
        output Y[b, (o1 o2)] = W[(o1 o2), (i1 i2)] * X[b, (i1 i2)]
        """,
        "a, r",
    )

    def cost(b: int, a: int, r: int) -> float:
        return _cost(layer(a=a, r=r), "flops", X=(b, a * a))

    assert _exponent(lambda a: cost(batch, a, 4), 32) <= 3.01  # the width is a^2
    assert _exponent(lambda r: cost(batch, 64, r), 2) <= 1.01
    assert _exponent(lambda b: cost(b, 64, 4), batch) <= 1.01


def test_grassmann_mixing_is_linear_in_time_and_width_whatever_the_offsets() -> None:
    """Without the norm the mean over offsets moves through the product, and they cost little."""
    mixing = tl.load(PLAIN).PlainMixing

    def cost(t: int, d: int, r: int, offsets: int) -> float:
        layer = mixing(d=d, r=r, offsets=list(range(1, offsets + 1)))
        return _cost(layer, "flops", H=(1, t, d))

    assert _exponent(lambda t: cost(t, 32, 8, 6), 2**10) <= 1.01
    assert _exponent(lambda d: cost(2**16, d, 8, 6), 256) <= 1.01
    assert _exponent(lambda r: cost(2**16, 256, r, 6), 16) <= 2.05
    assert _exponent(lambda w: cost(2**10, 64, 8, w), 8) <= 0.1


def test_with_the_norm_the_map_after_the_mean_is_done_once() -> None:
    mixing = tl.load(str(EXAMPLES / "grassmann.tl")).GrassmannMixing

    def cost(t: int, d: int, offsets: int) -> float:
        layer = mixing(d=d, r=16, offsets=list(range(1, offsets + 1)))
        return _cost(layer, "flops", H=(1, t, d))

    assert _exponent(lambda t: cost(t, 64, 6), 2**10) <= 1.01
    assert _exponent(lambda w: cost(2**10, 2**14, w), 8) <= 0.1


def test_linear_attention_is_linear() -> None:
    layer = tl.load(str(EXAMPLES / "linear_attention.tl")).LinearAttention(d=8, heads=2)
    assert _exponent(lambda n: _cost(layer, "flops", X=(1, n, 8)), 2**12) <= 1.05


def test_compiling_grows_no_faster_than_the_power_1_3(tmp_path: Path) -> None:
    tl.compile(_long(tmp_path, 20), target="torch")  # imports and first uses are not growth

    def calls(equations: int) -> float:
        path = _long(tmp_path, equations)
        profile = cProfile.Profile()
        profile.enable()
        tl.compile(path, target="torch")
        profile.disable()
        return float(sum(entry.callcount for entry in profile.getstats()))

    assert _exponent(calls, 250) <= 1.3
    assert _exponent(calls, 500) <= 1.3


def test_a_layer_of_two_thousand_equations_compiles(tmp_path: Path) -> None:
    source = tl.compile(_long(tmp_path, 2000), target="torch").source
    compile(source, "long.py", "exec")


def _spec(folder: Path, body: str, hypers: str = "") -> Callable[..., object]:
    """The class of a layer with these statements."""
    path = folder / "spec.tl"
    lines = "\n".join(f"    {line.strip()}" for line in body.strip().splitlines())
    path.write_text(f"layer L({hypers}):\n{lines}\n")
    made: Callable[..., object] = tl.load(path).L
    return made


def _long(folder: Path, equations: int) -> str:
    path = folder / f"long_{equations}.tl"
    path.write_text(long_layer(equations))
    return str(path)


@pytest.mark.parametrize("batch", [64, 1024])
def test_a_kronecker_layer_costs_the_power_three_halves_of_the_width(
    tmp_path: Path, batch: int
) -> None:
    exact = """
        dim   o1 = a, o2 = a, i1 = a, i2 = a
        input X[b, (i1 i2)]
        param A[o1, i1], B[o2, i2] ~ kaiming
        output Y[b, (o1 o2)] = A[o1, i1] * B[o2, i2] * X[b, (i1 i2)]
    """
    low = """
        dim   o1 = a, o2 = a, i1 = a, i2 = a
        input X[b, (i1 i2)]
        param A[o1, r], C[r, i1], B[o2, i2] ~ kaiming
        output Y[b, (o1 o2)] = A[o1, r] * C[r, i1] * B[o2, i2] * X[b, (i1 i2)]
    """

    def grows(text: str, names: str, **own: int) -> float:
        layer = _spec(tmp_path, text, names)
        return _exponent(lambda a: _cost(layer(a=a, **own), "flops", X=(batch, a * a)), 32)

    assert 2.9 < grows(exact, "a") <= 3.01  # the width is a^2
    dense = _cost(_spec(tmp_path, exact, "a")(a=64), "flops", X=(batch, 64**2))
    thin = _cost(_spec(tmp_path, low, "a, r")(a=64, r=2), "flops", X=(batch, 64**2))
    assert thin < 0.6 * dense

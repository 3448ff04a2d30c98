"""Profiles of devices: read from files, hashed into headers; prices follow shapes and copies."""

from __future__ import annotations

from pathlib import Path

import pytest

from tensorlang.driver import compile_file
from tensorlang.order.prices import price
from tensorlang.order.profile import PROFILES, BadProfile, profile_of, share, to_json
from tensorlang.order.trees import Product
from tensorlang.requests import BadRequest
from tests.example_cases import EXAMPLES

CPU = PROFILES["cpu"]


def test_a_profile_goes_through_its_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(to_json(CPU))
    assert profile_of(str(path)) == CPU
    text = _header(path)
    assert "mine.json:" in text
    assert str(tmp_path) not in text
    path.write_text(to_json(PROFILES["a100"]))
    assert _header(path) != text
    assert profile_of(str(path)) == PROFILES["a100"]


def _header(profile: Path) -> str:
    return compile_file(EXAMPLES / "linear.tl", profile=str(profile)).header


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"name": "x"}', to_json(CPU).replace(str(CPU.flops), "-1")]
)
def test_what_is_no_profile_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(BadProfile):
        profile_of(str(path))


def test_an_unknown_profile_is_a_bad_request(tmp_path: Path) -> None:
    from tensorlang.driver import compile_file

    spec = tmp_path / "one.tl"
    spec.write_text("layer One():\n    input X[n]\n    output Y[n] = X\n")
    for name in ("abacus", str(tmp_path / "none.json")):
        with pytest.raises(BadRequest):
            compile_file(spec, profile=name)


def test_a_curve_rises_and_ends() -> None:
    assert share(CPU.rows, 1) < share(CPU.rows, 3) < share(CPU.rows, 100) <= 1
    assert share(CPU.rows, 1 << 20) == share(CPU.rows, 1 << 21)


def test_a_thin_product_costs_more_than_its_share() -> None:
    for profile in (CPU, PROFILES["h100"]):
        whole = profile.gemm(1, 512, 512, 512, 0.0) - profile.launch
        thin = profile.gemm(1, 4, 512, 512, 0.0) - profile.launch
        assert thin > 1.2 * whole * 4 / 512


def test_sums_across_both_sides_of_a_product_pay_for_a_copy() -> None:
    # X[n, i, j] A[i, k, r] B[r, j, l]: after X A the axes j and r lie apart
    x, a, b = frozenset({0, 1, 2}), frozenset({1, 3, 5}), frozenset({5, 2, 4})
    product = Product((x, a, b), frozenset({0, 3, 4}))
    sizes = {0: 1024, 1: 32, 2: 32, 3: 32, 4: 32, 5: 8}
    chain = price(product, ((0, 1), (2, 3)), sizes, CPU)
    weight = price(product, ((1, 2), (0, 3)), sizes, CPU)
    assert weight < chain


def test_the_command_measures_what_it_can_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from click.testing import CliRunner

    from tensorlang import cli, profiling

    monkeypatch.setattr(profiling, "_SECONDS", 0.001)
    monkeypatch.setattr(profiling, "SIDE", 32)
    path = tmp_path / "mine.json"
    ran = CliRunner().invoke(cli.tensorlang, ["profile", "-o", str(path)])
    assert ran.exit_code == 0, ran.output
    made = profile_of(str(path))
    assert made.name == "cpu"
    assert made.gemm(4, 64, 64, 64, 1e5) > made.launch > 0
    bad = CliRunner().invoke(cli.tensorlang, ["profile", "--device", "abacus"])
    assert bad.exit_code == 2

"""Kernels compiled for chips that are not there: no spills, shared memory within the chip's."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

import tensorlang as tl
from tensorlang.backends.triton import attention, third
from tensorlang.backends.triton.attention_parts import Attention
from tensorlang.backends.triton.build import call, integer
from tensorlang.backends.triton.check import CHIPS, Job, KernelReport, check, compiled
from tensorlang.backends.triton.configs import ATTENTION, THIRD, AttentionConfigs, padded
from tensorlang.backends.triton.kernel_ir import Expr, Iota, Kernel
from tensorlang.backends.triton.print import to_triton
from tests.chips import skip_unless_asked
from tests.example_cases import EXAMPLES

pytest.importorskip("triton")

OTHERS = [pytest.param(arch, marks=pytest.mark.targets) for arch in ("sm_80", "gfx942")]
SPECS = sorted(path.stem for path in EXAMPLES.glob("*.tl"))
PLAIN = {"conv2d", "embedding", "linear", "tensorised"}


@pytest.fixture(autouse=True)
def _only_on_request(request: pytest.FixtureRequest) -> None:
    skip_unless_asked(request)


@functools.cache
def _source(name: str) -> str:
    return tl.compile(str(EXAMPLES / f"{name}.tl"), target="triton").source


def _fit(reports: Sequence[KernelReport]) -> None:
    problems = [f"{r.name} for {r.arch}: {r.problem}" for r in reports if r.problem]
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("arch", ["sm_90", *OTHERS])
@pytest.mark.parametrize("name", SPECS)
def test_every_example(name: str, arch: str) -> None:
    reports = check(_source(name), arch)
    assert bool(reports) or name in PLAIN, "nothing was fused"
    _fit(reports)


# --- shipped configurations ----------------------------------------------------------------------
CAUSAL = call("le", Iota("j"), Iota("i"))
WINDOW = call(
    "and", CAUSAL, call("lt", call("add", Iota("i"), call("neg", Iota("j"))), integer(99))
)


Family = tuple[AttentionConfigs, Callable[[Attention], Sequence[Kernel]]]
SINGLE: Family = (ATTENTION, attention.kernels)
PAIRS: Family = (THIRD, third.kernels)


def _within(key: str, width: int) -> Expr:
    query, at = Iota("i"), Iota(key)
    near = call("lt", call("sub", query, at), integer(width))
    return call("and", call("le", at, query), near)


PAIRS_WINDOW = call("and", _within("j", 512), _within("k", 99))


def _jobs(
    arch: str, precision: str, width: int, condition: Expr | None, family: Family = SINGLE
) -> list[Job]:
    spec = Attention(f"a{width}", 2, width, width, 0.125, condition)
    configs, kernels = family
    jobs = []
    for kernel in kernels(spec):
        what = kernel.name.removeprefix(f"{spec.name}_")
        what = "keys" if what in ("first", "second") else what
        table = configs.table(what, padded(width))
        config = table.get(f"{precision} {CHIPS[arch]}", table[precision])
        if config is None:
            continue
        kinds = tuple((t.name, t.dtype.value) for t in kernel.tensors)
        text = to_triton(kernel).removeprefix("@triton.jit\n")
        stages = 1 if arch.startswith("gfx") else config.stages
        blocks = dict(config.blocks)
        jobs.append(Job(kernel.name, text, kinds, blocks, config.warps, stages, precision, arch))
    return jobs


@pytest.mark.parametrize("width", [64, 128])
def test_wide_heads(width: int) -> None:
    _fit(compiled(_jobs("sm_90", "half", width, CAUSAL)))


@pytest.mark.parametrize("width", [64, 128])
def test_wide_heads_of_pairs(width: int) -> None:
    for condition in (None, PAIRS_WINDOW):
        _fit(compiled(_jobs("sm_90", "half", width, condition, PAIRS)))


@pytest.mark.targets
@pytest.mark.parametrize("precision", ["half", "float", "double"])
@pytest.mark.parametrize("arch", CHIPS)
def test_shipped_configurations(arch: str, precision: str) -> None:
    jobs = []
    for width in (30, 32, 48, 64, 80, 96, 120, 128):
        for condition in (None, WINDOW):
            jobs += _jobs(arch, precision, width, condition)
    _fit(compiled(jobs))


@pytest.mark.targets
@pytest.mark.parametrize("precision", ["half", "float", "double"])
@pytest.mark.parametrize("arch", CHIPS)
def test_shipped_configurations_of_pairs(arch: str, precision: str) -> None:
    jobs = []
    for width in (32, 48, 64, 96, 128):
        for condition in (None, PAIRS_WINDOW):
            jobs += _jobs(arch, precision, width, condition, PAIRS)
    _fit(compiled(jobs))


NUMBER = """
layer Number(d = 3):
    input X[n, d], s
    output Y[n, d] = tanh(X * s) * sigmoid(X + s)
"""


@pytest.mark.parametrize("precision", ["half", "float", "double"])
def test_a_gradient_of_one_number_summed_over_rows(tmp_path: Path, precision: str) -> None:
    path = tmp_path / "number.tl"
    path.write_text(NUMBER)
    reports = check(tl.compile(path, target="triton").source, "sm_90", precision)
    assert len(reports) == 2
    _fit(reports)


def test_an_unknown_chip_is_refused() -> None:
    with pytest.raises(ValueError, match="no such chip"):
        check("", "sm_1")


def test_a_module_without_kernels_has_no_reports() -> None:
    assert check("import torch\n", "sm_90") == []

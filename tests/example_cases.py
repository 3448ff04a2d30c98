"""The table of example layers: hyperparameters, inputs and the hand-written oracle of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tests.oracles import (
    attention,
    conv2d,
    digits,
    equivariant,
    fastfood,
    flora,
    forces,
    grassmann,
    indexing,
    kernel_density,
    linear,
    linear_attention,
    norms,
    poisson,
    tensorised,
    third_order,
)

EXAMPLES = Path(__file__).parent.parent / "examples"

Sizes = Mapping[str, int]
SMALL: Sizes = {"b": 2, "n": 5, "m": 4, "t": 6, "x": 7, "y": 6, "e": 9, "q": 3, "s": 4, "k": 3}
LARGE: Sizes = {"b": 3, "n": 11, "m": 7, "t": 13, "x": 9, "y": 11, "e": 17, "q": 5, "s": 8, "k": 2}
ONES: Sizes = dict.fromkeys(SMALL, 1)


@dataclass(frozen=True)
class Given:
    """An input: its axes (a name is a dynamic dim), and for ints the bound of its values."""

    axes: tuple[str | int, ...]
    kind: str = "real"
    below: str | int = 0

    def shape(self, sizes: Sizes) -> tuple[int, ...]:
        return tuple(sizes[a] if isinstance(a, str) else a for a in self.axes)

    def draw(self, sizes: Sizes, generator: torch.Generator) -> Tensor:
        shape = self.shape(sizes)
        match self.kind:
            case "int":
                below = sizes[self.below] if isinstance(self.below, str) else self.below
                return torch.randint(below, shape, generator=generator)
            case "bool":
                return torch.rand(shape, generator=generator) < 0.6
            case _:
                return torch.randn(shape, generator=generator, dtype=torch.float64)


def real(*axes: str | int) -> Given:
    return Given(axes)


def ints(below: str | int, *axes: str | int) -> Given:
    return Given(axes, "int", below)


def bools(*axes: str | int) -> Given:
    return Given(axes, "bool")


Oracle = Callable[..., Tensor | tuple[Tensor, ...]]


@dataclass(frozen=True)
class Case:
    """One example layer. `keys` are the state_dict keys; `ones` says that all sizes may be 1."""

    file: str
    layer: str
    hypers: Mapping[str, Any]
    oracle: Oracle
    inputs: tuple[Given, ...]
    keys: tuple[str, ...] = ()
    ones: bool = field(default=True)

    @property
    def name(self) -> str:
        hypers = "-".join(str(v) for v in self.hypers.values())
        return f"{self.file}-{self.layer}-{hypers}".replace(" ", "")

    @property
    def path(self) -> Path:
        return EXAMPLES / f"{self.file}.tl"

    def draw(self, sizes: Sizes, seed: int = 0) -> tuple[Tensor, ...]:
        generator = torch.Generator().manual_seed(seed)
        return tuple(given.draw(sizes, generator) for given in self.inputs)


ATTENTION = ("Wq", "Wk", "Wv", "Wo")
BLOCK = ("g1", "g2", *(f"{sub}.{key}" for sub in ("rows", "cols") for key in ATTENTION))
MIXER = ("g", "W1", "W2", "b1", "b2", *(f"axes.{key}" for key in BLOCK))
THIRD = ("Wq", "Wk1", "Wk2", "Wv1", "Wv2", "Wo")
MIXING = ("Wz", "bz", "Wp", "bp")
GRASSMANN = ("Wh", "Wg", "W1", "W2", "bg", "b1", "b2", "n1", "n2", "g1", "g2")
CONV = ("W", "bias")
PAIR = ("pair.W1", "pair.W2", "pair.b1", "pair.b2", "pair.v")
EDGES = (real("n", 3), ints("n", "e"), ints("n", "e"))
RADIAL = {"cutoff": 2.0, "k": 4, "f": 3}
FIELD = ("W1", "W2", "v", "b1", "b2")
LINEAR_QKV = tuple(real("b", "n", c) for c in (3, 3, 2))
TRILINEAR = (real("b", "n", 3),) * 5


def _conv(layer: str, oracle: Oracle, k: int, stride: int, dilation: int) -> Case:
    hypers = {"i": 2, "o": 3, "k": k, "stride": stride, "dilation": dilation}
    return Case(
        "conv2d", layer, hypers, oracle, (real("b", 2, "x", "y"),), CONV, ones=layer != "Conv2d"
    )


CASES: tuple[Case, ...] = (
    Case("linear", "Linear", {"i": 3, "o": 5}, linear.linear, (real("b", "n", 3),), ("W", "b")),
    Case(
        "mlp", "MLP", {"d": 3, "f": 5}, linear.mlp, (real("b", "n", 3),), ("W1", "W2", "b1", "b2")
    ),
    Case(
        "mlp", "GatedMLP", {"d": 3, "f": 5}, linear.gated_mlp, (real("b", 3),), ("Wg", "Wu", "Wo")
    ),
    Case("norms", "RMSNorm", {"d": 5}, norms.rms_norm, (real("b", "n", 5),), ("g",)),
    Case("norms", "LayerNorm", {"d": 5}, norms.layer_norm, (real("b", "n", 5),), ("g", "b")),
    Case(
        "attention",
        "MultiHeadAttention",
        {"d": 6, "heads": 2},
        attention.self_attention,
        (real("b", "n", 6),),
        ATTENTION,
    ),
    Case(
        "attention",
        "MultiHeadAttention",
        {"d": 6, "heads": 3, "causal": True},
        attention.self_attention,
        (real("b", "n", 6),),
        ATTENTION,
    ),
    Case(
        "attention",
        "WindowAttention",
        {"d": 6, "heads": 2, "window": 3},
        attention.window_attention,
        (real("b", "n", 6),),
        ATTENTION,
    ),
    Case(
        "attention",
        "CrossAttention",
        {"d": 6, "heads": 2},
        attention.cross_attention,
        (real("b", "n", 6), real("b", "m", 6), bools("b", "m")),
        ATTENTION,
    ),
    Case(
        "attention",
        "GroupedQueryAttention",
        {"d": 24, "heads": 6, "groups": 2},
        attention.grouped_query_attention,
        (real("b", "n", 24),),
        ATTENTION,
    ),
    Case(
        "axial",
        "AxialAttention",
        {"d": 6, "heads": 2},
        attention.self_attention,
        (real("b", "x", "n", 6),),
        ATTENTION,
    ),
    Case(
        "axial",
        "AxialAttention",
        {"d": 6, "heads": 2, "causal": True},
        attention.self_attention,
        (real("n", 6),),
        ATTENTION,
    ),
    Case(
        "axial",
        "AxialBlock",
        {"d": 6, "heads": 2},
        attention.axial_block,
        (real("b", "x", "y", 6),),
        BLOCK,
    ),
    Case(
        "axial",
        "AxialPair",
        {"d": 6, "heads": 3},
        attention.axial_pair,
        (real("b", "x", "y", 6),),
        BLOCK[2:],
    ),
    Case("third_order", "Trilinear", {"scale": 0.5}, third_order.trilinear, TRILINEAR),
    Case(
        "third_order",
        "ThirdOrderAttention",
        {"d": 6, "heads": 2},
        third_order.third_order,
        (real("b", "n", 6),),
        THIRD,
    ),
    Case(
        "third_order",
        "ThirdOrderAttention",
        {"d": 6, "heads": 2, "causal": True},
        third_order.third_order,
        (real("b", "n", 6),),
        THIRD,
    ),
    Case("third_order", "Simplicial", {"w1": 4, "w2": 2}, third_order.simplicial, TRILINEAR),
    Case(
        "grassmann",
        "GrassmannMixing",
        {"d": 4, "r": 3, "offsets": [1, 2, 4]},
        grassmann.mixing,
        (real("b", "t", 4),),
        MIXING,
    ),
    Case(
        "grassmann",
        "GrassmannBlock",
        {"d": 4, "r": 4, "f": 5, "offsets": [1, 3]},
        grassmann.block,
        (real("b", "t", 4),),
        (*GRASSMANN, *(f"mixing.{key}" for key in MIXING)),
    ),
    _conv("Conv2d", conv2d.valid, 3, 1, 1),
    _conv("Conv2d", conv2d.valid, 2, 2, 3),
    _conv("Conv2dZero", conv2d.zero, 3, 2, 1),
    _conv("Conv2dWrap", conv2d.wrap, 3, 1, 2),
    _conv("Conv2dReflect", conv2d.reflect, 5, 1, 1),
    _conv("Conv2dClamp", conv2d.clamp, 3, 3, 2),
    Case(
        "flora",
        "FLoRALinear",
        {"i": 5, "o": 4, "ranks": [3, 2], "scale": 0.5},
        flora.linear,
        (real("b", "n", 5),),
        ("W", "bias", *(f"D.{key}" for key in ("core", "o", "i"))),
    ),
    Case(
        "flora",
        "FLoRAConv2d",
        {"i": 2, "o": 3, "k": 3, "ranks": [3, 2, 2, 1], "scale": 0.5},
        flora.conv2d,
        (real("b", 2, "x", "y"),),
        ("W", "bias", *(f"D.{key}" for key in ("core", "o", "i", "u", "v"))),
    ),
    Case(
        "flora",
        "FLoRADepthwise",
        {"d": 4, "k": 3, "ranks": [2, 1, 2], "scale": 0.5},
        flora.depthwise,
        (real("b", 4, "x", "y"),),
        ("W", "bias", *(f"D.{key}" for key in ("core", "d", "u", "v"))),
    ),
    Case(
        "tensorised",
        "TTLinear",
        {"o1": 2, "o2": 3, "i1": 3, "i2": 2, "rank": 3},
        tensorised.tt_linear,
        (real("b", "n", 6),),
        ("bias", "W.0", "W.1"),
    ),
    Case(
        "tensorised",
        "CPLinear",
        {"i": 5, "o": 4, "rank": 3},
        tensorised.cp_linear,
        (real("b", "n", 5),),
        ("bias", "W.o", "W.i"),
    ),
    Case(
        "tensorised",
        "TuckerConv2d",
        {"i": 3, "o": 4, "k": 2, "ranks": [2, 3, 2, 1]},
        tensorised.tucker_conv2d,
        (real("b", 3, "x", "y"),),
        ("bias", *(f"W.{key}" for key in ("core", "o", "i", "u", "v"))),
        ones=False,
    ),
    Case(
        "embedding",
        "Embedding",
        {"v": 7, "s": 8, "d": 3},
        indexing.embedding,
        (ints(7, "b", "n"),),
        ("E", "P"),
    ),
    Case("embedding", "Gather", {}, indexing.gather, (real("b", "n", 3), ints("n", "b", "k"))),
    Case(
        "message_passing",
        "MessagePassing",
        {"d": 3, "f": 4},
        indexing.message_passing,
        (real("n", 3), ints("n", "e"), ints("n", "e")),
        ("Ws", "Wt", "Wo", "b"),
    ),
    Case(
        "message_passing",
        "MeanMax",
        {},
        indexing.mean_max,
        (real("n", 3), ints("n", "e"), ints("n", "e")),
    ),
    Case(
        "forces",
        "LennardJones",
        {"depth": 0.5, "radius": 0.7},
        forces.lennard_jones,
        (real("b", "n", 3),),
    ),
    Case("forces", "PairPotential", RADIAL, forces.pair_potential, EDGES, PAIR),
    Case(
        "forces",
        "ForceLoss",
        RADIAL,
        forces.force_loss,
        (*EDGES, real("n", 3)),
        tuple(f"model.{key}" for key in PAIR),
    ),
    Case(
        "forces",
        "HessianVector",
        RADIAL,
        forces.hessian_vector,
        (*EDGES, real("n", 3)),
        tuple(f"model.{key}" for key in PAIR),
    ),
    Case("poisson", "Field", {"d": 3, "w": 4}, poisson.field, (real("b", "n", 3),), FIELD),
    Case(
        "poisson",
        "Laplacian",
        {"d": 2, "w": 4},
        poisson.laplacian,
        (real("n", 2),),
        tuple(f"u.{key}" for key in FIELD),
    ),
    Case(
        "poisson",
        "Residual",
        {"d": 3, "w": 4},
        poisson.residual,
        (real("n", 3),),
        tuple(f"field.u.{key}" for key in FIELD),
    ),
    Case(
        "kernel_density",
        "KernelDensity",
        {"bandwidth": 0.7},
        kernel_density.kernel_density,
        (real("b", "q", 2), real("s", 2)),
    ),
    Case(
        "linear_attention",
        "LinearAttention",
        {"d": 6, "heads": 2},
        linear_attention.linear_attention,
        (real("b", "n", 6),),
        ATTENTION,
    ),
    Case("linear_attention", "PrefixSum", {}, linear_attention.prefix_sum, LINEAR_QKV),
    Case(
        "digits",
        "Mixer",
        {"d": 4, "heads": 2, "f": 3},
        digits.mixer,
        (real("b", "x", "y", 4),),
        MIXER,
    ),
    Case(
        "digits",
        "Digits",
        {"x": 4, "y": 3, "d": 4, "heads": 2, "f": 3, "depth": 2, "k": 3},
        digits.digits,
        (real("b", 4, 3),),
        (
            "We",
            "Px",
            "Py",
            "g",
            "query",
            "Wk",
            "bk",
            *(f"blocks.{s}.{key}" for s in range(2) for key in MIXER),
        ),
    ),
    Case(
        "equivariant",
        "CGProduct",
        {"u": 2, "most": 1, "edges": 2},
        equivariant.cg_product,
        (real("b", 2, 4), real("b", 9), real("b", 5, 2)),
    ),
    Case(
        "equivariant",
        "CGConvolution",
        {"u": 2, "most": 2, "edges": 3},
        equivariant.cg_convolution,
        (real("n", 2, 9), real("e", 3), real("e", 13, 2), ints("n", "e"), ints("n", "e")),
    ),
    Case(
        "equivariant",
        "SharedCGProduct",
        {"u": 3, "most": 2},
        equivariant.shared_cg_product,
        (real("b", 3, 9), real("b", 3, 9)),
        ("w",),
    ),
    Case(
        "equivariant",
        "GauntProduct",
        {"u": 3, "most": 2},
        equivariant.gaunt_product,
        (real("b", 3, 9), real("b", 3, 9)),
    ),
    Case(
        "fastfood",
        "Fastfood",
        {"n": 256, "sigma": 16.0},
        fastfood.fastfood,
        (real("b", "t", 256),),
    ),
    Case(
        "fastfood",
        "AdaptiveFastfood",
        {"n": 512},
        fastfood.adaptive_fastfood,
        (real("b", 512),),
        ("b", "g", "s"),
    ),
    Case(
        "fastfood",
        "SubspaceLinear",
        {"i": 6, "o": 5, "d": 7, "n": 32},
        fastfood.subspace_linear,
        (real("b", 6),),
        ("W", "v"),
    ),
)

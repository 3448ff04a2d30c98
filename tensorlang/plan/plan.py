"""What the planner decides and emitters print, in order: regions of steps, final."""

from __future__ import annotations

from dataclasses import dataclass, field

from tensorlang.check.program import Program
from tensorlang.ir.nodes import Node, NodeId, Read
from tensorlang.size import Size
from tensorlang.source import Span

Slot = int
Monomials = dict[tuple[tuple[str, int], ...], int]
"""A cost as a polynomial in the dynamic sizes: {((name, power), …): coefficient}."""


@dataclass(frozen=True, slots=True)
class Step:
    """Slot `out` = node, whose reads name slots. A Contract has at most two reads here.

    Axes of the node are in the order the planner wants them in memory.
    """

    out: Slot
    node: Node
    name: str  # a readable name for the value, unique in the plan
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Attention:
    """A softmax-contraction, fusible: out = sum_k softmax_k(scale * q·k + bias | mask) v.

    Axis numbers are local indices of `sizes`: `batch` shared by all, `query` and `key` (one index
    each, for K1), `feature` summed in the logits, `value` of the output. Each read gives q, k, v in
    these local indices. `mask` is a bool read over (batch, query, key), `bias` a real one.
    """

    q: Read
    k: Read
    v: Read
    mask: Read | None
    bias: Read | None
    scale: float
    sizes: tuple[Size, ...]
    batch: tuple[int, ...]
    query: tuple[int, ...]
    key: tuple[int, ...]
    feature: tuple[int, ...]
    value: tuple[int, ...]
    out_axes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class AttentionStep:
    out: Slot
    attention: Attention
    name: str
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Projection:
    """One output of a merged GEMM: several contractions of one value with different params."""

    out: Slot
    node: Node
    name: str
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class ProjectionsStep:
    """Projections that share their input, computed as one GEMM and split."""

    projections: tuple[Projection, ...]


AnyStep = Step | AttentionStep | ProjectionsStep


@dataclass(frozen=True, slots=True)
class Cost:
    """Expected cost, polynomials in the dynamic sizes: 2 FLOPs a multiply-add, float32 bytes."""

    flops: Monomials
    bytes: Monomials
    peak_bytes: Monomials
    saved_bytes: Monomials = field(default_factory=dict)
    """Inputs and values that stay for the backward pass."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """The regime holds while sum(coefficient * monomial of the sizes) >= 0."""

    form: tuple[tuple[tuple[tuple[str, int], ...], int], ...]


@dataclass(frozen=True, slots=True)
class Regime:
    steps: tuple[AnyStep, ...]
    thresholds: tuple[Threshold, ...]  # all must hold; the last regime of a region has none
    cost: Cost
    kept: bool | None = None
    """Whether it is for calls that keep what is made of parameters alone; None: for all calls."""
    if_kept: tuple[Threshold, ...] | None = None
    """What must hold for such calls, where that is not the same; the sizes are compared alike."""
    kept_cost: Cost | None = None
    """What such calls cost, where that is less."""

    @property
    def asks(self) -> bool:
        """Whether a call must say if it keeps what is made of parameters alone."""
        return self.kept is not None or self.when(kept=True) != self.thresholds

    def serves(self, kept: bool) -> bool:
        """Whether it is for such calls."""
        return self.kept is None or self.kept is kept

    def when(self, kept: bool) -> tuple[Threshold, ...]:
        """What must hold for such calls."""
        return self.if_kept if kept and self.if_kept is not None else self.thresholds


@dataclass(frozen=True, slots=True)
class Region:
    inputs: tuple[Slot, ...]
    outputs: tuple[Slot, ...]
    regimes: tuple[Regime, ...]
    backend: str  # "torch", or a family of kernels: "K1", "K5"
    reason: str  # why this backend, for the report
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """One layer, one axis signature. Slots below are what emitters bind before the first region."""

    program: Program
    inputs: tuple[Slot, ...]
    params: tuple[tuple[str, Slot], ...]
    consts: tuple[tuple[str, Slot, NodeId], ...]
    regions: tuple[Region, ...]
    outputs: tuple[Slot, ...]
    shapes: dict[Slot, tuple[Size, ...]] = field(default_factory=dict)
    leaves: dict[Slot, Node] = field(default_factory=dict)
    """The nodes of inputs, params and consts: their shapes, dtypes and values."""
    stored: dict[Slot, tuple[int, ...]] = field(default_factory=dict)
    """Params whose axes lie otherwise than declared: from slowest to fastest."""

    def stored_names(self) -> dict[str, tuple[int, ...]]:
        """The same by the names of params."""
        return {name: self.stored[slot] for name, slot in self.params if slot in self.stored}


@dataclass(frozen=True, slots=True)
class Unit:
    """One class of the emitted file: a layer with bound hyperparameters.

    `plans` has a plan per axis signature that callers ask for; "" (as written) is always there.
    `subs` are the child modules: attribute name, class name in the file, stages (None if no stack).
    """

    class_name: str
    program: Program
    plans: dict[str, Plan]
    subs: tuple[tuple[str, str, int | None], ...]

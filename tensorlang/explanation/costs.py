"""Costs of a plan at given sizes: numbers, or polynomials in the dynamic sizes of the root layer.

Costs are those that the planner put down; here they get values and are added up over sub-layers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import sympy

from tensorlang.check.program import Program
from tensorlang.driver import Compiled
from tensorlang.dtype import Dtype
from tensorlang.ir.nodes import Call
from tensorlang.order.grid import middle
from tensorlang.plan.cost import flops as step_flops
from tensorlang.plan.cost import moved
from tensorlang.plan.plan import AnyStep, Monomials, Plan, Regime, Slot, Step
from tensorlang.plan.slots import typed_shapes
from tensorlang.plan.weights import weight_steps
from tensorlang.size import Size

Sizes = Mapping[str, Size]
Count: TypeAlias = int | sympy.Expr


@dataclass(frozen=True)
class Totals:
    """FLOPs (2 a multiply-add), bytes moved, alive at once, and kept for backward (float32)."""

    flops: Count
    bytes: Count
    peak_bytes: Count
    saved_bytes: Count = 0


@dataclass(frozen=True)
class Scope:
    """A plan of a class in the file, with values or expressions for its dynamic sizes."""

    compiled: Compiled
    class_name: str
    signature: str
    sizes: Sizes

    @property
    def program(self) -> Program:
        return self.compiled.stages[self.class_name, self.signature].program

    @property
    def plan(self) -> Plan:
        return self.compiled.stages[self.class_name, self.signature].plan

    def value(self, cost: Monomials) -> Count:
        """A polynomial at these sizes."""
        total: Count = 0
        for monomial, coefficient in cost.items():
            term: Count = coefficient
            for name, power in monomial:
                term = term * self._named(name) ** power
            total = total + term
        return total if isinstance(total, int) else sympy.expand(total)

    def middling(self, count: Count) -> float:
        """A number as it is; a polynomial where every size is in the middle of its range."""
        if isinstance(count, int):
            return float(count)
        point = middle([symbol.name for symbol in count.free_symbols], self.compiled.options)
        return float(count.subs({symbol: point[symbol.name] for symbol in count.free_symbols}))

    def size(self, size: Size) -> Count:
        if isinstance(size, int):
            return size
        known = {symbol: self.sizes[symbol.name] for symbol in size.free_symbols}
        value = size.subs(known)
        return int(value) if value.is_Integer else value

    def regime(self, regimes: Sequence[Regime], kept: bool = False) -> Regime:
        """The first whose thresholds hold; the last one where the sizes are not known.

        Of those for calls that keep what is made of parameters alone, or of the others.
        """
        serving = [regime for regime in regimes if regime.serves(kept)]
        for regime in serving:
            values = [self.value(dict(threshold.form)) for threshold in regime.when(kept)]
            if all(isinstance(value, int) and value >= 0 for value in values):
                return regime
        return serving[-1]

    def kept(self, regime: Regime) -> frozenset[Slot]:
        """What a regime makes of parameters alone, and keeps in eval()."""
        plan = self.plan
        params, consts = [slot for _, slot in plan.params], [slot for _, slot, _ in plan.consts]
        found, _ = weight_steps(plan.program, regime.steps, params, consts, plan.outputs)
        return frozenset(step.out for step in found)

    def step(self, step: AnyStep) -> Totals:
        """Cost of one step on its own; of a call, what the sub-layer costs."""
        if isinstance(step, Step) and isinstance(step.node.op, Call):
            if step.node.op.output:
                return Totals(0, 0, 0)  # counted at the first output
            return self.call(step)[1]
        own = self.value(moved(step, self._held))
        return Totals(self.value(step_flops(step)), own, 0)

    def call(self, step: Step) -> tuple[Scope, Totals]:
        """The sub-layer that a step calls, at the sizes of this call, and what all stages cost."""
        inner, stages = self.callee(step)
        totals = inner.totals
        times = 1 if stages is None else stages
        stays = totals.saved_bytes * times
        return inner, Totals(totals.flops * times, totals.bytes * times, totals.peak_bytes, stays)

    def callee(self, step: Step) -> tuple[Scope, int | None]:
        """The sub-layer that a step calls, and its number of stages."""
        call = step.node.op
        assert isinstance(call, Call), step
        (unit,) = (unit for unit in self.compiled.units if unit.class_name == self.class_name)
        ((_, callee, stages),) = (sub for sub in unit.subs if sub[0] == call.sub)
        program = self.compiled.stages[callee, call.signature].program
        sizes: dict[str, Size] = {}
        for given, read in zip(program.inputs, step.node.reads, strict=True):
            for axis, size in zip(given.axes, self.plan.shapes[read.node], strict=True):
                if isinstance(axis.size, sympy.Symbol):
                    sizes[axis.size.name] = self.size(size)
        return Scope(self.compiled, callee, call.signature, sizes), stages

    @cached_property
    def totals(self) -> Totals:
        """The whole layer, sub-layers included."""
        flops: Count = 0
        bytes_: Count = 0
        stays: Count = 0
        peaks: list[Count] = []
        for region in self.plan.regions:
            regime = self.regime(region.regimes)
            flops = flops + self.value(regime.cost.flops)
            bytes_ = bytes_ + self.value(regime.cost.bytes)
            peaks.append(self.value(regime.cost.peak_bytes))
            stays = stays + self.value(regime.cost.saved_bytes)
            for step in regime.steps:
                if isinstance(step, Step) and isinstance(step.node.op, Call):
                    inner = self.step(step)
                    flops, bytes_ = flops + inner.flops, bytes_ + inner.bytes
                    stays = stays + inner.saved_bytes
                    peaks.append(inner.peak_bytes)
        return Totals(flops, bytes_, largest(peaks), stays)

    @cached_property
    def _held(self) -> dict[Slot, tuple[tuple[Size, ...], Dtype]]:
        return typed_shapes(self.plan)

    def _named(self, name: str) -> Count:
        if name in self.sizes:
            return self.sizes[name]
        return self.size(self._opaque[name])

    @cached_property
    def _opaque(self) -> dict[str, sympy.Expr]:
        """Sizes that are no polynomials, by the text that names them in costs."""
        found = {}
        for shape in self.plan.shapes.values():
            for size in shape:
                if isinstance(size, sympy.Expr):
                    found.update({str(part): part for part in sympy.preorder_traversal(size)})
        return found


def largest(counts: Sequence[Count]) -> Count:
    """The maximum; symbolic where one is."""
    if all(isinstance(count, int) for count in counts):
        return max((count for count in counts if isinstance(count, int)), default=0)
    return sympy.Max(*(count for count in counts if count != 0))


def count_parameters(program: Program) -> int:
    """Number of parameters, those of sub-layers included."""
    own = 0
    for param in program.params:
        count = 1
        for axis in param.axes:
            count *= int(axis.size)
        own += count
    subs = ((count_parameters(sub.program), sub.count) for sub in program.subs)
    return own + sum(inner * (1 if count is None else count) for inner, count in subs)

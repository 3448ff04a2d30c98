"""What a family of kernels says about the steps of a layer: which go together, or why they do not.

A family decides; fuse.py walks the steps, keeps groups apart and puts regions in order. To add one:
a file with a `Family`, a row in `fuse.FAMILIES`, a row in `FAMILIES` of backends/triton/emit.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tensorlang.dtype import Dtype
from tensorlang.ir.nodes import Node
from tensorlang.options import Options
from tensorlang.plan.cost import made, used
from tensorlang.plan.plan import AnyStep, Slot, Step
from tensorlang.size import Size

Members = tuple[int, ...]
"""Positions of steps, ascending."""


@dataclass(frozen=True, slots=True)
class Group:
    """Steps that one region computes. `copied` steps are computed again inside its kernel, where
    others may compute them too; they are no members."""

    steps: Members
    reason: str
    copied: Members = ()


class Family(Protocol):
    """Asked in the order of fuse.FAMILIES, each about the steps that those before it left."""

    @property
    def backend(self) -> str: ...

    def offers(self, layer: Layer, k: int, own: Sequence[Members]) -> Iterable[Members] | str:
        """Groups that step k opens or joins, best first: the first that keeps regions in an order
        is formed. Else why the family does not take the step; "" if it is of another kind.

        `own` are the groups of this family that k reads: an offer holds one whole or not at all.
        Members may come after k, if nobody has taken them.
        """
        ...

    def judge(self, layer: Layer, members: Members) -> Group | str:
        """The group that was formed, once all are; or why torch computes it after all."""
        ...


@dataclass(slots=True)
class Layer:
    """The steps of a layer and who reads what. `needed`: slots that are read outside of it."""

    steps: Sequence[AnyStep]
    shapes: Mapping[Slot, tuple[tuple[Size, ...], Dtype]]
    needed: frozenset[Slot]
    options: Options
    leaves: Mapping[Slot, Node] = field(default_factory=dict)
    """The nodes of inputs, params and consts."""
    maker: dict[Slot, int] = field(default_factory=dict)
    readers: dict[Slot, list[int]] = field(default_factory=dict)
    sources: list[list[int]] = field(default_factory=list)
    """The steps that each step reads."""

    def __post_init__(self) -> None:
        self.maker = {slot: k for k, step in enumerate(self.steps) for slot in made(step)}
        for k, step in enumerate(self.steps):
            reads = dict.fromkeys(used(step))
            for slot in reads:
                self.readers.setdefault(slot, []).append(k)
            self.sources.append(sorted({self.maker[s] for s in reads if s in self.maker}))

    def plain(self, members: Iterable[int]) -> list[Step]:
        """The steps among members that are single nodes."""
        return [step for step in (self.steps[m] for m in members) if isinstance(step, Step)]

    def wanted(self, members: Members) -> frozenset[Slot]:
        """Values of members that others read."""
        inside = set(members)
        return frozenset(
            slot
            for m in members
            for slot in made(self.steps[m])
            if slot in self.needed or any(r not in inside for r in self.readers.get(slot, ()))
        )

"""A sub-layer, one call of it, and the form in which the call needs the callee."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tensorlang.check.program import Index, Output, Value
from tensorlang.source import Span

if TYPE_CHECKING:
    from tensorlang.check.session import Interface
    from tensorlang.check.spec import LayerSource


Indices = tuple[Index, ...]


@dataclass(frozen=True, slots=True)
class SubLayerInfo:
    """A declared sub-layer. `interface` is None where a mistake was reported."""

    name: str
    source: LayerSource | None
    bind: tuple[tuple[str, Value], ...]
    count: int | None
    interface: Interface | None
    span: Span


@dataclass(frozen=True, slots=True)
class Form:
    """How the axes of a callee's tensors lie in one call.

    `batch` names what its `...` stands for ("..." is itself flattened). An axis k of input i is the
    callee's expanded axis `inputs[i][k]`, likewise for outputs.
    """

    batch: tuple[str, ...]
    inputs: tuple[tuple[int, ...], ...]
    outputs: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Match:
    """Which caller's index each index of the callee is: one tuple a slot, None for `...`."""

    sub: SubLayerInfo
    inputs: tuple[tuple[Indices | None, ...], ...]
    outputs: tuple[tuple[Indices | None, ...], ...]

    def consumed(self, k: int) -> Indices:
        return tuple(index for slot in self.inputs[k] if slot for index in slot)


@dataclass(frozen=True, slots=True)
class PendingCall:
    """A call whose form of the callee is checked once the statement is."""

    sub: SubLayerInfo
    form: Form | None
    inputs: tuple[str, ...]
    outputs: tuple[Output, ...]
    span: Span

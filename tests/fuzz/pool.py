"""What a random program has at hand: dims, indices in scope, tensors that may be read."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.fuzz.decisions import Decisions

STATIC = {"p": (1, 2, 3, 5), "q": (1, 2, 3, 4), "r": (2, 3, 5, 7)}  # sizes that hypers may have
DYNAMIC = ("n", "m", "e")  # sizes that inputs bring
DOTS = "..."


@dataclass(frozen=True)
class Tensor:
    """Axes are dims, or pairs of dims for a group; `into` is the dim that an int tensor indexes."""

    name: str
    axes: tuple[str | tuple[str, str], ...]
    kind: str = "real"
    into: str | None = None


@dataclass
class Pool:
    """The state of one program under construction."""

    rng: Decisions
    dims: dict[str, int | None] = field(default_factory=dict)  # None: dynamic
    tensors: list[Tensor] = field(default_factory=list)
    defs: list[str] = field(default_factory=list)
    counter: int = 0
    empty: bool = False  # dynamic dims may have size 0: nothing may be read at fixed positions

    def fresh(self, prefix: str) -> str:
        self.counter += 1
        return f"{prefix}{self.counter}"

    def dim_of(self, index: str) -> str:
        return index.rstrip("'")

    def chance(self, share: float) -> bool:
        return self.rng.random() < share

    def pick(self, options: list[str]) -> str:
        return self.rng.choice(options)

    def inner(self, scope: tuple[str, ...]) -> str:
        """An index that is not in scope."""
        dim = self.rng.choice([d for d in self.dims])
        while dim in scope:
            dim += "'"
        return dim

    def readable(self, kind: str, scope: tuple[str, ...]) -> list[Tensor]:
        """Tensors of a kind that can be read in a scope."""
        return [
            tensor for tensor in self.tensors if tensor.kind == kind and self._fits(tensor, scope)
        ]

    def _fits(self, tensor: Tensor, scope: tuple[str, ...]) -> bool:
        for axis in tensor.axes:
            if axis == DOTS and DOTS not in scope:
                return False
            if isinstance(axis, tuple) and not set(axis) <= set(scope):
                return False
        return True

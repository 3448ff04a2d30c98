"""What a random program has at hand: dims, indices in scope, tensors that may be read."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.fuzz.decisions import Decisions

STATIC = {"p": (1, 2, 3, 5), "q": (1, 2, 3, 4), "r": (2, 3, 5, 7)}  # sizes that hypers may have
DYNAMIC = ("n", "m", "e")  # sizes that inputs bring
DOTS = "..."
Axis = str | tuple[str, str]


@dataclass(frozen=True)
class Tensor:
    """Axes are dims, or pairs of dims for a group.

    `into` is the dim that an int tensor indexes, `own` the indices of its declaration.
    """

    name: str
    axes: tuple[Axis, ...]
    kind: str = "real"
    into: str | None = None
    own: tuple[str, ...] | None = None


@dataclass
class Pool:
    """The state of one program under construction."""

    rng: Decisions
    dims: dict[str, int | None] = field(default_factory=dict)  # None: dynamic or computed
    split: dict[str, tuple[str, str]] = field(default_factory=dict)  # dims that are products
    named: dict[str, str] = field(default_factory=dict)  # further indices and their dims
    tensors: list[Tensor] = field(default_factory=list)
    defs: list[str] = field(default_factory=list)  # of two numbers
    reducers: list[str] = field(default_factory=list)  # along an index
    layers: dict[str, str] = field(default_factory=dict)  # text of the sub-layers in use
    counter: int = 0
    gradients: int = 0
    within: int = 0  # how deep in subscripts a reference stands
    dots: bool = False
    empty: bool = False  # dynamic dims may have size 0: nothing may be read at fixed positions

    def fresh(self, prefix: str) -> str:
        self.counter += 1
        return f"{prefix}{self.counter}"

    def dim_of(self, index: str) -> str:
        bare = index.rstrip("'")
        return self.named.get(bare, bare)

    def chance(self, share: float) -> bool:
        return self.rng.random() > 1 - share

    def pick(self, options: list[str]) -> str:
        return self.rng.choice(options)

    def some(self, least: int, most: int) -> list[str]:
        names = list(self.dims)
        return self.rng.sample(names, min(len(names), self.rng.randint(least, most)))

    def inner(self, scope: tuple[str, ...]) -> str:
        """An index that is not in scope."""
        index = self.rng.choice([*self.dims, *self.named])
        while index in scope:
            index += "'"
        return index

    def readable(self, kind: str, scope: tuple[str, ...]) -> list[Tensor]:
        """Tensors of a kind that can be read in a scope."""
        return [t for t in self.tensors if t.kind == kind and (DOTS not in t.axes or DOTS in scope)]

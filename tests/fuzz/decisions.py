"""Where a random program's choices come from: a seed, or hypothesis, which can then shrink them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import TypeVar

from hypothesis import strategies as st

T = TypeVar("T")


class Decisions:
    """Choices made of numbers below n; small numbers make small programs."""

    def __init__(self, below: Callable[[int], int]) -> None:
        self.below = below

    def random(self) -> float:
        return self.below(4096) / 4096

    def choice(self, options: Sequence[T]) -> T:
        return options[self.below(len(options))] if len(options) > 1 else options[0]

    def randint(self, least: int, most: int) -> int:
        return least + self.below(most - least + 1)

    def sample(self, options: Sequence[T], count: int) -> list[T]:
        left = list(options)
        return [left.pop(self.below(len(left))) for _ in range(count)]

    def shuffle(self, items: list[T]) -> None:
        items[:] = self.sample(items, len(items))


def seeded(seed: str) -> Decisions:
    return Decisions(Random(seed).randrange)


@st.composite
def decisions(draw: st.DrawFn) -> Decisions:
    """A source that hypothesis shrinks towards zeros."""
    return Decisions(lambda n: draw(st.integers(0, n - 1)))

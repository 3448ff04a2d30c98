"""What a step of a tree and a tree cost at given sizes: seconds on a profile, FLOPs, bytes alive.

Sets of indices are masks here, so that a search that prices many steps looks volumes up.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field

from tensorlang.order.profile import Profile
from tensorlang.order.trees import Indices, Pair, Problem, Product, Tree, pairs

ITEM = 4.0
_CALLS = 1000  # that share what is kept
_LOOK_UP = 4  # launches that it takes to see that no parameter has changed


def mask(indices: Indices) -> int:
    """The set as a mask."""
    out = 0
    for index in indices:
        out |= 1 << index
    return out


@dataclass(frozen=True, slots=True)
class Prices:
    """Prices of steps at these sizes on this device."""

    sizes: Mapping[int, int]
    profile: Profile
    volumes: dict[int, float] = field(default_factory=dict)
    known: dict[tuple[int, int, int], float] = field(default_factory=dict)

    def volume(self, indices: int) -> float:
        """Cells of a tensor over these indices."""
        found = self.volumes.get(indices)
        if found is None:
            found = 1.0
            for index, size in self.sizes.items():
                if indices >> index & 1:
                    found *= size
            self.volumes[indices] = found
        return found

    def step(self, a: int, b: int, out: int) -> float:
        """Seconds of one step: a GEMM where indices are summed, else a broadcast product."""
        key = (a, b, out)
        found = self.known.get(key)
        if found is None:
            found = self.known[key] = self._step(a, b, out)
        return found

    def _step(self, a: int, b: int, out: int) -> float:
        volume, profile = self.volume, self.profile
        seconds = 0.0
        for mine, other in ((a, b), (b, a)):
            if mine & ~other & ~out:  # summed on one side alone, before the product
                own = volume(mine & ~other & ~out)
                seconds += profile.stream(ITEM * volume(mine)) if own > 1 else 0.0
        a, b = a & (b | out), b & (a | out)
        size_a, size_b, size_out = volume(a), volume(b), volume(out)
        moved = ITEM * (size_a + size_b + size_out)
        seconds += profile.first_touch(ITEM * size_out)
        k = volume(a & b & ~out)
        if k == 1:
            runs = max(volume(a & ~b), volume(b & ~a))
            return seconds + profile.product(size_out / runs if runs > 1 else 1.0, moved)
        batch = volume(a & b & out)
        m, n = size_a / batch / k, size_b / batch / k
        return seconds + profile.gemm(batch, m, n, k, moved)

    def pair(self, pair: Pair) -> float:
        """Seconds of a step of a tree."""
        return self.step(mask(pair.left_indices), mask(pair.right_indices), mask(pair.result))

    def tree(self, product: Product, tree: Tree, kept: frozenset[int] = frozenset()) -> float:
        """Seconds of a tree; of a pass where there is but one operand.

        What is made of the operands `kept` alone is done once for many calls; each looks it up.
        """
        if len(product.operands) < 2:
            cells = self.volume(mask(product.output))
            cells += sum(self.volume(mask(operand)) for operand in product.operands)
            return self.profile.stream(ITEM * cells)
        steps = list(pairs(product, tree))
        there = _there(steps, kept, len(product.operands))
        priced = sum(
            self.pair(pair) / (_CALLS if k in there else 1) for k, pair in enumerate(steps)
        )
        looked_up = _LOOK_UP * self.profile.launch if there else 0.0
        return priced + looked_up + self.copies(product, steps, there)

    def copies(self, product: Product, steps: Sequence[Pair], there: Container[int]) -> float:
        """Seconds of bringing the summed axes of intermediates together.

        A GEMM leaves the axes of one operand after those of the other; a sum over some of both
        finds them in the middle, whatever the order within each: many small GEMMs, or a copy.
        Beside a batch they are apart, as a batch of vectors across the operands is.
        """
        seconds = 0.0
        sides: dict[int, tuple[int, int]] = {}
        count = len(product.operands)
        for number, pair in enumerate(steps):
            if number in there:
                continue
            a, b = mask(pair.left_indices), mask(pair.right_indices)
            out = mask(pair.result)
            summed = a & b & ~out
            for operand, indices, other in ((pair.left, a, b), (pair.right, b, a)):
                if operand in sides and self.volume(summed) > 1:
                    vectors = (
                        indices & ~summed & ~other & out == 0 or other & ~summed & ~indices == 0
                    )
                    batch = a & b & out if vectors else 0
                    apart = self._together(sides[operand], summed, batch, indices)
                    if apart and not a & b & out and not vectors:
                        apart = min(apart, self._many(sides[operand], summed, other, out))
                    seconds += apart
            sides[count + number] = (a & out & ~b, b & out & ~a)
        return seconds

    def _together(self, sides: tuple[int, int], summed: int, batch: int, indices: int) -> float:
        across = any(a & summed and b & batch for a, b in (sides, sides[::-1]))
        if not across and any(not side & summed or side & ~summed == 0 for side in sides):
            return 0.0
        return self.profile.permuted(2 * ITEM * self.volume(indices))

    def _many(self, sides: tuple[int, int], summed: int, other: int, out: int) -> float:
        """What many small GEMMs, one for each cell of the rest of one side, cost beyond one."""
        before, after = (self.volume(side & ~summed) for side in sides)
        if min(before, after) <= 1:
            return 0.0
        k, columns = self.volume(summed), self.volume(other & out)
        moved = ITEM * (before * after * (k + columns) + k * columns)
        one = self.profile.gemm(1, before * after, columns, k, moved)
        return max(0.0, self.profile.gemm(before, after, columns, k, moved) - one)


class Cells(Prices):
    """Steps priced by their results, the large ones above all."""

    def step(self, a: int, b: int, out: int) -> float:
        return self.volume(out) ** 2


def _there(steps: Sequence[Pair], kept: frozenset[int], count: int) -> set[int]:
    """Numbers of the steps that only multiply what is kept."""
    made = set(kept)
    for number, pair in enumerate(steps):
        if pair.left in made and pair.right in made:
            made.add(count + number)
    return {number - count for number in made if number >= count}


def unkept(problem: Problem, tree: Tree) -> list[Pair]:
    """The steps of a tree that every call takes."""
    steps = list(pairs(problem.product, tree))
    there = _there(steps, problem.kept, len(problem.product.operands))
    return [pair for number, pair in enumerate(steps) if number not in there]


def price(
    product: Product,
    tree: Tree,
    sizes: Mapping[int, int],
    profile: Profile,
    kept: frozenset[int] = frozenset(),
) -> float:
    """Seconds of a tree at these sizes."""
    return Prices(sizes, profile).tree(product, tree, kept)


def peak(product: Product, tree: Tree, sizes: Mapping[int, int]) -> float:
    """Most bytes of intermediates alive at once, operands and the result not counted."""
    now = most = 0.0
    alive: dict[int, float] = {}
    steps = list(pairs(product, tree))
    for number, pair in enumerate(steps[:-1]):
        size = ITEM * volume(pair.result, sizes)
        alive[len(product.operands) + number] = size
        now += size
        most = max(most, now)
        now -= alive.pop(pair.left, 0.0) + alive.pop(pair.right, 0.0)
    return most


def volume(indices: Indices, sizes: Mapping[int, int]) -> float:
    """Cells of a tensor over these indices."""
    out = 1.0
    for index in indices:
        out *= sizes[index]
    return out

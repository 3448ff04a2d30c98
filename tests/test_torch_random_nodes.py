"""Random reads in products, reductions and scatters as torch code, against brute force."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tensorlang.check.program import Boundary, ReduceOp, ScatterOp
from tensorlang.ir import nodes
from tensorlang.ir.nodes import Affine, At, Gather, Group, Node, Read, Subscript
from tensorlang.size import Size, product
from tests.test_torch_nodes import INT, ONES, Given, R, _check, b, k, m, n

DYNAMIC: tuple[Size, ...] = (n, m, k, b)


class Draw:
    """Draws one node and its inputs."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.given: list[Given] = []

    def sizes(self, rank: int, bound: int) -> tuple[Size, ...]:
        choices: list[Size] = [*DYNAMIC, 1, 2, 3]
        return tuple(self.random.choice(choices) for _ in range(rank + bound))

    def read(self, sizes: tuple[Size, ...], labels: list[int], plain: float = 0.5) -> Read:
        """A read that mentions each label at least once, its input added to `given`."""
        left, subscripts, shape = list(labels), [], []
        self.random.shuffle(left)
        fill = None
        while left:
            label = left.pop()
            kind = self.random.random()
            if kind < plain:
                subscript: Subscript = At(label)
                shape.append(sizes[label])
            elif kind < plain + 0.1 and left:
                other = left.pop()
                subscript = Group((label, other))
                shape.append(product((sizes[label], sizes[other])))
            elif kind < plain + 0.2:
                subscript, size = self.gather(sizes, [label])
                shape.append(size)
            elif kind < plain + 0.25:
                left.append(label)
                subscript = Affine((), 0, Boundary.ELSE)
                shape.append(self.random.choice(DYNAMIC))
            else:
                subscript, size = self.affine(sizes, label, left)
                shape.append(size)
            if getattr(subscript, "boundary", None) is Boundary.ELSE:
                fill = 0.0
            subscripts.append(subscript)
        if fill is not None and self.random.random() < 0.2:
            fill = 1.5
        order = list(range(len(subscripts)))
        self.random.shuffle(order)
        self.given.append((tuple(shape[i] for i in order), R))
        return Read(len(self.given) - 1, tuple(subscripts[i] for i in order), fill)

    def affine(self, sizes: tuple[Size, ...], label: int, left: list[int]) -> tuple[Affine, Size]:
        terms = {label: self.random.choice((1, 1, 1, 2, 3, -1))}
        if left and self.random.random() < 0.6:
            other = left.pop()
            terms[other] = self.random.choice((1, 1, 2))
        boundary = self.random.choice(
            (
                Boundary.INSIDE,
                Boundary.ELSE,
                Boundary.ELSE,
                Boundary.WRAP,
                Boundary.CLAMP,
                Boundary.REFLECT,
            )
        )
        if boundary is Boundary.INSIDE:
            terms = {i: abs(c) for i, c in terms.items()}
            offset = self.random.choice((0, 0, 1))
            size: Size = offset + 1 + self.random.choice((0, 0, 2))
            for i, c in terms.items():
                size = size + c * (sizes[i] - 1)
            return Affine(tuple(sorted(terms.items())), offset, boundary), size
        offset = self.random.randint(-3, 3)
        size = self.random.choice([sizes[label], *DYNAMIC, 4])
        return Affine(tuple(sorted(terms.items())), offset, boundary), size

    def gather(self, sizes: tuple[Size, ...], labels: list[int]) -> tuple[Gather, Size]:
        self.given.append((tuple(sizes[i] for i in labels), INT))
        inner = Read(len(self.given) - 1, tuple(At(i) for i in labels))
        boundary = self.random.choice(
            (Boundary.WRAP, Boundary.CLAMP, Boundary.ELSE, Boundary.REFLECT)
        )
        return Gather(inner, boundary), self.random.choice([*DYNAMIC, 3])

    def some(self, labels: list[int], must: list[int]) -> list[int]:
        return [i for i in labels if i in must or self.random.random() < 0.6]

    def product(self) -> Node:
        """A product of two random reads, summed over what is bound."""
        rank, bound = self.random.randint(0, 3), self.random.randint(0, 2)
        sizes = self.sizes(rank, bound)
        labels = list(range(rank + bound))
        left = self.some(labels, [])
        right = [i for i in labels if i not in left or self.random.random() < 0.5]
        reads = [self.read(sizes, left), self.read(sizes, right)]
        op = nodes.Contract(self.random.choice((1, 1, 0.5, -2)))
        return Node(op, tuple(reads), sizes, rank, R)

    def scatter(self) -> Node:
        """Random reads that land at random positions."""
        rank, bound = self.random.randint(1, 3), self.random.randint(1, 2)
        sizes = self.sizes(rank, bound)
        landing = self.random.sample(range(rank), self.random.randint(1, min(2, rank)))
        plain = [axis for axis in range(rank) if axis not in landing]
        landed = list(range(rank, rank + bound))
        targets, reads = [], []
        for _ in range(self.random.randint(1, 2)):
            target: list[Any] = []
            for axis in range(rank):
                if axis in plain:
                    target.append(At(axis))
                else:
                    target.append(self.gather(sizes, self.some([*plain, *landed], landed))[0])
            targets.append(tuple(target))
            reads.append(self.read(sizes, self.some([*plain, *landed], [])))
        op = self.random.choice((ScatterOp.SUM, ScatterOp.SUM, ScatterOp.MAX, ScatterOp.MIN))
        return Node(nodes.Scatter(op, tuple(targets)), tuple(reads), sizes, rank, R)


@pytest.mark.parametrize("seed", range(120))
def test_random_products(seed: int) -> None:
    draw = Draw(seed)
    _check(draw.given, draw.product(), ONES, 9)


@pytest.mark.parametrize("seed", range(60))
def test_random_reads_in_reductions(seed: int) -> None:
    draw = Draw(1000 + seed)
    rank, bound = draw.random.randint(0, 2), draw.random.randint(1, 2)
    sizes = draw.sizes(rank, bound)
    read = draw.read(sizes, draw.some(list(range(rank + bound)), list(range(rank))), 0.3)
    op = draw.random.choice((ReduceOp.MAX, ReduceOp.MIN, ReduceOp.PROD, ReduceOp.LOGSUMEXP))
    _check(draw.given, Node(nodes.Reduce(op), (read,), sizes, rank, R), ONES, 9)


@pytest.mark.parametrize("seed", range(60))
def test_random_scatters(seed: int) -> None:
    draw = Draw(2000 + seed)
    _check(draw.given, draw.scatter(), ONES, 9)

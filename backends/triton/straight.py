"""Straight-line programs of sums of products: how a multilinear form is computed cell by cell.

A form's program shares the products of two operands and multiplies by the others from inside out;
which two, and in which order, is what takes the fewest operations. Its gradients are the program
read backwards: they share the same products.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tensorlang.plan.form import Cell, Term


@dataclass(frozen=True, slots=True)
class Product:
    """coefficient * values: one or two, more once inlined."""

    coefficient: float
    factors: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Line:
    """A value and the products that it sums."""

    name: str
    terms: tuple[Product, ...]


@dataclass(frozen=True, slots=True)
class Straight:
    """`results` name the values asked for: lines or inputs."""

    lines: tuple[Line, ...]
    results: Mapping[str, str]

    @property
    def inputs(self) -> tuple[str, ...]:
        """Values that no line makes, in order of mention."""
        made = {line.name for line in self.lines}
        read = [f for line in self.lines for t in line.terms for f in t.factors]
        return tuple(dict.fromkeys(name for name in read if name not in made))

    def only(self, names: Iterable[str]) -> Straight:
        """Some of the results, and the lines that they need."""
        results = {name: self.results[name] for name in names}
        wanted = set(results.values())
        kept: list[Line] = []
        for line in reversed(self.lines):
            if line.name in wanted:
                kept.append(line)
                wanted.update(factor for term in line.terms for factor in term.factors)
        return Straight(tuple(reversed(kept)), results)

    def inlined(self) -> Straight:
        """Products that are read once stand where they are read, and signs."""
        uses: dict[str, int] = {}
        for line in self.lines:
            for term in line.terms:
                for factor in term.factors:
                    uses[factor] = uses.get(factor, 0) + 1
        gone: dict[str, Product] = {}
        kept: list[Line] = []
        for line in self.lines:
            terms = tuple(_expanded(term, gone) for term in line.terms)
            if len(terms) == 1 and line.name not in self.results.values():
                (term,) = terms
                sign = abs(term.coefficient) == 1 and len(term.factors) == 1
                if sign or uses[line.name] == 1:
                    gone[line.name] = term
                    continue
            kept.append(Line(line.name, terms))
        return Straight(tuple(kept), self.results)

    @property
    def operations(self) -> int:
        """Multiplications and additions."""
        return sum(_cost(line) for line in self.lines)


def cell_name(operand: int, cell: Cell) -> str:
    """The input of an operand's cell; operand 0 is the result."""
    return "_".join([f"x{operand}" if operand else "y", *map(str, cell)])


def program(terms: Sequence[Term]) -> Straight:
    """The program of a form: its inputs and results are named by `cell_name`."""
    count = len(terms[0].cells) - 1
    orders = itertools.permutations(range(1, count + 1))
    made = (_nested(terms, order) for order in orders if count < 2 or order[0] < order[1])
    return min(made, key=lambda straight: straight.operations)


def gradients(straight: Straight, seeds: Mapping[str, str]) -> Straight:
    """The program of all gradients with respect to inputs, for gradients `seeds` of results.

    It begins with the lines of `straight` that it needs.
    """
    parts: dict[str, list[Product]] = {}
    for result, value in straight.results.items():
        parts.setdefault(value, []).append(Product(1.0, (seeds[result],)))
    build = _Lines()
    for line in reversed(straight.lines):
        if line.name not in parts:
            continue
        adjoint = build.value(f"d{line.name}", parts.pop(line.name))
        for term in line.terms:
            for k, factor in enumerate(term.factors):
                rest = (*term.factors[:k], *term.factors[k + 1 :])
                found = Product(term.coefficient, (adjoint, *rest))
                parts.setdefault(factor, []).append(found)
    results = {name: build.value(f"d{name}", parts[name]) for name in sorted(parts)}
    every = Straight((*straight.lines, *build.lines), results)
    return every.only(results)


@dataclass(slots=True)
class _Lines:
    """Lines under construction; equal sums are one."""

    lines: list[Line] = field(default_factory=list)
    known: dict[tuple[Product, ...], str] = field(default_factory=dict)

    def value(self, name: str, terms: Sequence[Product]) -> str:
        key = tuple(terms)
        if len(key) == 1 and key[0].coefficient == 1 and len(key[0].factors) == 1:
            return key[0].factors[0]
        if key not in self.known:
            self.known[key] = name
            self.lines.append(Line(name, key))
        return self.known[key]


def _nested(terms: Sequence[Term], order: Sequence[int]) -> Straight:
    """Products of the first two operands, then times one operand after the other."""
    build = _Lines()
    inner, outer = order[:2], order[2:]
    sums: dict[tuple[Cell, ...], list[Product]] = {}
    for term in terms:
        names = [cell_name(k, term.cells[k]) for k in inner]
        value = names[0]
        if len(names) == 2:
            value = build.value("_".join(["p", *names]), [Product(1.0, tuple(names))])
        key = (term.cells[0], *(term.cells[k] for k in outer))
        sums.setdefault(key, []).append(Product(term.coefficient, (value,)))
    for depth, operand in enumerate(outer):
        wider: dict[tuple[Cell, ...], list[Product]] = {}
        for key, products in sums.items():
            name = "_".join([f"s{depth}", *("_".join(map(str, cell)) for cell in key)])
            value = build.value(name, products)
            factor = cell_name(operand, key[1])
            wider.setdefault((key[0], *key[2:]), []).append(Product(1.0, (value, factor)))
        sums = wider
    results = {}
    for (cell,), products in sums.items():
        name = cell_name(0, cell)
        results[name] = build.value(name, products)
    return Straight(tuple(build.lines), results)


def _expanded(term: Product, gone: Mapping[str, Product]) -> Product:
    coefficient = term.coefficient
    factors: list[str] = []
    for factor in term.factors:
        found = gone.get(factor)
        factors += [factor] if found is None else found.factors
        coefficient *= 1 if found is None else found.coefficient
    return Product(coefficient, tuple(factors))


def _cost(line: Line) -> int:
    return sum(max(1, len(t.factors) - 1 + (t.coefficient not in (1, -1))) for t in line.terms)

"""Sizes of a layer's dims, found when first asked for, in whatever order they are written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import sympy

from tensorlang.check.constant import Mode, Report, evaluate
from tensorlang.check.divides import always_divides
from tensorlang.check.errors.constants import BadIrreps
from tensorlang.check.errors.dims import (
    DimCycle,
    DoesNotDivide,
    SizeBelowOne,
    SizeNotInteger,
)
from tensorlang.check.errors.layers import UnprovedDivision
from tensorlang.check.mentions import GroupMention, Mentions, base, nodes
from tensorlang.check.program import Apply, Dim, Expr, Literal, SizeValue, Value
from tensorlang.dtype import Dtype
from tensorlang.library.constant import Constant, OpenSlot
from tensorlang.library.irreps import MOST_DEGREE, Irreps, natural, parse
from tensorlang.size import Size, dynamic, expression, product, simplest, unbound
from tensorlang.source import Span
from tensorlang.syntax import ast

_OPEN = 200  # dims that are being found at a time


@dataclass(frozen=True, slots=True)
class FirstAxis:
    """A call of a constructor whose first axis has its size from the `others`."""

    row: Constant
    others: tuple[str, ...]
    arguments: tuple[tuple[str, ast.Expr], ...]


@dataclass(slots=True, eq=False)
class Dims:
    """The dims of a layer. `found` has those asked for so far, None where a mistake was reported.

    `indices`: declared indices and their dims. `inputs`: names that only inputs bring. `lists`:
    dims that take the length of a const's list. `constructed`: dims that a constructor's other axes
    give. `irreps`: types of the dims that have one.
    """

    hypers: Mapping[str, Value | None]
    hyper_spans: Mapping[str, Span]
    mentions: Mentions
    report: Report
    bindings: dict[str, ast.DimBinding] = field(default_factory=dict)
    indices: dict[str, ast.Name] = field(default_factory=dict)
    inputs: dict[str, Span] = field(default_factory=dict)
    lists: dict[str, int | None] = field(default_factory=dict)
    constructed: dict[str, FirstAxis] = field(default_factory=dict)
    irreps: dict[str, Irreps] = field(default_factory=dict)
    found: dict[str, Dim | None] = field(default_factory=dict)
    open: set[str] = field(default_factory=set)

    def find(self, name: str) -> Dim | None:
        """The dim of this name; None if nothing gives it a size or a mistake was reported."""
        if name in self.bindings and name not in self.found and not self.open:
            self._settle(name)
        if name in self.found:
            return self.found[name]
        if len(self.open) > _OPEN:
            return None
        if name in self.open:
            if name in self.bindings:
                self.report(DimCycle(self.bindings[name].span, name))
                self.found[name] = None
            return None
        self.open.add(name)
        known, size = self._size(name)
        self.open.discard(name)
        if name in self.found:  # a cycle was reported on the way
            return self.found[name]
        if not known:
            return None
        self.found[name] = None if size is None else Dim(name, size, self.irreps.get(name))
        return self.found[name]

    def _settle(self, name: str) -> None:
        """Find the dims that a dim is computed from before it; a chain may be long."""
        path = {name: self._sources(name)}
        while path:
            top, sources = next(reversed(path.items()))
            source = next(sources, None)
            if source is None:
                del path[top]
                if path:
                    self.find(top)
            elif source in path:
                self.report(DimCycle(self.bindings[source].span, source))
                self.found[source] = None
            elif source not in self.found:
                path[source] = self._sources(source)

    def _sources(self, name: str) -> Iterator[str]:
        """Computed dims that a computed dim mentions."""
        for node in nodes(self.bindings[name].value):
            if isinstance(node, ast.Name | ast.SizeOf):
                mentioned = self.root(node.id if isinstance(node, ast.Name) else node.name)
                if mentioned is not None and mentioned in self.bindings:
                    yield mentioned

    def root(self, name: str) -> str | None:
        """The dim that an index is over, None if it is declared to be over itself."""
        name = base(name)
        for _ in range(len(self.indices)):  # index q in n, index k in q
            if name not in self.indices:
                break
            name = base(self.indices[name].id)
        return None if name in self.indices else name

    def over(self, name: str) -> Dim | None:
        """The dim of an index of this name."""
        root = self.root(name)
        return None if root is None else self.find(root)

    def broken(self, name: str) -> bool:
        """Whether a mistake about this dim was reported."""
        return name in self.found and self.found[name] is None

    def bring(self, name: str, size: Size) -> Dim:
        """Enter a dim whose size is known from elsewhere: a batch axis, a sub-layer's output."""
        dim = Dim(name, size)
        self.found[name] = dim
        return dim

    def names(self) -> Iterator[str]:
        yield from dict.fromkeys(
            (*self.bindings, *self.inputs, *self.lists, *self.constructed, *self.found)
        )

    def at_least_one(self) -> list[Expr]:
        """Facts: a computed dim is at least 1, or the call is refused."""
        sizes = [dim.size for name in self.bindings if (dim := self.found.get(name)) is not None]
        one = Literal(1, Dtype.INT)
        return [
            Apply("ge", (SizeValue(size), one), Dtype.BOOL)
            for size in sizes
            if not isinstance(size, int)
        ]

    def constant(self, expr: ast.Expr, mode: Mode) -> Value | None:
        """Evaluate a constant over hyperparameters and sizes; None if a mistake was reported."""
        for node in nodes(expr):
            if isinstance(node, ast.Name | ast.SizeOf):
                name = node.id if isinstance(node, ast.Name) else node.name
                if name in self.hypers:
                    if self.hypers[name] is None:
                        return None
                elif self.over(name) is None and self.broken(self.root(name) or name):
                    return None
        return evaluate(expr, _Names(self), self.report, mode)

    def _size(self, name: str) -> tuple[bool, Size | None]:
        """Whether something gives the dim a size, and the size (None: reported)."""
        if name in self.bindings:
            return True, self._computed(self.bindings[name])
        if name in self.hypers:
            return True, self._hyper(name)
        if name in self.constructed:
            return True, self._first(name, self.constructed[name])
        if name in self.inputs:
            return True, dynamic(name)
        if name in self.lists:
            return True, self.lists[name]
        for mention in self.mentions.groups.get(name, ()):
            if (size := self._divided(name, mention)) is not None:
                return True, size
        return False, None

    def _hyper(self, name: str) -> Size | None:
        value = self.hypers[name]
        return None if value is None else self._checked(name, value, self.hyper_spans[name])

    def _computed(self, binding: ast.DimBinding) -> Size | None:
        if isinstance(binding.value, ast.Call) and binding.value.name == "irreps":
            return self._irreps(binding.name, binding.value)
        value = self.constant(binding.value, "size")
        return None if value is None else self._checked(binding.name, value, binding.span)

    def _irreps(self, name: str, call: ast.Call) -> Size | None:
        """The size of a dim of irreps, whose type is kept; None if a mistake was reported."""
        args = call.args or ()
        if len(args) != 1 or args[0].name is not None or call.slots is not None:
            self.report(BadIrreps(call.span, "it takes a degree, or a text"))
            return None
        value = self.constant(args[0].expr, "value")
        if isinstance(value, str):
            parsed = parse(value)
            if isinstance(parsed, str):
                self.report(BadIrreps(args[0].span, parsed))
                return None
            self.irreps[name] = parsed
            return parsed.size
        if isinstance(value, sympy.Expr):
            return simplest((value + 1) ** 2)
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_DEGREE:
            self.irreps[name] = natural(value)
            return self.irreps[name].size
        if value is not None:
            fault = f"a degree is an integer from 0 to {MOST_DEGREE}, found {shown_value(value)}"
            self.report(BadIrreps(args[0].span, fault))
        return None

    def _first(self, name: str, axis: FirstAxis) -> Size | None:
        """The size that a constructor's other axes give to its first; unbound where they do not."""
        others = [self.over(other) for other in axis.others]
        if any(dim is None for dim in others):
            return unbound(name) if not any(map(self._reported, axis.others)) else None
        slots = tuple(OpenSlot(dim.size, dim.irreps) for dim in others if dim is not None)
        quiet: Report = lambda _: None  # noqa: E731  reported where the const is checked
        arguments = dict(axis.row.arguments)
        for key, expr in axis.arguments:
            value = evaluate(expr, _Names(self), quiet, "value")
            if key in arguments and isinstance(value, bool | int | float):
                arguments[key] = value
        assert axis.row.first is not None, axis
        size = axis.row.first(slots, arguments)
        return unbound(name) if size is None else size

    def _reported(self, name: str) -> bool:
        return self.broken(self.root(name) or name)

    def _checked(self, name: str, value: Value, span: Span) -> Size | None:
        if isinstance(value, bool | float | str | tuple):
            self.report(SizeNotInteger(span, name, shown_value(value)))
            return None
        if isinstance(value, sympy.Expr):
            value = simplest(value)
        if isinstance(value, int) and value < 1:
            self.report(SizeBelowOne(span, name, value))
            return None
        return value

    def _divided(self, name: str, mention: GroupMention) -> Size | None:
        """The size of one factor of a group from its axis and the other factors."""
        names = [base(index.id) for index in mention.group.indices]
        if names.count(name) > 1:
            return None
        axis = self._axis(mention)
        others = [self.find(other) for other in names if other != name]
        if axis is None or any(other is None for other in others):
            return None
        known = product(other.size for other in others if other is not None)
        return self.quotient(axis, known, mention.group.span)

    def quotient(self, size: Size, known: Size, span: Span) -> Size | None:
        if isinstance(size, int) and isinstance(known, int):
            if known == 0 or size % known:
                self.report(DoesNotDivide(span, size, known))
                return None
            return size // known
        if not always_divides(size, known):
            self.report(UnprovedDivision(span, str(size), str(known)))
        return simplest(sympy.cancel(expression(size) / known))

    def _axis(self, mention: GroupMention) -> Size | None:
        """The size of the axis that a group splits."""
        declared = self.mentions.declared.get(mention.tensor)
        if declared is None or len(declared.slots or ()) != mention.count:
            return None
        slot = (declared.slots or ())[mention.position]
        if isinstance(slot, ast.ExprSlot) and isinstance(slot.expr, ast.Name):
            dim = self.find(base(slot.expr.id))
            return None if dim is None else dim.size
        if isinstance(slot, ast.GroupSlot):
            dims = [self.find(base(index.id)) for index in slot.indices]
            if all(dim is not None for dim in dims):
                return product(dim.size for dim in dims if dim is not None)
        return None


@dataclass(frozen=True, slots=True)
class _Names(Mapping[str, Value]):
    """Hyperparameters and dims by name, as constant expressions see them."""

    dims: Dims

    def __getitem__(self, name: str) -> Value:
        value = self.dims.hypers.get(name)
        if value is not None:
            return value
        dim = self.dims.over(name)
        if dim is None:
            raise KeyError(name)
        return dim.size

    def __iter__(self) -> Iterator[str]:
        yield from dict.fromkeys((*self.dims.hypers, *self.dims.names()))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def shown_value(value: Value) -> str:
    match value:
        case bool():
            return str(value).lower()
        case str():
            return f'"{value}"'
        case tuple():
            return f"[{', '.join(shown_value(item) for item in value)}]"
        case _:
            return str(value)

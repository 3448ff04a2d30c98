"""How a forward takes its inputs and gives its outputs: shape checks, sizes, batch axes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import sympy

from tensorlang.backends.torch.body import Body
from tensorlang.backends.torch.layout import WIDTH
from tensorlang.backends.torch.names import comment_text, quoted, tuple_text
from tensorlang.check.program import Axis, Dim, Input, Program
from tensorlang.size import Size, product, simplest, symbols

ELLIPSIS = "..."


@dataclass
class Interface:
    """The head of a forward. `variables` names the local variable of each input."""

    body: Body
    program: Program
    variables: list[str]
    checks: bool
    bound: dict[str, str] = field(default_factory=dict)  # symbol -> expression of its size
    divisors: dict[str, tuple[Dim, ...]] = field(
        default_factory=dict
    )  # symbol -> rest of its group
    origins: dict[str, str] = field(default_factory=dict)  # symbol -> input that brought it
    places: dict[str, tuple[int, int]] = field(default_factory=dict)
    late: set[str] = field(default_factory=set)  # symbols that need sizes of later inputs

    def bind(self) -> None:
        """Give every dynamic size a variable; remember where it comes from."""
        names = self.body.names
        self._bind_axes()
        known = list(self.bound)
        while self._bind_axes():  # (h c) before the input that brings h
            self.late.update(name for name in self.bound if name not in known)
        for name in self.bound:
            self.body.symbols[name] = names.fresh("batch_size" if name == ELLIPSIS else name)
        if ELLIPSIS in self.bound:
            self.batch = names.fresh("batch")

    def _bind_axes(self) -> bool:
        """Bind what the sizes bound so far allow; whether that was anything."""
        count = len(self.bound)
        for number, given in enumerate(self.program.inputs):
            before, rank = _ellipsis(given), len(given.axes)
            for place, axis in enumerate(given.axes):
                at = place if before is None or place < before else place - rank
                self._bind_axis(number, given, axis, f"{self.variables[number]}.shape[{at}]", place)
        return len(self.bound) > count

    def _bind_axis(self, number: int, given: Input, axis: Axis, shape: str, place: int) -> None:
        sizes = [index.dim.size for index in axis.indices]
        unknown = [s for s in sizes if _is_symbol(s) and symbols(s)[0] not in self.bound]
        if len(unknown) != 1 or any(
            name not in self.bound for s in sizes if s is not unknown[0] for name in symbols(s)
        ):
            return
        name = symbols(unknown[0])[0]
        rest = product(s for s in sizes if s is not unknown[0])
        if rest != 1:
            self.divisors[name] = tuple(i.dim for i in axis.indices if i.dim.size is not unknown[0])
        elif any(index.ellipsis for index in axis.indices):
            shape = ""
        else:
            self.places[name] = (number, place)
        self.bound[name] = shape
        self.origins[name] = given.name

    # --- printing ---
    def head(self, lines: Sequence[str]) -> list[str]:
        """Statements before the body, whose lines say which sizes are needed."""
        checks = [self._check(number) for number in range(len(self.program.inputs))]
        checks = checks if self.checks else []
        bounds = self._computed_dims() if self.checks else []
        text = "\n".join([*lines, *(line for check in checks for line in check), *bounds])
        text += "\n".join(self._reshapes())
        needed = self._needed(text)
        out: list[str] = []
        if ELLIPSIS in needed and len(re.findall(rf"\b{self.body.symbols[ELLIPSIS]}\b", text)) == 1:
            # used once: written in place
            self.body.file.require_import("import math")
            self.body.symbols[ELLIPSIS] = f"math.prod({self.batch})"
            needed.remove(ELLIPSIS)
        late: list[str] = []
        for number in range(len(self.program.inputs)):
            if checks:
                early = self._check(number, early=True)
                late += checks[number] if early != checks[number] else []
                out += early
            out += self._sizes(number, needed, text)
        out += [line for name in needed if name in self.late for line in self._divided(name)]
        out += late
        out += bounds
        out += self._reshapes()
        return out

    def _needed(self, text: str) -> list[str]:
        """Symbols whose variables the text mentions, and those that they are computed from."""
        mentioned = [name for name in self.bound if _mentions(text, self.body.symbols[name])]
        for name in mentioned:  # grows
            below = [s for dim in self.divisors.get(name, ()) for s in symbols(dim.size)]
            mentioned += [s for s in below if s not in mentioned]
        return [name for name in self.bound if name in mentioned]

    def _sizes(self, number: int, needed: Sequence[str], text: str) -> list[str]:
        given = self.program.inputs[number]
        variable = self.variables[number]
        mine = [name for name in needed if self.origins[name] == given.name]
        plain = {self.places[name][1]: name for name in mine if name in self.places}
        out: list[str] = []
        before = _ellipsis(given)
        brings = self.origins.get(ELLIPSIS) == given.name
        targets = [
            self.body.symbols[plain[k]] if k in plain else "_" for k in range(len(given.axes))
        ]
        if brings:
            assert before is not None
            targets[before] = f"*{self.batch}"
        if brings or (len(plain) > 1 and before is None and len(given.axes) > 1):
            text = ", ".join(targets)
            out.append(f"{text}{',' if len(targets) == 1 else ''} = {variable}.shape")
        else:
            for name in plain.values():
                out.append(f"{self.body.symbols[name]} = {self.bound[name]}")
        for name in mine:
            if name not in self.places and name != ELLIPSIS and name not in self.late:
                out += self._divided(name)
        if brings and ELLIPSIS in needed:
            self.body.file.require_import("import math")
            out.append(f"{self.body.symbols[ELLIPSIS]} = math.prod({self.batch})")
        return out

    def _divided(self, name: str) -> list[str]:
        """A size by division of its axis by the rest of the group."""
        out = [self._at_least_one(dim) for dim in self.divisors[name] if _may_be_empty(dim)]
        rest = self.body.size(product(dim.size for dim in self.divisors[name]))
        return [*out, f"{self.body.symbols[name]} = {self.bound[name]} // {rest}"]

    def _check(self, number: int, early: bool = False) -> list[str]:
        """The shape check of an input; `early` leaves out what later inputs or itself bring."""
        before = {i.name for i in self.program.inputs[:number]}
        there = {name for name, origin in self.origins.items() if origin in before} - self.late
        given = self.program.inputs[number]
        expected: list[tuple[str, str] | None] = []  # size and which input brought it
        for place, axis in enumerate(given.axes):
            if any(index.ellipsis for index in axis.indices):
                origin = self.origins[ELLIPSIS]
                expected.append(None if origin == given.name else (self.batch, origin))
                continue
            free = symbols(axis.size)
            brings = len(free) == 1 and self.places.get(free[0]) == (number, place)
            if brings or (early and not there.issuperset(free)):
                expected.append(None)
                continue
            size = self.body.size_text(simplest(axis.size))[0]
            expected.append((size, self.origins[free[0]] if _is_symbol(axis.size) else ""))
        function = self.body.file.require("_check_shape")
        name = quoted(f"{self.program.layer}: {given.name}[{_plain_axes(given.axes)}]")
        wanted = tuple_text([_wanted(part) for part in expected])
        check = f"{function}({name}, {self.variables[number]}.shape, {wanted})"
        tests = self._differs(number, expected)
        return [*_if(tests), f"    {check}"] if tests else []  # any shape is that of a batch

    def _differs(self, number: int, expected: Sequence[tuple[str, str] | None]) -> list[str]:
        """Quick tests whether a shape may be wrong; `_check_shape` says how."""
        variable, at = self.variables[number], _ellipsis(self.program.inputs[number])
        rank = len(expected)
        tests = [f"{variable}.dim() != {rank}" if at is None else f"{variable}.dim() < {rank - 1}"]
        for place, part in enumerate(expected):
            if part is None:
                continue
            if place == at:
                start, stop = str(place or ""), str(place - rank + 1 or "")
                tests.append(f"[*{variable}.shape[{start}:{stop}]] != {part[0]}")
            else:
                there = place if at is None or place < at else place - rank
                tests.append(f"{variable}.shape[{there}] != {part[0]}")
        return tests if tests[0] != f"{variable}.dim() < 0" else tests[1:]

    def _computed_dims(self) -> list[str]:
        """A dim that is computed from inputs' sizes must be at least 1."""
        out = []
        for dim in self.program.dims:
            size = dim.size
            if _is_symbol(size) or not set(symbols(size)) <= set(self.bound):
                continue
            if _may_be_empty(dim):
                out.append(self._at_least_one(dim))
        return out

    def _at_least_one(self, dim: Dim) -> str:
        function = self.body.file.require("_check_dim")
        size = self.body.size_text(dim.size)[0]
        return f"{function}({quoted(self.program.layer)}, {quoted(dim.name)}, {size})"

    def _reshapes(self) -> list[str]:
        """Batch axes of every input as one."""
        out = []
        for number, given in enumerate(self.program.inputs):
            before = _ellipsis(given)
            if before is None:
                continue
            variable = self.variables[number]
            sizes = []
            for place, axis in enumerate(given.axes):
                if place == before:
                    sizes.append(self.body.symbols[ELLIPSIS])
                else:
                    sizes.append(self.body.size_text(simplest(axis.size))[0])
            out.append(f"    {variable} = {variable}.reshape({', '.join(sizes)})")
        return [f"if len({self.batch}) != 1:", *out] if out else []

    def result(self, text: str, axes: Sequence[Axis]) -> str:
        """An output with its batch axes as the caller has them."""
        places = [k for k, axis in enumerate(axes) if any(i.ellipsis for i in axis.indices)]
        if not places:
            return text
        if len(axes) == 1:
            return f"{text}.reshape({self.batch})"  # reshape() of nothing is an error
        sizes = [
            f"*{self.batch}" if k in places else self.body.size_text(simplest(axis.size))[0]
            for k, axis in enumerate(axes)
        ]
        shaped = f"{text}.reshape({', '.join(sizes)})"
        return f"{text} if len({self.batch}) == 1 else {shaped}"


def _ellipsis(given: Input) -> int | None:
    for place, axis in enumerate(given.axes):
        if any(index.ellipsis for index in axis.indices):
            return place
    return None


def _may_be_empty(dim: Dim) -> bool:
    """Whether the dim's size depends on inputs and is not proved to be positive."""
    return not isinstance(dim.size, int) and not (dim.size - 1).is_nonnegative


def _wanted(part: tuple[str, str] | None) -> str:
    """A size as `_check_shape` takes it."""
    if part is None:
        return "None"
    size, origin = part
    return f"({size}, {quoted(origin)})" if origin else size


def _if(tests: Sequence[str]) -> list[str]:
    """A condition, a test a line where they do not fit into one."""
    line = f"if {' or '.join(tests)}:"
    if len(line) <= WIDTH - 8:
        return [line]
    first, *others = tests
    return ["if (", f"    {first}", *(f"    or {test}" for test in others), "):"]


def _is_symbol(size: Size) -> bool:
    return isinstance(size, sympy.Symbol)


def _mentions(text: str, name: str) -> bool:
    bare = re.sub(r'"[^"\n]*"|#.*', "", text)
    return re.search(rf"(?<![\w.]){re.escape(name)}(?!\w)", bare) is not None


def axes_text(axes: Sequence[Axis]) -> str:
    """The axes as the source writes them, for comments."""
    return comment_text(_plain_axes(axes))


def _plain_axes(axes: Sequence[Axis]) -> str:
    shown = []
    for axis in axes:
        if any(index.ellipsis for index in axis.indices):
            shown.append("...")
        elif len(axis.indices) == 1:
            shown.append(axis.indices[0].name)
        else:
            shown.append(f"({' '.join(index.name for index in axis.indices)})")
    return ", ".join(shown)

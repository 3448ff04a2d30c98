"""Affine subscripts of one or two indices as padding and views: shifts, strides, windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sympy

from tensorlang.backends.torch.body import Body
from tensorlang.backends.torch.sizes import PRODUCT, SUM
from tensorlang.check.program import Boundary
from tensorlang.ir.nodes import Affine
from tensorlang.size import Size, same, simplest


@dataclass(frozen=True, slots=True)
class Window:
    """position = first + step * outer (+ dilation * inner), after padding by `pad`; all inside.

    `outer` and `inner` are (label, size); inner None for a plain slice.
    """

    pad: tuple[Size, Size]
    size: Size  # of the padded axis
    first: Size
    step: int
    outer: tuple[int, Size]
    dilation: int
    inner: tuple[int, Size] | None
    flip: bool = False

    def view(
        self, body: Body, text: str, axis: int
    ) -> tuple[str, tuple[int, ...], tuple[int, ...]]:
        """(text, labels that stand at `axis`, labels that stand last)."""
        label, count = self.outer
        if self.flip:
            return f"{text}.flip({axis})", (label,), ()
        if self.inner is None:
            return self._slice(body, text, axis), (label,), ()
        inner_label, width = self.inner
        assert isinstance(width, int), self
        reach = self.dilation * (width - 1) + 1
        if self.first != 0:
            text = _sliced(text, axis, f"{body.size_text(self.first)[0]}:")
        text = f"{text}.unfold({axis}, {reach}, {self.step})"
        made = simplest(
            sympy.floor((self.size - self.first - reach) / sympy.Integer(self.step)) + 1
        )
        if not same(made, count):
            text = _sliced(text, axis, f":{body.size_text(count)[0]}")
        if self.dilation > 1:
            text = f"{text}[..., ::{self.dilation}]"
        return text, (label,), (inner_label,)

    def _slice(self, body: Body, text: str, axis: int) -> str:
        _, count = self.outer
        if self.step == 1:
            last = simplest(self.first + count)
            if self.first == 0 and same(self.size, count):
                return text
            start = "" if self.first == 0 else body.size_text(self.first)[0]
            stop = "" if same(last, self.size) else body.size_text(last)[0]
            return _sliced(text, axis, f"{start}:{stop}")
        start = "" if self.first == 0 else body.size_text(self.first)[0]
        # the slice may run past the axis, where it is cut, but never past the last position
        length = f"{self.step} * {body.size(count, PRODUCT + 1)}"
        stop = f"{body.size(self.first, SUM)} + {length}" if start else length
        return _sliced(text, axis, f"{start}:{stop}:{self.step}")


def _sliced(text: str, axis: int, slice_text: str) -> str:
    return f"{text}[{', '.join([':'] * axis + [slice_text])}]"


def straight(subscript: Affine, size: Size, sizes: Sequence[Size]) -> Window | None:
    """The subscript as a window, or None where it needs an index tensor."""
    terms, offset, boundary = subscript.terms, subscript.offset, subscript.boundary
    if boundary not in (Boundary.INSIDE, Boundary.ELSE) or not 1 <= len(terms) <= 2:
        return None
    if len(terms) == 1:
        (label, step), *_ = terms
        if step == -1 and boundary is Boundary.INSIDE:
            whole = same(sizes[label], size) and same(offset, simplest(size - 1))
            return Window((0, 0), size, 0, 1, (label, size), 1, None, True) if whole else None
        return _window(size, offset, (label, step, sizes[label]), None, boundary)
    (a, step_a), (b, step_b) = terms
    for outer, inner in (((a, step_a), (b, step_b)), ((b, step_b), (a, step_a))):
        width = sizes[inner[0]]
        if isinstance(width, int) and not isinstance(sizes[outer[0]], int):
            first = (outer[0], outer[1], sizes[outer[0]])
            return _window(size, offset, first, (inner[0], inner[1], width), boundary)
    if isinstance(sizes[a], int) and isinstance(sizes[b], int):
        outer, inner = ((a, step_a), (b, step_b))
        if int(sizes[inner[0]]) > int(sizes[outer[0]]):
            outer, inner = inner, outer
        first = (outer[0], outer[1], sizes[outer[0]])
        return _window(size, offset, first, (inner[0], inner[1], sizes[inner[0]]), boundary)
    return None


Term = tuple[int, int, Size]  # label, step, size


def _window(
    size: Size, offset: Size, outer: Term, inner: Term | None, boundary: Boundary
) -> Window | None:
    label, step, count = outer
    if step < 1 or (inner is not None and inner[1] < 1):
        return None
    dilation = inner[1] if inner is not None else 1
    width = inner[2] if inner is not None else 1
    pair = None if inner is None else (inner[0], inner[2])
    if boundary is Boundary.INSIDE:
        return Window((0, 0), size, offset, step, (label, count), dilation, pair)
    if not isinstance(offset, int):
        return None
    left = max(-offset, 0)
    right = _overhang(size, offset, step, count, dilation * (width - 1))
    if right is None:
        return None
    padded = simplest(size + left + right)
    return Window((left, right), padded, offset + left, step, (label, count), dilation, pair)


def _overhang(size: Size, offset: int, step: int, count: Size, reach: Size) -> Size | None:
    """How far positions may run past the axis: exact, or a bound that needs no comparison."""
    last = bounded(simplest(offset + step * (count - 1) + reach))
    past = simplest(last - size + 1)
    if isinstance(past, int):
        return max(past, 0)
    # unrelated sizes: pad by all that could be needed, last + 1 >= last + 1 - size
    safe = simplest(last + 1)
    if isinstance(safe, int) or (safe.is_nonnegative if hasattr(safe, "is_nonnegative") else False):
        return safe if not isinstance(safe, int) else max(safe, 0)
    return simplest(step * count + max(offset, 0) + reach)


def bounded(size: Size) -> Size:
    """An upper bound without floor divisions: c * (a // c) <= a."""
    if isinstance(size, int):
        return size
    out = sympy.expand(size)
    for term in sympy.Add.make_args(out):
        factor, rest = term.as_coeff_Mul()
        if isinstance(rest, sympy.floor) and factor > 0:
            out = out - term + factor * rest.args[0]
    return simplest(sympy.expand(out))

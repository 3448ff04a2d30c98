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

    `outer` and `inner` are (label, size); inner None for a plain slice. `flip`: against its index,
    the whole axis if there is no inner one, else each window.
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
        if self.inner is None and self.flip:
            return f"{text}.flip({axis})", (label,), ()
        if self.inner is None:
            return self._slice(body, text, axis), (label,), ()
        inner_label, width = self.inner
        reach = simplest(self.dilation * (width - 1) + 1)
        if self.first != 0:
            text = _sliced(text, axis, f"{body.size_text(self.first)[0]}:")
        text = f"{text}.unfold({axis}, {body.size_text(reach)[0]}, {self.step})"
        made = simplest(
            sympy.floor((self.size - self.first - reach) / sympy.Integer(self.step)) + 1
        )
        if not same(made, count):
            text = _sliced(text, axis, f":{body.size_text(count)[0]}")
        if self.dilation > 1:
            text = f"{text}[..., ::{self.dilation}]"
        if self.flip:
            text = f"{text}.flip(-1)"
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
    first, second = ((label, step, sizes[label]) for label, step in terms)
    for outer, inner in ((first, second), (second, first)):
        if isinstance(inner[2], int) and not isinstance(outer[2], int) and inner[1] > 0:
            return _window(size, offset, outer, inner, boundary)
    if not (isinstance(first[2], int) and isinstance(second[2], int)):
        for outer, inner in ((first, second), (second, first)):
            if boundary is Boundary.INSIDE and _fits(size, offset, inner):
                return _window(size, offset, outer, inner, boundary)
        return None
    if first[1] * second[1] < 0:  # windows of the term against the axis are flipped
        outer, inner = (first, second) if first[1] > 0 else (second, first)
        return _window(size, offset, outer, inner, boundary)
    outer, inner = (first, second) if int(first[2]) >= int(second[2]) else (second, first)
    return _window(size, offset, outer, inner, boundary)


Term = tuple[int, int, Size]  # label, step, size


def _fits(size: Size, offset: Size, inner: Term) -> bool:
    """Whether the axis holds a window at its first position, whatever the sizes."""
    _, step, width = inner
    first = offset if step > 0 else simplest(offset - width + 1)
    room = simplest(size - first - width)
    return abs(step) == 1 and (room >= 0 if isinstance(room, int) else bool(room.is_nonnegative))


def _window(
    size: Size, offset: Size, outer: Term, inner: Term | None, boundary: Boundary
) -> Window | None:
    label, step, count = outer
    dilation = abs(inner[1]) if inner is not None else 1
    width = inner[2] if inner is not None else 1
    flip = inner is not None and inner[1] < 0
    if step < 1 or dilation < 1:
        return None
    if flip:  # the window's last cell is where the index is 0
        offset = simplest(offset - dilation * (width - 1))
    pair = None if inner is None else (inner[0], inner[2])
    if boundary is Boundary.INSIDE:
        return Window((0, 0), size, offset, step, (label, count), dilation, pair, flip)
    left = _past(simplest(-offset))
    if left is None:
        return None
    right = _overhang(size, offset, step, count, dilation * (width - 1))
    padded = simplest(size + left + right)
    first = simplest(offset + left)
    return Window((left, right), padded, first, step, (label, count), dilation, pair, flip)


def _past(size: Size) -> Size | None:
    """The size, 0 if it is negative; None if that cannot be told."""
    if isinstance(size, int):
        return max(size, 0)
    return size if size.is_nonnegative else 0 if size.is_nonpositive else None


def _overhang(size: Size, offset: Size, step: int, count: Size, reach: Size) -> Size:
    """How far positions may run past the axis: exact, or a bound that needs no comparison."""
    last = bounded(simplest(offset + step * (count - 1) + reach))
    exact = _past(simplest(last - size + 1))
    if exact is not None:
        return exact
    # unrelated sizes: pad by all that could be needed, last + 1 >= last + 1 - size
    safe = _past(simplest(last + 1))
    if safe is not None:
        return safe
    return simplest(step * count + (_past(offset) or 0) + reach)


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

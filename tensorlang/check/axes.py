"""Axes and kinds of declared tensors, and of left sides."""

from __future__ import annotations

from tensorlang.check.errors.dims import SizeOfCall, UnknownDim
from tensorlang.check.errors.indices import EllipsisMisplaced, LeftNotIndex, LeftRepeated
from tensorlang.check.errors.layers import (
    NotYet,
)
from tensorlang.check.errors.names import WronglyUsed
from tensorlang.check.errors.types import UnknownDtype
from tensorlang.check.mentions import base
from tensorlang.check.program import (
    Axis,
    Index,
)
from tensorlang.check.scope import Kind, LayerScope, Tensor
from tensorlang.check.types import REAL, SHOWN
from tensorlang.check.values import called
from tensorlang.dtype import Dtype
from tensorlang.source import Span
from tensorlang.syntax import ast

_DTYPES = {shown: dtype for dtype, shown in SHOWN.items()}


# --- axes ----------------------------------------------------------------------------------------
def axes(
    scope: LayerScope, slots: tuple[ast.Slot, ...], what: str, ellipsis: bool
) -> tuple[Axis | None, ...] | None:
    """Axes as declared; None if a mistake was reported."""
    out: list[Axis | None] = []
    fine = True
    written: dict[Index, Span] = {}
    for slot in slots:
        match slot:
            case ast.EllipsisSlot(span):
                if not ellipsis:
                    scope.report(EllipsisMisplaced(span, f"cannot stand in {what}"))
                    fine = False
                elif None in out:
                    scope.report(EllipsisMisplaced(span, "stands twice in one tensor"))
                    fine = False
                else:
                    out.append(None)
                continue
            case ast.TypedSlot(_, type_):
                kind = type_.name if isinstance(type_, ast.Call) else type_.span.text
                scope.report(NotYet(slot.span, f"indices of type {kind} are"))
                fine = False
                continue
            case ast.ExprSlot(ast.Name() as name, None):
                names: tuple[ast.Name, ...] = (name,)
            case ast.GroupSlot(indices):
                names = indices
            case _:
                scope.report(LeftNotIndex(slot.span, what))
                fine = False
                continue
        found = [declared_index(scope, name) for name in names]
        for index, name in zip(found, names, strict=True):
            if index is None:
                fine = False
            elif index in written:
                scope.report(LeftRepeated(name.span, index.name, written[index]))
                fine = False
            else:
                written[index] = name.span
        out.append(Axis(tuple(index for index in found if index is not None)))
    return tuple(out) if fine else None


def declared_index(scope: LayerScope, name: ast.Name) -> Index | None:
    """An index of a declaration or a left side; a mistake is reported and gives None."""
    index = scope.known_index(name.id)
    if index is not None:
        return index
    root = base(name.id)
    named = scope.names.get(root)
    if scope.dims.broken(root) or root in scope.poisoned or root in scope.reported:
        return None
    if root in scope.index_dims:
        return None
    if named is not None and named.kind not in (Kind.HYPER, Kind.DIM):
        scope.report(WronglyUsed(name.span, root, named.kind.value, "an index is needed here"))
        return None
    scope.reported.add(root)
    scope.report(UnknownDim(name.span, root, scope.close(root)))
    return None


def tensor(
    scope: LayerScope,
    declared: ast.Declared,
    kind: Kind,
    slots: tuple[Axis | None, ...] | None,
    dtype: Dtype | None,
    order: tuple[int, ...] | None = None,
) -> Tensor:
    """A tensor in scope; one with a mistake is entered as bad."""
    bad = slots is None or dtype is None
    expanded: list[Axis] = []
    for slot in slots or ():
        expanded += [Axis((index,)) for index in scope.ellipsis] if slot is None else [slot]
    order = tuple(range(len(expanded))) if order is None or bad else order
    out = Tensor(
        declared.name,
        kind,
        slots or (),
        tuple(expanded[k] for k in order),
        order,
        REAL if dtype is None else dtype,
        declared.span,
        bad,
    )
    scope.tensors[declared.name] = out
    return out


def declared_dtype(scope: LayerScope, declared: ast.Declared) -> Dtype | None:
    """The kind of number after the colon, real if there is none; None if it was reported."""
    if declared.dtype is None:
        return REAL
    found = _DTYPES.get(declared.dtype.id)
    if found is None:
        scope.report(UnknownDtype(declared.dtype.span, declared.dtype.id))
    return found


def static(
    scope: LayerScope, declared: ast.Declared, slots: tuple[Axis | None, ...], what: str
) -> bool:
    """Whether all sizes are known before a call."""
    for slot in slots:
        for index in slot.indices if slot is not None else ():
            if called(index.dim.size):
                scope.report(SizeOfCall(declared.span, declared.name, what, index.dim.name))
                return False
    return True

"""Consts that a constructor builds: `const E[p, i, j] = plucker(p, i, j)`."""

from __future__ import annotations

import sympy

from tensorlang.check.axes import axes, static, tensor
from tensorlang.check.consts import form, tensor_of_nothing
from tensorlang.check.errors.constants import BadConstant
from tensorlang.check.errors.types import UnknownKeyword
from tensorlang.check.program import Axis, Const, Constructed, Index
from tensorlang.check.scope import Kind, LayerScope
from tensorlang.library.constant import Constant, Number
from tensorlang.registry import constants
from tensorlang.syntax import ast


def constructor(scope: LayerScope, statement: ast.ConstDecl) -> Constant | None:
    """The row that the value calls, unless a def has taken its name."""
    call = statement.value
    if not isinstance(call, ast.Call) or call.slots is not None or call.args is None:
        return None
    return None if call.name in scope.source.scope.defs else constants().get(call.name)


def named(statement: ast.ConstDecl) -> list[ast.Name]:
    """The indices that a constructor is called with; an axis that is left out comes first."""
    call = statement.value
    assert isinstance(call, ast.Call), call
    names = [a.expr for a in call.args or () if a.name is None and isinstance(a.expr, ast.Name)]
    given = {name.id for name in names}
    missing = [name for name in _slots(statement) if name.id not in given]
    row = constants()[call.name]
    needed = row.axes[1]
    left_out = len(missing) == 1 and needed is not None and len(names) == needed - 1
    return [*missing, *names] if left_out else names


def _slots(statement: ast.ConstDecl) -> list[ast.Name]:
    names: list[ast.Name] = []
    for slot in statement.tensor.slots or ():
        match slot:
            case ast.ExprSlot(ast.Name() as name, None):
                names.append(name)
            case ast.GroupSlot(indices):
                names += indices
    return names


def constructed(
    scope: LayerScope, statement: ast.ConstDecl, row: Constant, owned: set[int]
) -> None:
    """Check the call of a constructor and enter the const."""
    declared = statement.tensor
    form(scope, statement)
    slots = axes(scope, declared.slots or (), "a const", ellipsis=False)
    fixed = slots is not None and static(scope, declared, slots, "const")
    value = _value(scope, statement, row, slots) if fixed and slots is not None else None
    if id(declared) not in owned:
        tensor_of_nothing(declared)
        return
    entered = tensor(scope, declared, Kind.CONST, slots, None if value is None else row.dtype)
    if value is not None and not entered.bad:
        span = declared.span
        scope.consts.append(Const(entered.name, entered.axes, entered.dtype, value, span))


def _value(
    scope: LayerScope,
    statement: ast.ConstDecl,
    row: Constant,
    slots: tuple[Axis | None, ...],
) -> Constructed | None:
    call = statement.value
    assert isinstance(call, ast.Call), call
    arguments = _arguments(scope, call, row)
    own = [index for slot in slots if slot is not None for index in slot.indices]
    known = {index.name: index for index in own}
    for argument in call.args or ():
        expr = argument.expr
        if argument.name is None and not (isinstance(expr, ast.Name) and expr.id in known):
            fault = f"takes the indices of {statement.tensor.name}, {', '.join(known)}"
            scope.report(BadConstant(argument.span, row.name, fault))
            return None
    indices = tuple(known[name.id] for name in named(statement))
    wrong = _fault(row, indices, own)
    if wrong is not None:
        scope.report(BadConstant(call.span, row.name, wrong))
        return None
    if arguments is None:
        return None
    built = Constructed(row.name, indices, tuple(arguments.items()))
    if all(isinstance(index.dim.size, int) for index in indices):
        wrong = row.check(built.slots, arguments)
        if wrong is not None:
            scope.report(BadConstant(call.span, row.name, wrong))
            return None
    return built


def _fault(row: Constant, indices: tuple[Index, ...], own: list[Index]) -> str | None:
    least, most = row.axes
    if len(indices) < least or (most is not None and len(indices) > most):
        count = f"{least}" if most == least else f"{least} or more" if most is None else ""
        return f"takes {count or f'{least} to {most}'} indices, found {len(indices)}"
    if sorted(map(own.index, indices)) != list(range(len(own))):
        return f"takes each of the indices {', '.join(index.name for index in own)} once"
    return None


def _arguments(scope: LayerScope, call: ast.Call, row: Constant) -> dict[str, Number] | None:
    out = dict(row.arguments)
    fine = True
    for argument in call.args or ():
        if argument.name is None:
            continue
        if argument.name not in out:
            known = tuple(name for name, _ in row.arguments)
            scope.report(UnknownKeyword(argument.span, call.name, argument.name, known))
            fine = False
            continue
        value = scope.dims.constant(argument.expr, "value")
        default = out[argument.name]
        if value is None:
            fine = False
        elif isinstance(value, sympy.Expr):
            continue  # known when the layer is bound
        elif isinstance(value, bool) == isinstance(default, bool) and isinstance(
            value, int | float
        ):
            out[argument.name] = value
        else:
            kind = "true or false" if isinstance(default, bool) else "a number"
            fault = f"{argument.name} is {kind}"
            scope.report(BadConstant(argument.span, row.name, fault))
            fine = False
    return out if fine else None

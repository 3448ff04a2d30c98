"""`param W[..] ~ law as form(..)`: W becomes its factors, and an equation that defines it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import sympy

from tensorlang.check.errors.factorisations import (
    BadFactorisation,
    FactorisedInitialiser,
    RanksOfValues,
    UnknownFactorisation,
)
from tensorlang.check.errors.names import ModuleAttribute
from tensorlang.check.names import user_of
from tensorlang.check.program import (
    Affine,
    AffineAt,
    Apply,
    At,
    Axis,
    Boundary,
    Dim,
    Equation,
    Expr,
    Factored,
    Index,
    IndexValue,
    Initialiser,
    Literal,
    Param,
    Read,
    Reduce,
    ReduceOp,
    Subscript,
    Value,
)
from tensorlang.check.scope import LayerScope, Tensor
from tensorlang.check.values import called
from tensorlang.dtype import Dtype
from tensorlang.library.factorisation import (
    Axes,
    Factor,
    Factorisation,
    Form,
    Mode,
    Position,
    Ranks,
    Unfit,
    key,
    resolved,
)
from tensorlang.library.initialiser import Fan, Law
from tensorlang.registry import factorisations, initialisers
from tensorlang.size import product
from tensorlang.source import Span
from tensorlang.syntax import ast

RANKS = ".ranks"
"""What a bound value for ranks by tol is called: the param's name and this."""


@dataclass(frozen=True, slots=True)
class Clause:
    """An `as` clause: its row, its rank argument (an int, a list, a ratio) or `tol`."""

    row: Factorisation
    rank: Value | None
    tol: float | None
    arguments: Mapping[str, int]
    span: Span


# --- the clause ----------------------------------------------------------------------------------
def clause(scope: LayerScope, statement: ast.ParamDecl) -> Clause | None:
    """Read an `as` clause; None if a mistake was reported or a value is not known."""
    expr = statement.factorisation
    assert expr is not None, statement
    name = expr.span.text
    given: tuple[ast.Argument, ...] = ()
    match expr:
        case ast.Name(id):
            name = id
        case ast.Call(id, _, None, None, args) if args is not None:
            name, given = id, args
        case _:
            pass
    rows = factorisations()
    row = rows.get(name)
    if row is None:
        close = scope.session.close(name, rows)
        scope.report(UnknownFactorisation(expr.span, name, tuple(rows), close))
        return None
    param = statement.tensors[0].name
    names = [*([row.rank] if row.rank else []), *(name for name, _ in row.arguments)]
    values: dict[str, Value] = {}
    for k, argument in enumerate(given):
        key = argument.name or (names[k] if k < len(names) else "")
        if key in ("rank", "ranks") and row.rank is not None:
            key = row.rank
        if key not in names and not (key == "tol" and row.rank is not None):
            takes = [*names, "tol"] if row.rank else names
            text = f"{row.name} takes {', '.join(takes)}" if takes else f"{row.name} takes nothing"
            found = f", not {argument.name}" if argument.name else ""
            scope.report(BadFactorisation(argument.span, param, text + found, _usage(row)))
            return None
        if key in values:
            scope.report(BadFactorisation(argument.span, param, f"{key} is given twice"))
            return None
        value = scope.dims.constant(argument.expr, "value")
        if value is None:
            return None
        if isinstance(value, sympy.Expr) and (names_of_call := called(value)):
            name = ", ".join(str(symbol.name) for symbol in names_of_call)
            fault = f"the size of {name} is known only at a call"
            scope.report(BadFactorisation(argument.span, param, fault))
            return None
        values[key] = value
    return _clause(scope, statement, row, values, expr.span)


def _clause(
    scope: LayerScope,
    statement: ast.ParamDecl,
    row: Factorisation,
    values: dict[str, Value],
    span: Span,
) -> Clause | None:
    def bad(fault: str, hint: str | None = None) -> None:
        scope.report(BadFactorisation(span, statement.tensors[0].name, fault, hint))

    tol = values.pop("tol", None)
    rank = values.pop(row.rank, None) if row.rank is not None else None
    if tol is not None:
        if rank is not None:
            bad(f"{row.rank} and tol cannot both be given", "tol finds the ranks")
            return None
        if isinstance(tol, sympy.Expr):
            tol = 0.5  # a stand-in for what an unbound hyperparameter will say
        if not isinstance(tol, int | float) or isinstance(tol, bool) or not 0 < tol < 1:
            bad("tol is a relative error between 0 and 1")
            return None
        if not statement.given:
            bad("tol needs values to decompose", "write  ~ given, or give ranks")
            return None
    elif rank is None and row.rank is not None:
        if row.default is None:
            bad(f"{row.name} needs {row.rank} or tol", _usage(row))
            return None
        rank = row.default
    arguments: dict[str, int] = {}
    for name, default in row.arguments:
        value = values.get(name, default)
        if value is None:
            bad(f"{row.name} needs {name}", _usage(row))
            return None
        if isinstance(value, sympy.Expr):
            value = 1
        if not isinstance(value, int) or isinstance(value, bool):
            bad(f"{name} must be an integer")
            return None
        arguments[name] = value
    return Clause(row, rank, None if tol is None else float(tol), arguments, span)


def _usage(row: Factorisation) -> str:
    return f"for example  {row.example}"


# --- the param -----------------------------------------------------------------------------------
def factorise(
    scope: LayerScope, entered: Tensor, law: Initialiser, frozen: bool, found: Clause
) -> list[Equation]:
    """Enter the factors of a param; gives the equation that defines it.

    Where sizes or ranks are not known yet the param stays dense: that is enough to check the rest.
    """
    dense = Param(entered.name, entered.axes, entered.dtype, law, frozen, 1, entered.span)
    if not _lawful(scope, dense, found):
        scope.params.append(dense)
        return []
    indices = entered.indices
    if any(not isinstance(index.dim.size, int) for index in indices) or _open(found.rank):
        scope.params.append(dense)
        return []
    axes = tuple(
        tuple(Mode(index.name, _int(index.dim.size)) for index in axis.indices)
        for axis in entered.axes
    )
    try:
        ranks = _ranks(scope, entered, axes, found)
        if ranks is None:
            scope.params.append(dense)
            return []
        form = found.row.form(axes, ranks, found.arguments)
    except Unfit as unfit:
        scope.report(BadFactorisation(found.span, entered.name, str(unfit), unfit.help))
        scope.params.append(dense)
        return []
    if not _statable(scope, dense, form, found):
        return []
    for factor in form.factors:
        user = user_of(factor.name, by_its_name=True)
        if user is not None:
            name = f"{entered.name}.{factor.name}"
            scope.report(ModuleAttribute(entered.span, name, user))
        scope.params.append(_factor(dense, factor, form))
    arguments = tuple(found.arguments.items())
    kind = found.row.name
    scope.factored.append(
        Factored(entered.name, entered.axes, entered.dtype, kind, ranks, arguments, found.tol)
    )
    scope.forms[entered.name] = form
    equation = _equation(dense, form)
    for axis in (*equation.axes, *(axis for param in scope.params for axis in param.axes)):
        for index in axis.indices:
            scope.dims.bring(index.dim.name, index.dim.size)
    return [equation]


def _open(rank: Value | None) -> bool:
    items = rank if isinstance(rank, tuple) else (rank,)
    return any(isinstance(item, sympy.Expr) for item in items)


def _int(size: object) -> int:
    assert isinstance(size, int), size
    return size


def _ranks(scope: LayerScope, entered: Tensor, axes: Axes, found: Clause) -> Ranks | None:
    """Ranks as written, or as bound where values decide; None while they are not known."""
    bound = scope.ranks.get(entered.name)
    if found.tol is None:
        return resolved(found.row, axes, found.rank, found.arguments)
    if bound is not None:
        return resolved(found.row, axes, bound, found.arguments)
    found.row.most(axes, found.arguments)  # the axes are looked at in any case
    if not scope.session.symbolic:
        scope.report(RanksOfValues(found.span, entered.name, scope.layer.name))
    return None


def _factor(dense: Param, factor: Factor, form: Form) -> Param:
    name = f"{dense.name}.{factor.name}"
    axes = []
    for read, size in zip(factor.reads, factor.shape, strict=True):
        if isinstance(read, str):
            axes.append(Axis((_indices(dense, form)[read],)))
        else:
            axes.append(Axis((Index(factor.name, Dim(name, size)),)))
    return replace(dense, name=name, axes=tuple(axes))


def _indices(dense: Param, form: Form) -> dict[str, Index]:
    """The program's index for each mode and bond of a form."""
    own = {index.name: index for axis in dense.axes for index in axis.indices}
    out: dict[str, Index] = {}
    for mode in (*(m for axis in form.axes for m in axis), *form.bonds):
        index = own.get(mode.name)
        known = index is not None and index.dim.size == mode.size and mode not in form.bonds
        made = Index(mode.name, Dim(f"{dense.name}.{key(mode.name)}", mode.size))
        out[mode.name] = index if index is not None and known else made
    return out


def _equation(dense: Param, form: Form) -> Equation:
    """W as the sum over bonds of the product of its factors."""
    indices = _indices(dense, form)
    reads = [
        Read(
            f"{dense.name}.{factor.name}",
            tuple(_subscript(read, indices) for read in factor.reads),
            dense.dtype,
        )
        for factor in form.factors
    ]
    body: Expr = reads[0] if len(reads) == 1 else Apply("mul", tuple(reads), dense.dtype)
    if form.bonds:
        bonds = tuple(indices[bond.name] for bond in form.bonds)
        body = Reduce(ReduceOp.SUM, bonds, None, body, dense.dtype)
    for first, second in form.equal:
        same = Apply("eq", (IndexValue(indices[first]), IndexValue(indices[second])), Dtype.BOOL)
        zero = Literal(complex(0) if dense.dtype is Dtype.COMPLEX else 0.0, dense.dtype)
        body = Apply("where", (same, body, zero), dense.dtype)
    axes = tuple(Axis(tuple(indices[mode.name] for mode in axis)) for axis in form.axes)
    return Equation(dense.name, axes, dense.dtype, body, dense.span)


def _subscript(read: str | Position, indices: Mapping[str, Index]) -> Subscript:
    if isinstance(read, str):
        return At(indices[read])
    terms = tuple((indices[name], coefficient) for name, coefficient in read.terms)
    return AffineAt(Affine(terms, read.offset), Boundary.WRAP if read.wrap else Boundary.INSIDE)


# --- initial values ------------------------------------------------------------------------------
def _lawful(scope: LayerScope, dense: Param, found: Clause) -> bool:
    """Whether the law is one that factors can follow at all."""
    row = initialisers()[dense.initialiser.name]
    if row.law in (Law.EYE, Law.ORTHOGONAL):
        fault = "is a law of the whole matrix"
        scope.report(FactorisedInitialiser(found.span, dense.name, row.name, fault))
        return False
    return True


def _statable(scope: LayerScope, dense: Param, form: Form, found: Clause) -> bool:
    """Whether factors can give W the mean of its law. A lone factor takes any."""
    if len(form.factors) == 1 and not form.equal and not form.bonds:
        return True
    mean = _mean_and_std(dense.initialiser, Fan(1, 1))[0]
    if mean:
        fault = f"has mean {mean:g}, which {found.row.name} cannot keep"
        scope.report(FactorisedInitialiser(found.span, dense.name, dense.initialiser.name, fault))
        return False
    return True


def _mean_and_std(law: Initialiser, fan: Fan) -> tuple[float, float]:
    row = initialisers()[law.name]
    numbers = row.bound({name: float(value) for name, value in law.args}, fan)
    match row.law:
        case Law.NORMAL:
            return numbers[0], numbers[1]
        case Law.UNIFORM:
            low, high = numbers
            return (low + high) / 2, (high - low) / math.sqrt(12)
        case Law.CONSTANT:
            return numbers[0], 0.0
        case Law.GIVEN | Law.EYE | Law.ORTHOGONAL:
            return 0.0, 0.0


def with_initial_values(scope: LayerScope) -> Iterator[Param]:
    """The params with their fan_in; factors with the law that gives the dense tensor its own."""
    for param in scope.params:
        name, _, factor = param.name.partition(".")
        fan_in = scope.fan_in.get(name, 1)
        if not factor:
            yield replace(param, fan_in=fan_in)
            continue
        form = scope.forms[name]
        shape = (mode.size for axis in form.axes for mode in axis)
        total = _int(product(shape))
        assert isinstance(fan_in, int), param
        fan = Fan(fan_in, total // max(fan_in, 1))
        law = _factor_law(param.initialiser, fan, form, factor == form.factors[0].name)
        yield replace(param, fan_in=fan_in, initialiser=law)


def _factor_law(law: Initialiser, fan: Fan, form: Form, first: bool) -> Initialiser:
    row = initialisers()[law.name]
    lone = len(form.factors) == 1
    if row.law is Law.GIVEN:
        return law
    if lone and not form.equal and not form.bonds:
        return _numbers(law, fan, 1.0)
    std = _mean_and_std(law, fan)[1]
    if std == 0 and first:
        return Initialiser("zeros", ())
    if std == 0:  # the others start as if W were ~ kaiming, so that the first one has a gradient
        std = 1 / math.sqrt(3 * max(fan.fan_in, 1))
    if lone and row.law is Law.UNIFORM:
        return _numbers(law, fan, form.factor_std(1.0))
    return Initialiser("normal", (("mean", 0.0), ("std", form.factor_std(std))))


def _numbers(law: Initialiser, fan: Fan, scale: float) -> Initialiser:
    """The law written with its numbers, which depend on the dense tensor's fan."""
    row = initialisers()[law.name]
    numbers = row.bound({name: float(value) for name, value in law.args}, fan)
    names = {Law.NORMAL: ("mean", "std"), Law.UNIFORM: ("low", "high"), Law.CONSTANT: ("value",)}
    plain: Callable[[float], float] = lambda number: number * scale  # noqa: E731
    name = {Law.NORMAL: "normal", Law.UNIFORM: "uniform", Law.CONSTANT: "constant"}[row.law]
    return Initialiser(name, tuple(zip(names[row.law], map(plain, numbers), strict=True)))

"""Transforms, which exchange indices: FFTs, concat, matrix functions."""

from __future__ import annotations

from dataclasses import dataclass

from tensorlang.check import terms as t
from tensorlang.check.brackets import Slotted, bind, localised
from tensorlang.check.errors.constants import NotHarmonics
from tensorlang.check.errors.indices import IndexAbsent, OperatorIndices
from tensorlang.check.errors.types import (
    ArgumentValue,
    Arity,
    ConditionMisplaced,
    UnknownKeyword,
    WrongTypes,
)
from tensorlang.check.mentions import base
from tensorlang.check.program import (
    Index,
    TransformOp,
)
from tensorlang.check.scope import Env, LayerScope
from tensorlang.check.values import called
from tensorlang.library.irreps import natural, natural_degree
from tensorlang.registry import transforms
from tensorlang.size import Size, same, simplest
from tensorlang.syntax import ast

_TRANSFORMS = {op.value: op for op in TransformOp}


_MATRIX = (
    TransformOp.INV,
    TransformOp.CHOLESKY,
    TransformOp.SQRTM,
    TransformOp.EXPM,
    TransformOp.LOGM,
)


_NORMS = ("forward", "backward", "ortho")


# --- transforms ----------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class _Exchange:
    """The brackets of a transform: names of sources and targets."""

    sources: list[ast.Name]
    targets: list[ast.Name]


def transform(scope: LayerScope, call: ast.Call, op: TransformOp, env: Env) -> t.Term:
    if call.where is not None:
        scope.report(ConditionMisplaced(call.where.span, call.name))
    exchange = _exchange(scope, call, op)
    targets = [] if exchange is None else [scope.index(name, env) for name in exchange.targets]
    sources = [] if exchange is None else [scope.index(name, env) for name in exchange.sources]
    found = [index for index in (*sources, *targets) if index is not None]
    known = exchange is not None and len(found) == len(sources) + len(targets)
    source, target = tuple(found[: len(sources)]), tuple(found[len(sources) :])
    local: dict[str, Index] = {}
    if known and exchange is not None and env.frame is not None:
        slotted = [Slotted(index, call.span) for index in source]
        kept = {name.id for name in exchange.targets}
        names = [base(n.id) if n.id in kept else n.id for n in exchange.sources]
        slotted, local = localised(scope, slotted, names, env)
        source = tuple(s.index for s in slotted)
    args, norm = _arguments(scope, call, op, bind(env, local, source))
    if not known or exchange is None or norm is None:
        return t.Bad(span=call.span)
    if not _fits(scope, call, op, exchange, source, target, args):
        return t.Bad(span=call.span)
    row = transforms()[op.value]
    dtype = row.dtype(tuple(arg.dtype for arg in args))
    if isinstance(dtype, str):
        scope.report(WrongTypes(call.span, op.value, dtype))
        return t.Bad(span=call.span)
    free: t.Free = {}
    for k, arg in enumerate(args):
        free.update(t.without(arg.free, source[k : k + 1] if op is TransformOp.CONCAT else source))
    free.update(dict.fromkeys(target))
    return t.Transform(
        span=call.span,
        free=free,
        dtype=dtype,
        op=op,
        source=source,
        target=target,
        args=tuple(args),
        norm=norm,
    )


def _exchange(scope: LayerScope, call: ast.Call, op: TransformOp) -> _Exchange | None:
    row = transforms()[op.value]
    sources: list[ast.Name] = []
    targets: list[ast.Name] = []
    arrows = 0
    for slot in call.slots or ():
        match slot:
            case ast.ExprSlot(ast.Name() as name, None):
                sources.append(name)
            case ast.ArrowSlot(
                ast.ExprSlot(ast.Name() as left, None), ast.ExprSlot(ast.Name() as right, None)
            ):
                sources.append(left)
                targets.append(right)
                arrows += 1
            case _:
                rule = f"takes {_shape(op)}"
                scope.report(OperatorIndices(slot.span, call.name, rule))
                return None
    if op in _MATRIX:
        fits = not arrows and len(sources) == 2
        targets = list(sources)
    elif op is TransformOp.SOLVE:
        fits = not arrows and len(sources) == 2
        targets = sources[1:]
    elif op in (TransformOp.EIGVALS, TransformOp.EIGVECS):
        fits = arrows == 1 and len(sources) == 2
        targets = [sources[0], *targets] if op is TransformOp.EIGVECS and sources else targets
    elif op is TransformOp.CONCAT:
        fits = (
            arrows == 1 and bool(call.slots) and isinstance((call.slots or ())[-1], ast.ArrowSlot)
        )
    elif op is TransformOp.SPHERICAL_HARMONICS:
        fits = arrows == len(sources) == 1
    else:
        fits = arrows == len(sources) > 0
    if not fits:
        scope.report(OperatorIndices(call.name_span, call.name, f"takes {_shape(op)}"))
        return None
    names = [name.id for name in targets]
    twice = [name for name in targets if names.count(name.id) > 1]
    if op is not TransformOp.CONCAT:
        names = [name.id for name in sources]
        twice += [name for name in sources if names.count(name.id) > 1]
    if twice:
        scope.report(OperatorIndices(twice[-1].span, call.name, f"names {twice[-1].id} twice"))
        return None
    assert row.targets is None or row.targets == len(targets), (row, targets)
    return _Exchange(sources, targets)


def _shape(op: TransformOp) -> str:
    match op:
        case TransformOp.CONCAT:
            return "indices, an arrow and the new index: concat[a, b -> f](A[a], B[b])"
        case TransformOp.EIGVALS | TransformOp.EIGVECS:
            return f"rows, columns and the new index: {op.value}[n, n' -> k](A[n, n'])"
        case TransformOp.SPHERICAL_HARMONICS:
            return "one pair with an arrow: spherical_harmonics[xyz -> j](...)"
        case TransformOp.SOLVE:
            return "rows and columns of the matrix: solve[n, n'](A[n, n'], b[n])"
        case TransformOp.FFT | TransformOp.IFFT | TransformOp.RFFT | TransformOp.IRFFT:
            return f"pairs with an arrow: {op.value}[x -> kx](...)"
        case _:
            return f"rows and columns of the matrix: {op.value}[n, n'](A[n, n'])"


def _arguments(
    scope: LayerScope, call: ast.Call, op: TransformOp, env: Env
) -> tuple[list[t.Term], str | None]:
    """Arguments of a transform and its norm, None if that is wrong."""
    row = transforms()[op.value]
    args: list[t.Term] = []
    norm: str | None = "backward"
    for argument in call.args or ():
        if argument.name is None:
            args.append(scope.expression(argument.expr, env))
        elif argument.name != "norm" or not row.norm:
            known = ("norm",) if row.norm else ()
            scope.report(UnknownKeyword(argument.span, call.name, argument.name, known))
            norm = None
        else:
            value = _string(scope, argument.expr)
            if value not in _NORMS:
                rule = f"norm is one of {', '.join(_NORMS)}, written as a string"
                scope.report(ArgumentValue(argument.expr.span, call.name, rule))
                norm = None
            else:
                norm = value if norm is not None else None
    return args, norm


def _string(scope: LayerScope, expr: ast.Expr) -> str | None:
    if isinstance(expr, ast.String):
        return expr.value
    value = scope.hypers.get(expr.id) if isinstance(expr, ast.Name) else None
    return value if isinstance(value, str) else None


def _fits(
    scope: LayerScope,
    call: ast.Call,
    op: TransformOp,
    exchange: _Exchange,
    source: tuple[Index, ...],
    target: tuple[Index, ...],
    args: list[t.Term],
) -> bool:
    """Whether arguments, indices and sizes of a transform go together."""
    row = transforms()[op.value]
    expected = len(source) if op is TransformOp.CONCAT else row.arguments or 1
    if len(args) != expected:
        plural = "1 argument" if expected == 1 else f"{expected} arguments"
        scope.report(Arity(call.span, f"{op.value}[...]", plural, len(args)))
        return False
    if any(arg.bad for arg in args):
        return False
    fine = True
    for k, (index, name) in enumerate(zip(source, exchange.sources, strict=True)):
        readers = args[k : k + 1] if op is TransformOp.CONCAT else args
        if op is TransformOp.SOLVE and k == 1:
            readers = args[:1]
        if not all(index in arg.free for arg in readers):
            scope.report(IndexAbsent(name.span, op.value, name.id))
            fine = False
    if op is TransformOp.CONCAT:
        total: Size = 0
        for index in source:
            total = total + index.dim.size
        total = simplest(total)
        if not same(total, target[0].dim.size):
            rule = f"lays {total} cells end to end, but {target[0].name} has {target[0].dim.size}"
            scope.report(OperatorIndices(exchange.targets[0].span, op.value, rule))
            fine = False
    if op is TransformOp.SPHERICAL_HARMONICS:
        fine = fine and _harmonics(scope, exchange, source[0], target[0])
    square = [index.dim.size for index in source] if row.square else []
    square += [target[-1].dim.size] if op in (TransformOp.EIGVALS, TransformOp.EIGVECS) else []
    if any(not same(square[0], size) for size in square[1:]):
        sizes = " x ".join(map(str, square))
        rule = f"acts on square matrices, here the sizes are {sizes}"
        scope.report(OperatorIndices(call.name_span, op.value, rule))
        fine = False
    return fine


def _harmonics(scope: LayerScope, exchange: _Exchange, source: Index, target: Index) -> bool:
    """Whether a vector becomes all harmonics up to a degree."""
    length, size, irreps = source.dim.size, target.dim.size, target.dim.irreps
    if not same(length, 3):
        fault = f"runs over size {length}, a direction has 3 components: x, y, z"
        scope.report(NotHarmonics(exchange.sources[0].span, source.name, fault))
        return False
    if not isinstance(size, int):
        fault = f"runs over size {size}, that of all degrees up to L is (L + 1)^2"
        if not called(size):
            return True
    elif (degree := natural_degree(size)) is None or (irreps or natural(degree)) != natural(degree):
        shown = f"size {size}" if irreps is None else f"irreps {irreps}"
        fault = f"runs over {shown}, harmonics are all degrees 0 to L with natural parity"
    else:
        return True
    scope.report(NotHarmonics(exchange.targets[0].span, target.name, fault))
    return False

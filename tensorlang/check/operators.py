"""Operators on named indices: reductions, softmax and scans, transforms, `at`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from tensorlang.check import terms as t
from tensorlang.check.errors.indices import IndexAbsent, OperatorIndices, SumOfAbsent
from tensorlang.check.errors.types import (
    ArgumentValue,
    Arity,
    ConditionMisplaced,
    NotACondition,
    UnknownKeyword,
    WrongTypes,
)
from tensorlang.check.mentions import base, nodes
from tensorlang.check.program import (
    AlongOp,
    At,
    Index,
    Literal,
    Read,
    ReduceOp,
    TransformOp,
    subscript_indices,
)
from tensorlang.check.reads import Position, position
from tensorlang.check.scope import Env, LayerScope
from tensorlang.check.types import ARTICLE, BOOL, INT, REAL, convert, reduced
from tensorlang.dtype import Dtype
from tensorlang.registry import functions, transforms
from tensorlang.size import Size, same, simplest
from tensorlang.source import Span
from tensorlang.syntax import ast

_REDUCTIONS = {op.value: op for op in ReduceOp}
_ALONG = {op.value: op for op in AlongOp}
_TRANSFORMS = {op.value: op for op in TransformOp}
OPERATORS = frozenset((*_REDUCTIONS, *_ALONG, *_TRANSFORMS))
_ONE_INDEX = (ReduceOp.ARGMAX, ReduceOp.ARGMIN, AlongOp.CUMSUM, AlongOp.CUMPROD)
_MATRIX = (
    TransformOp.INV,
    TransformOp.CHOLESKY,
    TransformOp.SQRTM,
    TransformOp.EXPM,
    TransformOp.LOGM,
)
_NORMS = ("forward", "backward", "ortho")


@dataclass(frozen=True, slots=True)
class _Slotted:
    """An index of an operator and where it is written."""

    index: Index
    span: Span


def operator(scope: LayerScope, call: ast.Call, env: Env) -> t.Term:
    """A call of a reduction, of softmax or a scan, of a transform."""
    if call.slots is None or (not call.slots and call.name not in _TRANSFORMS):
        example = "fft[x -> kx](...)" if call.name in _TRANSFORMS else f"{call.name}[j](...)"
        rule = f"names in brackets the indices that it acts on, as in {example}"
        if call.name in functions():  # max(), min() without brackets are functions
            rule = "takes two numbers, or indices in brackets"
        scope.report(OperatorIndices(call.name_span, call.name, rule))
        return t.Bad(span=call.span)
    if call.name in _TRANSFORMS:
        return _transform(scope, call, _TRANSFORMS[call.name], env)
    slotted = _plain(scope, call, call.slots, env)
    if slotted is None:
        _report_arguments(scope, call, env)
        return t.Bad(span=call.span)
    if call.name in _REDUCTIONS:
        return _reduction(scope, call, _REDUCTIONS[call.name], slotted, env)
    return _along(scope, call, _ALONG[call.name], slotted, env)


def _report_arguments(scope: LayerScope, call: ast.Call, env: Env) -> None:
    """Check what an operator with a mistake in its brackets is applied to."""
    for argument in call.args or ():
        scope.expression(argument.expr, env)


# --- brackets ------------------------------------------------------------------------------------
def _plain(
    scope: LayerScope, call: ast.Call, slots: tuple[ast.Slot, ...], env: Env
) -> list[_Slotted] | None:
    """Indices in brackets, each once; `...` is the batch indices."""
    out: list[_Slotted] = []
    fine = True
    for slot in slots:
        if isinstance(slot, ast.EllipsisSlot) and env.frame is None and scope.has_ellipsis:
            out += [_Slotted(index, slot.span) for index in scope.ellipsis]
            continue
        name = _slot_name(scope, call, slot)
        index = None if name is None else scope.index(name, env)
        if index is None:
            fine = False
        elif any(index == other.index for other in out):
            rule = f"names {index.name} twice"
            scope.report(OperatorIndices(slot.span, call.name, rule))
            fine = False
        else:
            out.append(_Slotted(index, slot.span))
    if fine and call.name in {op.value for op in _ONE_INDEX} and len(out) != 1:
        scope.report(OperatorIndices(call.name_span, call.name, "acts on one index"))
        return None
    return out if fine else None


def _slot_name(scope: LayerScope, call: ast.Call, slot: ast.Slot) -> ast.Name | None:
    match slot:
        case ast.ExprSlot(ast.Name() as name, None):
            return name
        case ast.ArrowSlot() | ast.BindSlot():
            rule = f"takes a list of indices, as in {call.name}[j](...)"
            scope.report(OperatorIndices(slot.span, call.name, rule))
        case _:
            scope.report(OperatorIndices(slot.span, call.name, "takes indices only"))
    return None


def bind(env: Env, names: Mapping[str, Index], bound: tuple[Index, ...]) -> Env:
    """The inside of an operator that binds indices: facts about outer ones are gone."""
    facts = tuple(fact for fact in env.facts if not any(index in fact.free for index in bound))
    local = {**env.local, **names} if names else env.local
    return replace(env, facts=facts, local=local)


def _localised(
    scope: LayerScope, slots: list[_Slotted], names: list[str], env: Env
) -> tuple[list[_Slotted], dict[str, Index]]:
    """Within a def, primed indices that an operator binds are the def's own."""
    if env.frame is None:
        return slots, {}
    out, local = [], {}
    for slotted, name in zip(slots, names, strict=True):
        if base(name) != name:
            scope.statement.locals += 1
            fresh = Index(slotted.index.name, slotted.index.dim, scope.statement.locals)
            local[name] = fresh
            out.append(_Slotted(fresh, slotted.span))
        else:
            out.append(slotted)
    return out, local


def _names(slots: tuple[ast.Slot, ...]) -> list[str]:
    return [
        slot.expr.id
        for slot in slots
        if isinstance(slot, ast.ExprSlot) and isinstance(slot.expr, ast.Name)
    ]


# --- reductions, softmax, scans ------------------------------------------------------------------
def _condition(
    scope: LayerScope, call: ast.Call, env: Env
) -> tuple[t.Term | None, tuple[t.Term, ...]]:
    """The term after `where`, and the facts that hold in the body."""
    if call.where is None:
        return None, env.facts
    where = scope.expression(call.where, env)
    if not where.bad and where.dtype is not BOOL:
        scope.report(NotACondition(call.where.span, ARTICLE[where.dtype]))
        where.bad = True
    return where, env.facts if where.bad else (*env.facts, where)


def _body(scope: LayerScope, call: ast.Call, env: Env) -> t.Term | None:
    """The one argument of an operator, None if the count is wrong."""
    args = call.args or ()
    for argument in args:
        if argument.name is not None:
            scope.report(UnknownKeyword(argument.span, call.name, argument.name))
            return None
    if len(args) != 1:
        scope.report(Arity(call.span, f"{call.name}[...]", "1 argument", len(args)))
        return None
    return scope.expression(args[0].expr, env)


def _reduction(
    scope: LayerScope, call: ast.Call, op: ReduceOp, slotted: list[_Slotted], env: Env
) -> t.Term:
    assert call.slots is not None, call
    names = _names(call.slots) if env.frame is not None else []
    slotted, local = _localised(scope, slotted, names, env)
    indices = tuple(s.index for s in slotted)
    inner = bind(env, local, indices)
    where, facts = _condition(scope, call, inner)
    if op is ReduceOp.COUNT:
        body = _counted(scope, call)
    else:
        body = _body(scope, call, replace(inner, facts=facts))
    if body is None:
        return t.Bad(span=call.span)
    dtype = REAL if body.bad else reduced(op, body.dtype)
    bad = body.bad or (where is not None and where.bad)
    if isinstance(dtype, str):
        scope.report(
            WrongTypes(call.args[0].expr.span if call.args else call.span, op.value, dtype)
        )
        return t.Bad(span=call.span)
    inside = t.union([body.free] if where is None else [body.free, where.free])
    if not bad:
        for s in slotted:
            if s.index not in inside and not s.index.ellipsis:
                if op in (ReduceOp.SUM, ReduceOp.COUNT):
                    scope.warn(SumOfAbsent(s.span, s.index.name))
                else:
                    scope.report(IndexAbsent(s.span, op.value, s.index.name))
                    bad = True
    if not indices:  # `...` of a call that leaves no batch axes
        return body
    free = t.without(inside, indices)
    return t.Reduction(
        span=call.span,
        free=free,
        dtype=dtype,
        bad=bad,
        op=op,
        indices=indices,
        where=where,
        body=body,
    )


def _counted(scope: LayerScope, call: ast.Call) -> t.Term | None:
    if call.args:
        scope.report(Arity(call.span, "count[...]", "a condition and no argument", len(call.args)))
        return None
    return t.Leaf(span=call.span, dtype=BOOL, expr=Literal(True, BOOL))


def _along(
    scope: LayerScope, call: ast.Call, op: AlongOp, slotted: list[_Slotted], env: Env
) -> t.Term:
    where, facts = _condition(scope, call, env)
    body = _body(scope, call, replace(env, facts=facts))
    if body is None:
        return t.Bad(span=call.span)
    bad = body.bad or (where is not None and where.bad)
    indices = tuple(s.index for s in slotted)
    inside = t.union([body.free] if where is None else [body.free, where.free])
    softmax = op in (AlongOp.SOFTMAX, AlongOp.LOG_SOFTMAX)
    if not bad:
        for s in slotted:
            if s.index not in inside and not s.index.ellipsis:
                scope.report(IndexAbsent(s.span, op.value, s.index.name))
                bad = True
        if softmax and body.dtype is Dtype.COMPLEX:
            why = "it is defined on real numbers only"
            scope.report(WrongTypes(body.span, op.value, why))
            bad = True
    dtype = REAL if softmax else max(body.dtype, INT)
    if not indices:
        return body
    return t.Along(
        span=call.span,
        free=t.union([inside, dict.fromkeys(indices)]),
        dtype=dtype,
        bad=bad,
        op=op,
        indices=indices,
        where=where,
        body=body,
    )


# --- transforms ----------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class _Exchange:
    """The brackets of a transform: names of sources and targets."""

    sources: list[ast.Name]
    targets: list[ast.Name]


def _transform(scope: LayerScope, call: ast.Call, op: TransformOp, env: Env) -> t.Term:
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
        slotted = [_Slotted(index, call.span) for index in source]
        kept = {name.id for name in exchange.targets}
        names = [base(n.id) if n.id in kept else n.id for n in exchange.sources]
        slotted, local = _localised(scope, slotted, names, env)
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
    square = [index.dim.size for index in source] if row.square else []
    square += [target[-1].dim.size] if op in (TransformOp.EIGVALS, TransformOp.EIGVECS) else []
    if any(not same(square[0], size) for size in square[1:]):
        sizes = " x ".join(map(str, square))
        rule = f"acts on square matrices, here the sizes are {sizes}"
        scope.report(OperatorIndices(call.name_span, op.value, rule))
        fine = False
    return fine


# --- at ------------------------------------------------------------------------------------------
def at(scope: LayerScope, call: ast.Call, env: Env) -> t.Term:
    """`at[x = e](expr)`: expr read at a computed position."""
    slots = call.slots or ()
    if call.where is not None:
        scope.report(ConditionMisplaced(call.where.span, "at"))
        return t.Bad(span=call.span)
    bindings = [slot for slot in slots if isinstance(slot, ast.BindSlot)]
    if not slots or len(bindings) < len(slots):
        scope.report(OperatorIndices(call.name_span, "at", "takes positions: at[x = e](...)"))
        return t.Bad(span=call.span)
    if len(call.args or ()) != 1:
        scope.report(Arity(call.span, "at[...]", "1 argument", len(call.args or ())))
        return t.Bad(span=call.span)
    if len(bindings) > 1:  # at[x = a, y = b](e) is at[x = a](at[y = b](e)), positions read outside
        return _nested_at(scope, call, bindings, env)
    return _at(scope, call, bindings[0], (call.args or ())[0].expr, env)


def _nested_at(scope: LayerScope, call: ast.Call, bindings: list[ast.BindSlot], env: Env) -> t.Term:
    names = [
        slot.left.expr.id
        for slot in bindings
        if isinstance(slot.left, ast.ExprSlot) and isinstance(slot.left.expr, ast.Name)
    ]
    for slot in bindings:
        mentioned = {n.id for n in _slot_names(slot.right)}
        if mentioned & set(names) or len(set(names)) < len(bindings):
            rule = "with several positions, none may mention an index that another one replaces"
            scope.report(OperatorIndices(slot.span, "at", rule))
            return t.Bad(span=call.span)
    inner: ast.Expr = (call.args or ())[0].expr
    for slot in reversed(bindings[1:]):
        argument = ast.Argument(None, inner, inner.span)
        inner = ast.Call("at", call.name_span, (slot,), None, (argument,), call.span)
    return _at(scope, call, bindings[0], inner, env)


def _slot_names(slot: ast.Slot) -> list[ast.Name]:
    if not isinstance(slot, ast.ExprSlot):
        return []
    return [node for node in nodes(slot.expr) if isinstance(node, ast.Name)]


def _at(
    scope: LayerScope, call: ast.Call, binding: ast.BindSlot, body: ast.Expr, env: Env
) -> t.Term:
    left, right = binding.left, binding.right
    if not isinstance(left, ast.ExprSlot) or not isinstance(left.expr, ast.Name):
        scope.report(OperatorIndices(left.span, "at", "takes an index on the left of ="))
        return t.Bad(span=call.span)
    index = scope.index(left.expr, env)
    if not isinstance(right, ast.ExprSlot):
        scope.report(OperatorIndices(right.span, "at", "takes one position on the right of ="))
        return t.Bad(span=call.span)
    inner = replace(env, facts=())
    if index is None:
        scope.expression(body, inner)
        return t.Bad(span=call.span)
    names: dict[str, Index] = {}
    bound = index
    if env.frame is not None and base(left.expr.id) != left.expr.id:
        scope.statement.locals += 1
        bound = Index(index.name, index.dim, scope.statement.locals)
        names = {left.expr.id: bound}
    found = position(scope, right, index.dim.size, index.name, env)
    term = scope.expression(body, bind(inner, names, (bound,)))
    if found is None or term.bad:
        return t.Bad(span=call.span)
    if bound not in term.free:
        scope.report(IndexAbsent(left.span, "at", index.name))
        return t.Bad(span=call.span)
    if found.otherwise is not None and found.otherwise.dtype > term.dtype:
        rule = "at: the value after else must be of the kind of what is read"
        scope.report(ArgumentValue(right.span, "at", rule))
        return t.Bad(span=call.span)
    if (moved := _moved(term, bound, found)) is not None:
        return t.Leaf(
            span=call.span,
            free=t.union([t.without(term.free, (bound,)), found.free]),
            dtype=term.dtype,
            expr=moved,
            binders=found.binders or (isinstance(term, t.Leaf) and term.binders),
        )
    return t.At(
        span=call.span,
        free=t.union([t.without(term.free, (bound,)), found.free]),
        dtype=term.dtype,
        index=bound,
        position=found.subscript,
        outside=found.otherwise,
        position_free=found.free,
        body=term,
    )


def _moved(term: t.Term, index: Index, found: Position) -> Read | None:
    """`at[x = e](X[x, d])` is `X[e, d]` where x is one whole axis of a plain read."""
    if not isinstance(term, t.Leaf) or not isinstance(term.expr, Read):
        return None
    read = term.expr
    if (
        read.otherwise is not None
        or sum(index in subscript_indices(s) for s in read.subscripts) > 1
    ):
        return None
    if At(index) not in read.subscripts:
        return None
    subscripts = tuple(found.subscript if s == At(index) else s for s in read.subscripts)
    outside = Literal(0, INT) if found.assumed else found.otherwise
    if outside is not None:
        outside = Literal(convert(outside.value, read.dtype), read.dtype)
    return Read(read.tensor, subscripts, read.dtype, outside)

"""Where implicit sums go (SPEC.md, section 6), and the printing of terms as program expressions.

An index to be summed is handed down: a sum places it in each term, a product in which two or more
factors have it is summed there, one factor or one argument takes it further down.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tensorlang.check import folding
from tensorlang.check import program as p
from tensorlang.check import terms as t
from tensorlang.check.errors.indices import LoneIndex, TwoArguments, TwoReadings
from tensorlang.check.places import holds, report_sums
from tensorlang.check.program import Expr, Index
from tensorlang.check.renaming import Renaming
from tensorlang.check.scope import Kind, LayerScope
from tensorlang.check.types import cast, convert, dtype_of
from tensorlang.dtype import Dtype
from tensorlang.registry import functions
from tensorlang.size import Size, product
from tensorlang.source import Span

Sums = tuple[Index, ...]
"""Indices that a term is asked to sum; all are free in it."""

_OF_NUMBERS = (
    p.ReduceOp.MAX,
    p.ReduceOp.MIN,
    p.ReduceOp.PROD,
    p.ReduceOp.ARGMAX,
    p.ReduceOp.ARGMIN,
)


@dataclass(slots=True)
class Printer:
    """Prints the terms of one statement. `left` is the text before its `=`, for suggestions."""

    scope: LayerScope
    renaming: Renaming
    left: str = ""
    body: Span | None = None
    unit: Span | None = None  # the term of the outermost sum that is being printed
    summed: set[Index] = field(default_factory=set)  # bound by a sum here, as renamed
    kept: frozenset[Index] = field(init=False)  # those of the left side

    def __post_init__(self) -> None:
        self.kept = frozenset(self.renaming.used)

    def print(self, term: t.Term, sums: Sums = ()) -> Expr:
        match term:
            case t.Leaf():
                for index in sums:
                    self._lone(term, index, term.places.get(index, term.span))
                return self._leaf(term)
            case t.Sum():
                return self._sum(term, sums)
            case t.Product():
                return self._product(term, sums)
            case t.Negation(body=body):
                return folding.apply("neg", (self.print(body, sums),), term.dtype)
            case t.Function():
                args = self._arguments(term, term.args, sums, term.shown)
                return folding.apply(term.name, args, term.dtype, term.site)
            case t.Reduction():
                return self._reduction(term, sums)
            case t.Along():
                return self._along(term, sums)
            case t.Transform():
                return self._transform(term, sums)
            case t.At():
                return self._at(term, sums)
            case t.SubLayer():
                return self._sub_layer(term, sums)
            case t.Gradient():
                return self._gradient(term, sums)
            case t.Opaque():
                for index in sums:
                    within = {span for span, arg in term.args if holds(arg, index)}
                    unit = within.pop() if len(within) == 1 else None
                    self._lone(term, index, term.span, f"no outer sum enters {term.name}", unit)
                return self.print(term.body)
            case t.Bad():
                return p.Literal(0.0, Dtype.REAL)
        raise AssertionError(term)

    # --- leaves ----------------------------------------------------------------------------------
    def _leaf(self, leaf: t.Leaf) -> Expr:
        expr = leaf.expr
        now = self.renaming.now
        if leaf.binders or (now and any(index in now for index in leaf.free)):
            expr = self.renaming.expression(expr)
        if isinstance(expr, p.Read) and expr.tensor not in self.scope.fan_in:
            self._first_use(expr)
        return expr

    def _first_use(self, read: p.Read) -> None:
        """fan_in of a param: the sizes of its axes that are summed around its first read."""
        tensor = self.scope.tensors.get(read.tensor)
        if tensor is None or tensor.kind is not Kind.PARAM:
            return
        sizes: list[Size] = []
        for subscript, axis in zip(read.subscripts, tensor.axes, strict=True):
            mentioned = p.subscript_indices(subscript)
            if isinstance(subscript, p.At | p.Group):
                sizes += [index.dim.size for index in mentioned if index in self.summed]
            elif any(index in self.summed for index in mentioned):
                sizes.append(axis.size)  # other indices may not reach all of it, or more often
        self.scope.fan_in[read.tensor] = product(sizes)

    # --- sums and products -----------------------------------------------------------------------
    def _sum(self, term: t.Sum, sums: Sums) -> Expr:
        outermost = self.unit is None
        args = []
        for negative, part in term.terms:
            if outermost:
                self.unit = part.span
            printed = self.print(part, _within(sums, part))
            if negative:
                printed = folding.apply("neg", (printed,), max(dtype_of(printed), Dtype.INT))
            args.append(printed)
        if outermost:
            self.unit = None
        return folding.apply("add", tuple(args), term.dtype)

    def _product(self, term: t.Product, sums: Sums) -> Expr:
        here, down = self._placed(term, sums)
        bound, before = self.renaming.bind(here)
        self.summed.update(bound)
        above: list[tuple[Expr, bool]] = []
        below: list[tuple[Expr, bool]] = []
        for divides, factor in term.factors:
            printed = self.print(factor, _within(down, factor))
            (below if divides else above).append((printed, any(j in factor.free for j in here)))
        self.summed.difference_update(bound)
        self.renaming.unbind(here, before)
        body = _multiplied([printed for printed, _ in above])
        inner = [printed for printed, has in below if has]
        outer = [printed for printed, has in below if not has]
        if inner:
            body = _divided(body, inner)
        if here:
            body = p.Reduce(p.ReduceOp.SUM, bound, None, body, max(dtype_of(body), Dtype.INT))
        if outer:
            body = _divided(body, outer)
        if term.negative:
            body = folding.apply("neg", (body,), max(dtype_of(body), Dtype.INT))
        return body

    def _placed(self, term: t.Product, sums: Sums) -> tuple[Sums, Sums]:
        """Split the sums into those of this product and those of a single factor."""
        if not sums:
            return (), ()
        having: dict[Index, list[t.Term]] = {index: [] for index in sums}
        for _, factor in term.factors:
            for index in sums:
                if index in factor.free:
                    having[index].append(factor)
        here = tuple(index for index in sums if len(having[index]) > 1)
        for index in here:
            for factor in having[index]:
                if holds(factor, index):
                    shown = f"sum[{index.name}]({_text(factor.span)})"
                    self.scope.report(TwoReadings(factor.span, index.name, shown))
        return here, tuple(index for index in sums if len(having[index]) == 1)

    # --- what has arguments ----------------------------------------------------------------------
    def _arguments(
        self, term: t.Term, args: Sequence[t.Term], sums: Sums, shown: str
    ) -> tuple[Expr, ...]:
        for index in sums:
            if sum(index in arg.free for arg in args) > 1:
                self._two_arguments(term, index, shown)
                sums = tuple(other for other in sums if other != index)
        return tuple(self.print(arg, _within(sums, arg)) for arg in args)

    def _where(self, where: t.Term | None, sums: Sums) -> Expr | None:
        if where is None:
            return None
        printed = self.print(where, _within(sums, where))
        return None if isinstance(printed, p.Literal) and printed.value is True else printed

    def _reduction(self, term: t.Reduction, sums: Sums) -> Expr:
        sums = self._once(term, term.where, term.body, sums, term.op.value)
        bound, before = self.renaming.bind(term.indices)
        if term.op is p.ReduceOp.SUM:
            self.summed.update(bound)
        where = self._where(term.where, sums)
        body = self.print(term.body, _within(sums, term.body))
        if term.body.dtype is Dtype.BOOL and term.op in _OF_NUMBERS:
            body = cast(body, Dtype.INT)
        self.summed.difference_update(bound)
        self.renaming.unbind(term.indices, before)
        return p.Reduce(term.op, bound, where, body, term.dtype)

    def _along(self, term: t.Along, sums: Sums) -> Expr:
        for index in sums:
            if index in term.indices:
                self._lone(term, index, term.span, f"{term.op.value} acts along it")
        sums = tuple(index for index in sums if index not in term.indices)
        sums = self._once(term, term.where, term.body, sums, term.op.value)
        where = self._where(term.where, sums)
        body = self.print(term.body, _within(sums, term.body))
        indices = tuple(map(self.renaming.index, term.indices))
        return p.Along(term.op, indices, where, body, term.dtype)

    def _once(
        self, term: t.Term, where: t.Term | None, body: t.Term, sums: Sums, shown: str
    ) -> Sums:
        """Leave out, and report, the sums that condition and body both have."""
        if where is None:
            return sums
        for index in sums:
            if index in where.free and index in body.free:
                self._two_arguments(term, index, shown)
                sums = tuple(other for other in sums if other != index)
        return sums

    def _transform(self, term: t.Transform, sums: Sums) -> Expr:
        for index in sums:
            if index in term.target:
                self._lone(term, index, term.span, f"{term.op.value} brings it")
        sums = tuple(index for index in sums if index not in term.target)
        target = tuple(map(self.renaming.index, term.target))
        if term.op is p.TransformOp.CONCAT:
            source, args = self._concat(term, sums)
        else:
            source, before = self.renaming.bind(term.source)
            args = self._arguments(term, term.args, sums, term.op.value)
            self.renaming.unbind(term.source, before)
        return p.Transform(term.op, source, target, args, term.dtype, term.norm)

    def _concat(self, term: t.Transform, sums: Sums) -> tuple[tuple[Index, ...], tuple[Expr, ...]]:
        """Arguments of concat, each with its own index bound: several may be laid along one."""
        sources, args = [], []
        for index in sums:
            if sum(index in arg.free for arg in term.args) > 1:
                self._two_arguments(term, index, term.op.value)
                sums = tuple(other for other in sums if other != index)
        for index, arg in zip(term.source, term.args, strict=True):
            (bound,), before = self.renaming.bind((index,))
            args.append(self.print(arg, _within(sums, arg)))
            self.renaming.unbind((index,), before)
            sources.append(bound)
        return tuple(sources), tuple(args)

    def _at(self, term: t.At, sums: Sums) -> Expr:
        for index in sums:
            if index in term.position_free:
                if index in term.body.free and index != term.index:
                    self._two_arguments(term, index, "at")
                else:
                    self._lone(term, index, term.span)
        sums = tuple(index for index in sums if index not in term.position_free)
        name = self._hoisted(term.body, sums, "at")
        tensor = self.scope.tensors[name]
        position = self.renaming.subscript(term.position)
        subscripts = tuple(
            position
            if axis.indices == (term.index,)
            else p.At(self.renaming.index(axis.indices[0]))
            for axis in tensor.axes
        )
        outside = None
        if _otherwise(term.position):
            value = 0 if term.outside is None else term.outside.value
            outside = p.Literal(convert(value, tensor.dtype), tensor.dtype)
        return p.Read(name, subscripts, tensor.dtype, outside)

    def _hoisted(self, term: t.Term, sums: Sums, wish: str) -> str:
        """Define a temporary tensor of this term's value over its free indices."""
        key = (id(term), sums)
        if (known := self.scope.statement.temporaries.get(key)) is not None:
            return known
        name = self.scope.hoist(term, sums, wish)
        self.scope.statement.temporaries[key] = name
        self.scope.statement.kept.append(term)
        return name

    def _sub_layer(self, term: t.SubLayer, sums: Sums) -> Expr:
        given = []
        for index in sums:
            having = [arg for arg in term.args if index in arg.free]
            if len(having) > 1:
                self._two_arguments(term, index, term.match.sub.name)
            elif not having:
                self._lone(term, index, term.span, f"{term.match.sub.name} brings it")
        for arg in term.args:
            given.append(_within(sums, arg))
        key = (id(term), sums)
        name = self.scope.statement.temporaries.get(key)
        if name is None:
            name = self.scope.call(term, tuple(given), None)
            self.scope.statement.temporaries[key] = name
            self.scope.statement.kept.append(term)
        tensor = self.scope.tensors[name]
        subscripts = tuple(p.At(self.renaming.index(index)) for index in tensor.indices)
        return p.Read(name, subscripts, tensor.dtype)

    def _gradient(self, term: t.Gradient, sums: Sums) -> Expr:
        for index in sums:
            self._lone(term, index, term.by.places.get(index, term.span))
        report_sums(self.scope, term, self.kept)
        name = self.scope.gradient(term)
        read = self._leaf(term.by)
        assert isinstance(read, p.Read), term
        return p.Read(name, read.subscripts, term.dtype)

    # --- reports ---------------------------------------------------------------------------------
    def _lone(
        self,
        term: t.Term,
        index: Index,
        span: Span,
        reason: str = "appears once",
        unit: Span | None = None,
    ) -> None:
        suggestion = self._suggestion(index, unit)
        name = index.name
        self.scope.report(LoneIndex(span, name, index.dim.name, index.dim.size, reason, suggestion))

    def _two_arguments(self, term: t.Term, index: Index, shown: str) -> None:
        self.scope.report(TwoArguments(term.span, index.name, shown, self._suggestion(index)))

    def _suggestion(self, index: Index, unit: Span | None = None) -> str | None:
        """The equation with an explicit sum around `unit`, or the term of the sum that needs it."""
        unit = unit or self.unit or self.body
        if self.body is None or unit is None or self.body.source is not unit.source:
            return None
        body = self.body
        within = body.start <= unit.start <= unit.end <= body.end
        if not within or body.end - body.start > 200:
            return None
        text = body.source.text
        inner = f"sum[{index.name}]({text[unit.start : unit.end]})"
        whole = text[body.start : unit.start] + inner + text[unit.end : body.end]
        whole = " ".join(whole.split())
        return f"{self.left} {whole}"


def _within(sums: Sums, term: t.Term) -> Sums:
    return tuple(index for index in sums if index in term.free) if sums else ()


def _multiplied(factors: list[Expr]) -> Expr:
    if len(factors) == 1:
        return factors[0]
    found = functions()["mul"].dtype(tuple(map(dtype_of, factors)))
    assert isinstance(found, Dtype), found
    return folding.apply("mul", tuple(factors), found)


def _divided(body: Expr, divisors: list[Expr]) -> Expr:
    divisor = _multiplied(divisors)
    found = functions()["div"].dtype((dtype_of(body), dtype_of(divisor)))
    assert isinstance(found, Dtype), found
    return folding.apply("div", (body, divisor), found)


def _otherwise(subscript: p.Subscript) -> bool:
    return (
        isinstance(subscript, p.AffineAt | p.ComputedAt) and subscript.boundary is p.Boundary.ELSE
    )


def _text(span: Span) -> str:
    return " ".join(span.text.split())

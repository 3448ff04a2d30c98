"""A checked program becomes a graph, statement by statement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, assert_never

import numpy as np

from tensorlang.check.dependence import between
from tensorlang.check.program import (
    Apply,
    At,
    Axis,
    Const,
    Constructed,
    Contribution,
    Equation,
    Expr,
    Gradient,
    Index,
    Input,
    Param,
    Program,
    Read,
    Scatter,
    ScatterOp,
    Statement,
    SubCall,
    Table,
    free_indices,
    subscript_indices,
)
from tensorlang.check.subexpressions import children
from tensorlang.differentiate import gradient
from tensorlang.dtype import Dtype
from tensorlang.ir import nodes as ir
from tensorlang.ir.graph import Graph
from tensorlang.ir.reads import identity_read
from tensorlang.lower.expressions import Expressions
from tensorlang.lower.finite import is_finite
from tensorlang.lower.inline import inlined
from tensorlang.lower.prepare import prepare, prepare_subscript
from tensorlang.lower.stand_ins import substituted
from tensorlang.lower.terms import cast
from tensorlang.reference.statements import const as const_value
from tensorlang.size import Size
from tensorlang.source import Span


def lower(program: Program) -> Graph:
    """The graph of one layer with bound hyperparameters; calls of sub-layers stay `Call` nodes."""
    return _Statements(inlined(program)).graph


class _Statements:
    def __init__(self, program: Program) -> None:
        self.graph = Graph(program)
        self.expressions = Expressions(self.graph)
        self.tensors = self.expressions.tensors
        self.expressions.masks = any(isinstance(s, Gradient) for s in program.body)
        self.constants: dict[str, Any] = {}
        self.stand_ins = 0
        self.within = 0  # derivatives of which parts are being lowered
        for position, declared in enumerate(program.inputs):
            node = self._declare(declared, ir.Input(position))
            self.graph.inputs.append(node)
        for param in program.params:
            self.graph.params[param.name] = self._declare(param, ir.Param(param.name))
        for const in program.consts:
            self._const(const)
        self.independent = set(self.tensors)
        self.sites = {id(statement): site for site, statement in enumerate(program.body)}
        for statement in program.body:
            self._statement(statement)
        self.graph.outputs = [self.tensors[name] for name in program.outputs]

    def _statement(self, statement: Statement) -> None:
        self.expressions.spans = (statement.span,)
        match statement:
            case Equation():
                self._equation(statement)
            case Scatter():
                self._scatter(statement)
            case SubCall():
                self._call(statement, self.sites[id(statement)])
            case Gradient():
                node = self._gradient(statement)
                self._name(statement.name, node, statement.span, finite=False)
            case _:
                assert_never(statement)

    def _declare(self, declared: Input | Param, op: ir.Op) -> ir.NodeId:
        sizes = _shape(declared.axes)
        node = ir.Node(op, (), sizes, len(sizes), declared.dtype)
        return self._name(declared.name, self.graph.add(node), declared.span, finite=True)

    def _name(self, name: str, node: ir.NodeId, span: Span, finite: bool) -> ir.NodeId:
        """Give a tensor of the program to a node."""
        self.tensors[name] = node
        if finite:
            self.expressions.finite.add(name)
        self.graph.note(node, (name,), (span,))
        return node

    def _const(self, const: Const) -> None:
        """Values where all sizes are known, else an equation over indices."""
        static = all(isinstance(axis.size, int) for axis in const.axes)
        if not (static and _is_known(const.value, self.constants)):
            assert not isinstance(const.value, Table | Constructed), const
            self.expressions.spans = (const.span,)
            node, finite = self._over(const.axes, const.value, const.dtype)
            self._name(const.name, node, const.span, finite)
            return
        value = const_value(const, {}, self.constants)
        self.constants[const.name] = value
        op = ir.Const(ir.Array(value))
        node = self.graph.add(ir.Node(op, (), _shape(const.axes), value.ndim, const.dtype))
        self._name(const.name, node, const.span, bool(np.isfinite(value).all()))

    def _equation(self, equation: Equation) -> None:
        node, finite = self._over(equation.axes, equation.body, equation.dtype)
        self._name(equation.name, node, equation.span, finite)
        if not finite:
            body = cast(prepare(equation.body), equation.dtype)
            self.expressions.partial.add(equation, body)

    def _over(self, axes: Sequence[Axis], body: Expr, dtype: Dtype) -> tuple[ir.NodeId, bool]:
        """A tensor with these axes, groups merged, and whether it is surely finite."""
        expr = cast(prepare(body), dtype)
        indices = tuple(index for axis in axes for index in axis.indices)
        node = self.expressions.node(expr, indices)
        return self._merged(node, axes), is_finite(expr, self.expressions.finite)

    def _merged(self, node: ir.NodeId, axes: Sequence[Axis]) -> ir.NodeId:
        if all(len(axis.indices) == 1 for axis in axes):
            return node
        groups: list[tuple[int, ...]] = []
        rank = 0
        for axis in axes:
            groups.append(tuple(range(rank, rank + len(axis.indices))))
            rank += len(axis.indices)
        read = identity_read(node, rank)
        merge = ir.Merge(tuple(groups))
        dtype = self.graph.node(node).dtype
        merged = ir.Node(merge, (read,), _shape(axes), len(axes), dtype)
        return self.graph.add(merged, spans=self.expressions.spans)

    def _scatter(self, scatter: Scatter) -> None:
        indices = _kept_axes(scatter)
        rank = len(scatter.axes)
        if len(indices) == rank:  # every value has a cell of its own
            together = _together(scatter)
            if together is not None:
                node, finite = self._over(scatter.axes, together, scatter.dtype)
                self._name(scatter.name, node, scatter.span, finite)
                return
            del indices[scatter.axes[0].indices[0]]
        sizes = list(_shape(scatter.axes))
        reads, targets = [], []
        finite = True
        for contribution in scatter.contributions:
            local = self._landing(contribution, scatter, indices, sizes)
            body = cast(prepare(contribution.body), scatter.dtype)
            finite = finite and is_finite(body, self.expressions.finite)
            reads.append(self.expressions.operand(body, local, ()))
            landing = tuple(local)
            targets.append(
                tuple(
                    self.expressions.subscript(prepare_subscript(s), local, (), landing)
                    for s in contribution.subscripts
                )
            )
        op = ir.Scatter(scatter.op, tuple(targets))
        node = self.graph.add(ir.Node(op, tuple(reads), tuple(sizes), rank, scatter.dtype))
        self._name(scatter.name, node, scatter.span, finite)

    def _landing(
        self,
        contribution: Contribution,
        scatter: Scatter,
        axes: dict[Index, int],
        sizes: list[Size],
    ) -> dict[Index, int]:
        """Local indices of a contribution: axes taken as they are, then its own, added to sizes."""
        local = {
            index: at for index, at in axes.items() if contribution.subscripts[at] == At(index)
        }
        mentioned = [i for s in contribution.subscripts for i in subscript_indices(s)]
        for index in dict.fromkeys((*mentioned, *free_indices(contribution.body))):
            if index not in local:
                local[index] = len(sizes)
                sizes.append(index.dim.size)
        return local

    # --- derivatives -----------------------------------------------------------------------------
    def _gradient(self, statement: Gradient) -> ir.NodeId:
        """The derivative by a tensor, by its name.

        Equal tensors are one node: what is between the two is lowered once more over a stand-in for
        the tensor, which in the derivative gives way to its node. An input or param has a node of
        its own; but within another derivative, what is between may be lowered over a stand-in.
        """
        value, by = statement.value, self.tensors[statement.by]
        own = statement.by in self.independent
        if own and not self.within:
            return gradient(self.graph, self.tensors[value], by)
        kept, partial = dict(self.tensors), self.expressions.partial
        place = by if own else self._stand_in(by)
        self.expressions.partial = partial.without(statement.by)
        self.tensors[statement.by] = place
        self.within += 1
        for step in between(self.graph.program.body, statement.by, value):
            self._statement(step)
        self.within -= 1
        self.expressions.spans = (statement.span,)
        found = gradient(self.graph, self.tensors[value], place)
        self.tensors.clear()
        self.tensors.update(kept)
        self.expressions.partial = partial
        return substituted(self.graph, found, place, by)

    def _stand_in(self, identity: ir.NodeId) -> ir.NodeId:
        """A node that equals no other, of the same shape."""
        node = self.graph.node(identity)
        position = len(self.graph.program.inputs) + self.stand_ins
        self.stand_ins += 1
        return self.graph.add(replace(node, op=ir.Input(position), reads=(), sizes=node.shape))

    def _call(self, call: SubCall, site: int) -> None:
        reads = tuple(
            identity_read(self.tensors[name], self.graph.node(self.tensors[name]).rank)
            for name in call.inputs
        )
        apart = site + 1 if _calls_dropout(call.program) else 0
        for position, output in enumerate(call.outputs):
            op = ir.Call(call.sub, call.program.signature, position, apart)
            sizes = _shape(output.axes)
            node = self.graph.add(ir.Node(op, reads, sizes, len(sizes), output.dtype))
            self._name(output.name, node, call.span, finite=False)


def _kept_axes(scatter: Scatter) -> dict[Index, int]:
    """Indices of the axes that every contribution takes as they are, and their places."""
    return {
        axis.indices[0]: at
        for at, axis in enumerate(scatter.axes)
        if len(axis.indices) == 1
        and all(c.subscripts[at] == At(axis.indices[0]) for c in scatter.contributions)
    }


def _together(scatter: Scatter) -> Expr | None:
    """Contributions that land cell by cell as one expression.

    None for several of max= or min= to a tensor: their ties are shared by all of them.
    """
    first, *others = (cast(c.body, scatter.dtype) for c in scatter.contributions)
    if not others:
        return first
    if scatter.op is ScatterOp.SUM:
        return Apply("add", (first, *others), scatter.dtype)
    if scatter.axes:
        return None
    for other in others:
        first = Apply(scatter.op.value, (first, other), scatter.dtype)
    return first


def _is_known(value: Expr | Table | Constructed, constants: Mapping[str, object]) -> bool:
    """Whether a const reads only consts whose values are known."""
    if isinstance(value, Table | Constructed):
        return True
    if isinstance(value, Read) and value.tensor not in constants:
        return False
    return all(_is_known(child, constants) for child in children(value))


def _calls_dropout(program: Program) -> bool:
    """Whether a layer draws at random, itself or in what it calls."""
    for statement in program.body:
        match statement:
            case Equation(body=body):
                bodies: tuple[Expr, ...] = (body,)
            case Scatter(contributions=contributions):
                bodies = tuple(contribution.body for contribution in contributions)
            case Gradient():
                continue
            case SubCall():
                bodies = ()
                if _calls_dropout(statement.program):
                    return True
            case _:
                assert_never(statement)
        if any(_draws(body) for body in bodies):
            return True
    return False


def _draws(expr: Expr) -> bool:
    if isinstance(expr, Apply) and expr.function == "dropout":
        return True
    return any(_draws(child) for child in children(expr))


def _shape(axes: Sequence[Axis]) -> tuple[Size, ...]:
    return tuple(axis.size for axis in axes)

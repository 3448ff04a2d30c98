"""From the parser's reductions to the syntax tree: one method for each rule of the grammar.

Children arrive in source order, all tokens included. The builder has no state: spans come from the
tokens. `Refused` carries a mistake that the grammar does not see.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from tensorlang.diagnostics import Diagnostic
from tensorlang.source import Span
from tensorlang.syntax import ast, errors
from tensorlang.syntax.tokens import Token

T = TypeVar("T")
Child = Any  # a Token, or what a method below returned


class Refused(Exception):
    """A rule matched but may not be used here."""

    def __init__(self, diagnostic: Diagnostic) -> None:
        self.diagnostic = diagnostic
        super().__init__(diagnostic)


class Builder:
    """Methods named after the rules and aliases of tensorlang.lark."""

    def file(self, children: list[Child]) -> tuple[ast.Use | ast.Layer | ast.Def, ...]:
        return tuple(children)

    def item(self, children: list[Child]) -> ast.Use | ast.Def:
        item: ast.Use | ast.Def = children[0]
        return item

    # --- top level -------------------------------------------------------------------------------
    def use(self, children: list[Child]) -> ast.Use:
        module, names = children[1], [_plain(t, "a layer or def") for t in children[3::2]]
        is_path = module.type == "STRING"
        return ast.Use(module.text, is_path, module.span, tuple(names), _span(children))

    def layer(self, children: list[Child]) -> ast.Layer:
        (word, name, hypers), *rest = children
        docstring = _only(str, rest)
        body = tuple(child for child in rest if not isinstance(child, (Token, str)))
        span = Span(name.span.source, word.span.start, body[-1].span.end)
        return ast.Layer(name.id, name.span, hypers, docstring, body, span)

    def header(self, children: list[Child]) -> tuple[Token, ast.Name, tuple[ast.Hyper, ...]]:
        return children[0], _plain(children[1], "a layer"), children[2]

    def hypers(self, children: list[Child]) -> tuple[ast.Hyper, ...]:
        return _nodes(children)

    def hyper(self, children: list[Child]) -> ast.Hyper:
        name = _plain(children[0], "a hyperparameter")
        type_ = _after("COLON", children)
        default = _after("EQUALS", children)
        return ast.Hyper(name.id, name.span, type_ and _name(type_), default, _span(children))

    def docstring(self, children: list[Child]) -> str:
        return docstring(children[0].text)

    def define(self, children: list[Child]) -> ast.Def:
        name = _plain(children[1], "a def")
        indices, parameters = (
            (children[2], children[3]) if len(children) == 6 else ((), children[2])
        )
        return ast.Def(name.id, name.span, indices, parameters, children[-1], _span(children))

    def indices(self, children: list[Child]) -> tuple[ast.Name, ...]:
        return _names(children)

    def parameters(self, children: list[Child]) -> tuple[ast.DefParameter, ...]:
        return _nodes(children)

    def parameter(self, children: list[Child]) -> ast.DefParameter:
        name = _plain(children[0], "an argument")
        return ast.DefParameter(name.id, _after("EQUALS", children), _span(children))

    # --- statements ------------------------------------------------------------------------------
    def input(self, children: list[Child]) -> ast.InputDecl:
        tensors: tuple[ast.Declared, ...] = _nodes(children)
        for tensor in tensors:
            _no_binds(tensor)
        return ast.InputDecl(tensors, _span(children))

    def param(self, children: list[Child]) -> ast.ParamDecl:
        tensors = tuple(child for child in children if isinstance(child, ast.Declared))
        for tensor in tensors:
            _no_binds(tensor)
        return ast.ParamDecl(
            tensors,
            children[0].type == "FROZEN",
            _after("TILDE", children),
            _after("AS", children),
            _span(children),
        )

    def const(self, children: list[Child]) -> ast.ConstDecl:
        _no_binds(children[1])
        return ast.ConstDecl(children[1], children[3], _after("AS", children), _span(children))

    def dim(self, children: list[Child]) -> ast.DimDecl:
        return ast.DimDecl(_nodes(children), _span(children))

    def binding(self, children: list[Child]) -> ast.DimBinding:
        name = children[0]
        return ast.DimBinding(name.text, name.span, children[2], _span(children))

    def index(self, children: list[Child]) -> ast.IndexDecl:
        *names, dim = _names(children)
        return ast.IndexDecl(tuple(names), dim, _span(children))

    def sub(self, children: list[Child]) -> ast.SubDecl:
        name = _plain(children[1], "a sub-layer")
        count = children[3] if children[2].type == "LSQB" else None
        layer = _plain(children[-2], "a layer")
        arguments = _arguments(children[-1])
        return ast.SubDecl(name.id, name.span, count, layer, arguments, _span(children))

    def equation(self, children: list[Child]) -> ast.Equation:
        is_output = isinstance(children[0], Token)
        targets = tuple(child for child in children if isinstance(child, ast.Declared))
        sign = children[2 * len(targets) - 1 + is_output]
        scatter = _SCATTERS.get(sign.type)
        for target in targets if scatter is None else ():
            _no_binds(target)
        body = _after(sign.type, children)
        form = _after("AS", children)
        return ast.Equation(targets, scatter, body, form, is_output, _span(children))

    def check(self, children: list[Child]) -> ast.CheckDecl:
        return ast.CheckDecl(children[1], _after("WHEN", children), _span(children))

    def typed(self, children: list[Child]) -> ast.Declared:
        declared: ast.Declared = children[0]
        return replace(declared, dtype=_name(children[2]), span=_span(children))

    def declared(self, children: list[Child]) -> ast.Declared:
        name = children[0]
        slots = None if len(children) == 1 else children[1][0]
        return ast.Declared(name.text, name.span, slots, None, _span(children))

    def axes(self, children: list[Child]) -> tuple[tuple[ast.Slot, ...], Span]:
        slots: tuple[ast.Slot, ...] = _nodes(children)
        for slot in slots:
            if isinstance(slot, ast.ArrowSlot):
                _refuse(slot, "-> stands in the brackets of a transform", "a declaration has none")
        return slots, _span(children)

    # --- operators -------------------------------------------------------------------------------
    def if_else(self, children: list[Child]) -> ast.IfElse:
        then, _, condition, _, otherwise = children
        return ast.IfElse(then, condition, otherwise, _span(children))

    def or_(self, children: list[Child]) -> ast.Or:
        return ast.Or(tuple(children[::2]), _span(children))

    def and_(self, children: list[Child]) -> ast.And:
        return ast.And(tuple(children[::2]), _span(children))

    def not_(self, children: list[Child]) -> ast.Not:
        return ast.Not(children[1], _span(children))

    def compare(self, children: list[Child]) -> ast.Compare:
        operators = tuple(ast.Comparison(token.text) for token in children[1::2])
        return ast.Compare(tuple(children[::2]), operators, _span(children))

    def sum(self, children: list[Child]) -> ast.Sum:
        terms = [ast.Term(False, children[0])]
        for i in range(1, len(children), 2):
            terms.append(ast.Term(children[i].type == "MINUS", children[i + 1]))
        return ast.Sum(tuple(terms), _span(children))

    def product(self, children: list[Child]) -> ast.Expr:
        """Fold `a * b / c` into one Product; `//` and `%` take all to their left."""
        factors = [ast.Factor(False, children[0])]
        for i in range(1, len(children), 2):
            sign, right = children[i].type, children[i + 1]
            if sign == "TIMES" or sign == "DIVIDE":
                factors.append(ast.Factor(sign == "DIVIDE", right))
                continue
            left = _product(factors, children[0].span)
            span = left.span.join(right.span)
            factors = [ast.Factor(False, ast.IntDivide(left, right, sign == "MODULO", span))]
        return _product(factors, children[0].span)

    def negate(self, children: list[Child]) -> ast.Negate:
        return ast.Negate(children[1], _span(children))

    def power(self, children: list[Child]) -> ast.Power:
        return ast.Power(children[0], children[2], _span(children))

    # --- atoms -----------------------------------------------------------------------------------
    def number(self, children: list[Child]) -> ast.Number:
        (token,) = children
        value = int(token.text) if token.type == "INT" else float(token.text)
        return ast.Number(value, token.text, token.span)

    def string(self, children: list[Child]) -> ast.String:
        return ast.String(children[0].text, children[0].span)

    def size_of(self, children: list[Child]) -> ast.SizeOf:
        return ast.SizeOf(children[0].text, children[0].span)

    def list_(self, children: list[Child]) -> ast.ListExpr:
        return ast.ListExpr(_nodes(children), _span(children))

    def parentheses(self, children: list[Child]) -> ast.Expr:
        inner: ast.Expr = children[1]
        return replace(inner, span=_span(children))

    def name(self, children: list[Child]) -> ast.Name:
        return ast.Name(children[0].text, children[0].span)

    def call(self, children: list[Child]) -> ast.Call:
        name = children[0]
        slots: tuple[ast.Slot, ...] | None = None
        where: ast.Expr | None = None
        arguments: tuple[ast.Argument, ...] | None = None
        for part in children[1:]:
            if len(part) == 3:
                slots, where, _ = part
            else:
                arguments, _ = part
        span = _span(children)
        return ast.Call(name.text, name.span, slots, where, arguments, span)

    def brackets(self, children: list[Child]) -> tuple[tuple[ast.Slot, ...], ast.Expr | None, Span]:
        where = next((child[0] for child in children if isinstance(child, list)), None)
        slots = tuple(child for child in children if not isinstance(child, (Token, list)))
        for slot in slots:
            if isinstance(slot, ast.TypedSlot):
                _refuse(slot, "a type stands in a declaration", "here an axis gets an expression")
        return slots, where, _span(children)

    def where(self, children: list[Child]) -> list[ast.Expr]:
        return [children[1]]

    def arguments(self, children: list[Child]) -> tuple[tuple[ast.Argument, ...], Span]:
        arguments: tuple[ast.Argument, ...] = _nodes(children)
        named: ast.Argument | None = None
        for argument in arguments:
            if argument.name is not None:
                named = named or argument
            elif named is not None:
                raise Refused(errors.ArgumentOrder(argument.span, named.span))
        return arguments, _span(children)

    def argument(self, children: list[Child]) -> ast.Argument:
        if len(children) == 1:
            return ast.Argument(None, children[0], children[0].span)
        return ast.Argument(_plain(children[0], "an argument").id, children[2], _span(children))

    # --- slots -----------------------------------------------------------------------------------
    def expr_slot(self, children: list[Child]) -> ast.ExprSlot:
        otherwise = children[2] if len(children) == 3 else None
        return ast.ExprSlot(children[0], otherwise, _span(children))

    def ellipsis_slot(self, children: list[Child]) -> ast.EllipsisSlot:
        return ast.EllipsisSlot(children[0].span)

    def group_slot(self, children: list[Child]) -> ast.GroupSlot:
        return ast.GroupSlot(_names(children), _span(children))

    def bind_slot(self, children: list[Child]) -> ast.BindSlot:
        left, _, right = children
        _left_index(left, "=")
        return ast.BindSlot(left, right, _span(children))

    def arrow_slot(self, children: list[Child]) -> ast.ArrowSlot:
        left, _, right = children
        _left_index(left, "->")
        _left_index(right, "->")
        return ast.ArrowSlot(left, right, _span(children))

    def typed_slot(self, children: list[Child]) -> ast.TypedSlot:
        slot, _, type_ = children
        return ast.TypedSlot(slot, type_, _span(children))


def docstring(content: str) -> str:
    """What a docstring says: without its indentation, outer blank lines, trailing spaces."""
    lines = inspect.cleandoc(content.replace("\r\n", "\n")).split("\n")
    return "\n".join(line.rstrip() for line in lines).strip("\n")


_SCATTERS = {
    "ADD_TO": ast.ScatterKind.SUM,
    "MAX_TO": ast.ScatterKind.MAX,
    "MIN_TO": ast.ScatterKind.MIN,
}


def _span(children: Sequence[Child]) -> Span:
    first, last = children[0].span, children[-1]
    end = last[-1].end if isinstance(last, tuple) else last.span.end
    return Span(first.source, first.start, end)


def _nodes(children: Iterable[Child]) -> tuple[Any, ...]:
    return tuple(child for child in children if not isinstance(child, Token))


def _name(token: Token) -> ast.Name:
    return ast.Name(token.text, token.span)


def _names(children: Iterable[Child]) -> tuple[ast.Name, ...]:
    return tuple(_name(token) for token in children if token.type == "NAME")


def _only(kind: type[T], children: Iterable[Child]) -> T | None:
    return next((child for child in children if isinstance(child, kind)), None)


def _after(type_: str, children: Sequence[Child]) -> Any:
    """The child that follows the token of this type, None if there is no such token."""
    for i, child in enumerate(children):
        if isinstance(child, Token) and child.type == type_:
            return children[i + 1]
    return None


def _arguments(part: tuple[tuple[ast.Argument, ...], Span]) -> tuple[ast.Argument, ...]:
    return part[0]


def _product(factors: Sequence[ast.Factor], first: Span) -> ast.Expr:
    if len(factors) == 1:
        return factors[0].expr
    return ast.Product(tuple(factors), first.join(factors[-1].expr.span))


def _plain(token: Token, what: str) -> ast.Name:
    if token.text.endswith("'"):
        raise Refused(errors.PrimedName(token.span, token.text, what))
    return _name(token)


def _no_binds(tensor: ast.Declared) -> None:
    for slot in tensor.slots or ():
        if isinstance(slot, ast.BindSlot):
            _refuse(slot, "a computed position stands on the left of += only", "here stand indices")


def _left_index(slot: ast.Slot, sign: str) -> None:
    match slot:
        case ast.GroupSlot() | ast.ExprSlot(expr=ast.Name(), otherwise=None):
            return
        case _:
            _refuse(slot, f"this cannot stand beside {sign}", "the name of an index or dim can")


def _refuse(slot: ast.Slot, what: str, rule: str) -> None:
    raise Refused(errors.SlotMisplaced(slot.span, what, rule))

"""What is wrong with a `def` whoever calls it: its names, what its body mentions, recursion."""

from __future__ import annotations

from collections.abc import Iterator

from tensorlang.check.errors.names import (
    DefFreeName,
    DefRecursive,
    NameTaken,
    ReservedName,
    UnknownFunction,
)
from tensorlang.check.mentions import base, calls, nodes
from tensorlang.check.names import BOUNDARIES, CONSTANTS, reserved
from tensorlang.check.operators import OPERATORS
from tensorlang.check.session import Session
from tensorlang.check.spec import DefSource
from tensorlang.registry import functions
from tensorlang.source import Span
from tensorlang.syntax import ast


def check_def(session: Session, source: DefSource) -> None:
    """Report the mistakes of a def that no call is needed to see."""
    definition = source.ast
    if (why := reserved().get(definition.name)) is not None:
        session.report(ReservedName(definition.name_span, definition.name, why))
    first: dict[str, tuple[str, Span]] = {}
    own = [(index.id, "an index", index.span) for index in definition.indices]
    own += [(parameter.name, "an argument", parameter.span) for parameter in definition.parameters]
    for name, what, span in own:
        if (why := reserved().get(name)) is not None:
            session.report(ReservedName(span, name, why))
        elif name in first:
            session.report(NameTaken(span, name, what, first[name][1], first[name][0]))
        else:
            first[name] = (what, span)
    bodies = [definition.body]
    bodies += [p.default for p in definition.parameters if p.default is not None]
    for body in bodies:
        _mentions(session, source, body, frozenset(first))
    _recursion(session, source)


def _mentions(session: Session, source: DefSource, body: ast.Expr, own: frozenset[str]) -> None:
    for node in nodes(body):
        if isinstance(node, ast.Name | ast.SizeOf):
            name = node.id if isinstance(node, ast.Name) else node.name
            if base(name) not in own and name not in CONSTANTS:
                _free(session, source, name, node.span)
        elif isinstance(node, ast.Call) and not _known(source, node.name, own):
            if node.args is None:
                _free(session, source, node.name, node.name_span)
            else:
                known = (*functions(), *OPERATORS, *source.scope.defs, "at", "grad")
                close = session.close(node.name, known)
                session.report(UnknownFunction(node.name_span, node.name, close))


def _free(session: Session, source: DefSource, name: str, span: Span) -> None:
    key = (name, source.ast.name)
    if key not in session.free_names:
        session.free_names.add(key)
        session.report(DefFreeName(span, name, source.ast.name))


def _known(source: DefSource, name: str, own: frozenset[str]) -> bool:
    return (
        name in own
        or name in source.scope.defs
        or name in OPERATORS
        or name in BOUNDARIES
        or name in ("at", "grad")
        or (name in functions() and not functions()[name].reserved)
    )


def _called(source: DefSource) -> Iterator[tuple[ast.Call, DefSource]]:
    own = {p.name for p in source.ast.parameters}
    for call in calls(source.ast.body):
        if call.name in source.scope.defs and call.name not in own and call.name not in reserved():
            yield call, source.scope.defs[call.name]


def _recursion(session: Session, source: DefSource) -> None:
    """Report cycles of defs below this one; depth first, each def once in a run, no recursion."""
    if id(source) in session.explored:
        return
    session.explored.add(id(source))
    path = [source]
    todo = [_called(source)]
    while todo:
        step = next(todo[-1], None)
        if step is None:
            todo.pop()
            path.pop()
            continue
        call, callee = step
        if callee in path:
            session.report(DefRecursive(call.name_span, callee.ast.name))
        elif id(callee) not in session.explored:
            session.explored.add(id(callee))
            path.append(callee)
            todo.append(_called(callee))

"""Indices in the brackets of operators, and what holds within one that binds them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from tensorlang.check.mentions import base
from tensorlang.check.program import (
    Index,
)
from tensorlang.check.scope import Env, LayerScope
from tensorlang.source import Span


@dataclass(frozen=True, slots=True)
class Slotted:
    """An index of an operator and where it is written."""

    index: Index
    span: Span


def bind(env: Env, names: Mapping[str, Index], bound: tuple[Index, ...]) -> Env:
    """The inside of an operator that binds indices: facts about outer ones are gone."""
    facts = tuple(fact for fact in env.facts if not any(index in fact.free for index in bound))
    local = {**env.local, **names} if names else env.local
    return replace(env, facts=facts, local=local)


def localised(
    scope: LayerScope, slots: list[Slotted], names: list[str], env: Env
) -> tuple[list[Slotted], dict[str, Index]]:
    """Within a def, primed indices that an operator binds are the def's own."""
    if env.frame is None:
        return slots, {}
    out, local = [], {}
    for slotted, name in zip(slots, names, strict=True):
        if base(name) != name:
            scope.statement.locals += 1
            fresh = Index(slotted.index.name, slotted.index.dim, scope.statement.locals)
            local[name] = fresh
            out.append(Slotted(fresh, slotted.span))
        else:
            out.append(slotted)
    return out, local

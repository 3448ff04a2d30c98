"""Derivatives of transforms, one rule for each."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from tensorlang.differentiate.making import Maker, Term
from tensorlang.ir.nodes import NodeId, Read


def pull(
    maker: Maker, identity: NodeId, cotangent: NodeId, active: Collection[NodeId]
) -> list[tuple[NodeId, Term]]:
    raise NotImplementedError


def push(maker: Maker, identity: NodeId, tangents: Mapping[int, Read]) -> NodeId:
    raise NotImplementedError

"""Loops checked by brute force on small sizes: bounds, blocks inside, every needed cell visited."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from tensorlang.backends.triton import coverage_pairs
from tensorlang.backends.triton.build import walk
from tensorlang.backends.triton.evaluate import Program
from tensorlang.backends.triton.kernel_ir import (
    GRID_KINDS,
    Axis,
    AxisKind,
    Cast,
    Config,
    Expr,
    For,
    Iota,
    Kernel,
    Let,
    Load,
    Ref,
    Stmt,
    block_of,
)
from tensorlang.backends.triton.signature import blocks

EXTENTS = (0, 1, 5, 13)
BLOCK = 4


def problems(kernel: Kernel) -> Iterator[str]:
    """What is wrong with the loops of a kernel."""
    if not any(isinstance(stmt, For) for stmt in kernel.body):
        return
    if all(_from_data(kernel, s) for s in kernel.body if isinstance(s, For)):
        return
    outer = coverage_pairs.nested(kernel)
    if outer is not None:
        yield from coverage_pairs.problems(kernel, outer)
        return
    config = Config(tuple((name, BLOCK) for name in blocks(kernel)))
    for sizes in _samples(kernel):
        yield from _with_sizes(kernel, config, sizes)


def _from_data(kernel: Kernel, loop: For) -> bool:
    """Whether a tensor says where a loop starts and ends."""
    lets = {s.name: s.value for s in kernel.body if isinstance(s, Let)}
    ends = (lets.get(e.name, e) if isinstance(e, Ref) else e for e in (loop.lo, loop.hi))
    return all(isinstance(node, Cast) and isinstance(node.a, Load) for node in ends)


def _samples(kernel: Kernel) -> Iterator[dict[str, int]]:
    """Sizes to try. P programs of SPAN blocks cover all rows, as launches have it."""
    extents = [name for name in kernel.sizes if name in ("N", "M", "R", "L")]
    rest = {name: 2 for name in kernel.sizes if name not in extents}
    for values in itertools.product(EXTENTS, repeat=len(extents)):
        sizes = {**rest, **dict(zip(extents, values, strict=True))}
        if "SPAN" in sizes:
            program = Program(kernel, {}, Config(()), {}, dict(sizes))
            rows = int(program.value(kernel.axis("r").extent))
            sizes["SPAN"] = -(-_blocks(rows) // sizes["P"])
        yield sizes


def _blocks(count: int) -> int:
    return -(-count // BLOCK)


@dataclass(slots=True)
class _Visit:
    """Which positions of an axis the programs with one owner tile visited."""

    seen: np.ndarray[tuple[int], np.dtype[np.bool_]]
    needed: np.ndarray[tuple[int], np.dtype[np.bool_]]


def _with_sizes(kernel: Kernel, config: Config, sizes: Mapping[str, int]) -> Iterator[str]:
    visits: dict[tuple[str, tuple[int, ...]], _Visit] = {}
    grid = [axis for axis in kernel.axes if axis.kind in GRID_KINDS]
    outer = Program(kernel, {}, config, {}, {**sizes, **dict(config.blocks)})
    starts = [range(0, min(int(outer.value(a.extent)), 16), block_of(a, config)) for a in grid]
    for chosen in itertools.product(*starts):
        program = Program(kernel, {}, config, {}, {**sizes, **dict(config.blocks)})
        for axis, start in zip(grid, chosen, strict=True):
            program.enter(axis, start)
        tiles = tuple(s for a, s in zip(grid, chosen, strict=True) if a.kind is AxisKind.TILE)
        mine: dict[tuple[str, tuple[int, ...]], _Visit] = {}
        for stmt in _scalars(kernel.body):
            if isinstance(stmt, Let):
                program.names[stmt.name] = program.value(stmt.value)
                continue
            axis = kernel.axis(stmt.axis)
            extent = int(program.value(axis.extent))
            key = (axis.name, tiles)
            if key not in visits:
                needed = _needed(program, axis, grid, extent)
                visits[key] = _Visit(np.zeros(extent, bool), needed)
            visit = mine.setdefault(key, _Visit(np.zeros(extent, bool), visits[key].needed))
            yield from _loop(program, stmt, axis, extent, visit)
        for key, visit in mine.items():
            if split_by(kernel, key[0]) and (visit.seen & visits[key].seen).any():
                yield f"3: two programs walk the same block of {key[0]} with {dict(sizes)}"
            visits[key].seen |= visit.seen
    for (name, tiles), visit in visits.items():
        if (visit.needed & ~visit.seen).any():
            where = int(np.argmax(visit.needed & ~visit.seen))
            yield f"7: no loop visits {name} = {where} from tile {tiles} with {dict(sizes)}"


def split_by(kernel: Kernel, walked: str) -> tuple[str, ...]:
    """Grid axes on which the bounds of the loops over an axis depend: they share its blocks out."""
    lets = {s.name: s.value for s in kernel.body if isinstance(s, Let)}
    found: dict[str, None] = {}
    for stmt in kernel.body:
        if isinstance(stmt, For) and stmt.axis == walked:
            stack: list[Expr] = [stmt.lo, stmt.hi]
            while stack:
                for node in walk(stack.pop()):
                    if isinstance(node, Ref) and node.name in lets:
                        stack.append(lets[node.name])
                    elif isinstance(node, Iota) and kernel.axis(node.axis).kind is AxisKind.GRID:
                        found[kernel.axis(node.axis).name] = None
    return tuple(found)


def _scalars(body: tuple[Stmt, ...]) -> Iterator[Let | For]:
    """Loops at the top and the bounds that they name."""
    bounds = {
        expr.name
        for stmt in body
        if isinstance(stmt, For)
        for expr in (stmt.lo, stmt.hi)
        if hasattr(expr, "name")
    }
    for stmt in body:
        if isinstance(stmt, For) or (isinstance(stmt, Let) and stmt.name in bounds):
            yield stmt


def _needed(
    program: Program, axis: Axis, grid: list[Axis], extent: int
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Positions of the axis where the support holds for an owner in this tile."""
    if axis.support is None:
        return np.ones(extent, bool)
    allowed, owner_axis = _allowed(program, axis, grid, 0, extent)
    return np.asarray(allowed.any(axis=owner_axis))


def _allowed(
    program: Program, axis: Axis, grid: list[Axis], start: int, count: int
) -> tuple[np.ndarray[tuple[int, int], np.dtype[np.bool_]], int]:
    """The support on owner positions inside their axis × positions of the walked axis."""
    (owner,) = (a for a in grid if a.kind is AxisKind.TILE)
    owners = np.asarray(program.positions[owner.name]).reshape(-1)
    owners = owners[owners < int(program.value(owner.extent))]
    inner = Program(program.kernel, {}, program.config, {}, dict(program.names))
    inner.positions = dict(program.positions)
    inner.positions[owner.name] = owners[:, None]
    inner.positions[axis.name] = start + np.arange(count)[None, :]
    assert axis.support is not None
    return np.broadcast_to(inner.value(axis.support), (len(owners), count)), 0


def _loop(program: Program, loop: For, axis: Axis, extent: int, visit: _Visit) -> Iterator[str]:
    lo, hi = int(program.value(loop.lo)), int(program.value(loop.hi))
    block = block_of(axis, program.config)
    if lo >= hi:
        return
    if lo < 0 or lo % block:
        yield f"7: a loop over {axis.name} starts at {lo}, no multiple of its block"
        return
    if loop.full and (hi > extent or (hi - lo) % block):
        yield f"7: a full loop over {axis.name} ends at {hi}, past whole blocks inside {extent}"
    grid = [a for a in program.kernel.axes if a.kind in GRID_KINDS]
    if loop.full and axis.support is not None and hi <= extent:
        allowed, _ = _allowed(program, axis, grid, lo, hi - lo)
        if not allowed.all():
            yield f"7: a full loop over {axis.name} has cells outside its support"
    visit.seen[lo : min(extent, lo + -(-(hi - lo) // block) * block)] = True

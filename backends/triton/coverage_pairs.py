"""Loops inside of loops that take one position at a time, checked by brute force on small sizes:
every pair of positions that some cell of the owner needs is visited, and none twice."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from tensorlang.backends.triton.evaluate import Program
from tensorlang.backends.triton.kernel_ir import (
    GRID_KINDS,
    Axis,
    AxisKind,
    Config,
    For,
    Kernel,
    Let,
    Ref,
    block_of,
)
from tensorlang.backends.triton.signature import blocks

EXTENTS = (0, 1, 5, 9)
BLOCK = 4
Pairs = npt.NDArray[np.bool_]


def nested(kernel: Kernel) -> For | None:
    """A loop of a kernel that has loops in its body."""
    for stmt in kernel.body:
        if isinstance(stmt, For) and any(isinstance(inner, For) for inner in stmt.body):
            return stmt
    return None


def problems(kernel: Kernel, outer: For) -> Iterator[str]:
    """What is wrong with the loops of a kernel whose loop `outer` has loops inside."""
    config = Config(tuple((name, BLOCK) for name in blocks(kernel)))
    extents = [name for name in kernel.sizes if name in ("N", "M", "M2")]
    rest = {name: 0 if name == "ZERO" else 1 for name in kernel.sizes if name not in extents}
    (owner,) = (axis for axis in kernel.axes if axis.kind is AxisKind.TILE)
    grid = [axis for axis in kernel.axes if axis.kind in GRID_KINDS]
    for values in itertools.product(EXTENTS, repeat=len(extents)):
        sizes = {**rest, **dict(zip(extents, values, strict=True))}
        names = {**sizes, **dict(config.blocks)}
        extent = int(Program(kernel, {}, config, {}, names).value(owner.extent))
        for start in range(0, extent, block_of(owner, config)):
            program = Program(kernel, {}, config, {}, dict(names))
            for axis in grid:
                program.enter(axis, start if axis is owner else 0)
            yield from _program(program, outer, owner, sizes)


def _program(program: Program, outer: For, owner: Axis, sizes: Mapping[str, int]) -> Iterator[str]:
    kernel = program.kernel
    _bind(program, [s for s in kernel.body if isinstance(s, Let)], {outer.lo, outer.hi})
    single = kernel.axis(outer.axis)
    lo, hi = int(program.value(outer.lo)), int(program.value(outer.hi))
    count = int(program.value(single.extent))
    if lo < hi and (lo < 0 or hi > count):
        yield f"7: a loop over {single.name} leaves its axis with {dict(sizes)}"
        return
    loops = [stmt for stmt in outer.body if isinstance(stmt, For)]
    walked = kernel.axis(loops[0].axis)
    extent, block = int(program.value(walked.extent)), block_of(walked, program.config)
    needed = _needed(program, owner, single, walked, count, extent)
    some = np.asarray(needed.any(axis=0))
    every = np.asarray(needed.all(axis=0))
    seen = np.zeros((count, extent), bool)
    for position in range(lo, hi):
        program.positions[single.name] = position
        lets = [stmt for stmt in outer.body if isinstance(stmt, Let)]
        _bind(program, lets, {bound for loop in loops for bound in (loop.lo, loop.hi)})
        for loop in loops:
            start, end = int(program.value(loop.lo)), int(program.value(loop.hi))
            if start >= end:
                continue
            stop = start + -(-(end - start) // block) * block
            if start < 0 or start % block:
                yield f"7: a loop over {walked.name} starts at {start}, no multiple of its block"
                return
            if loop.full and (stop > extent or not every[position, start:stop].all()):
                yield f"7: a full loop over {walked.name} leaves its axis or its support"
            if seen[position, start:stop].any():
                yield f"7: loops visit a block of {walked.name} twice with {dict(sizes)}"
            seen[position, start:stop] = True
    if (some & ~seen).any():
        missed = tuple(map(int, np.argwhere(some & ~seen)[0]))
        yield f"7: no loop visits {single.name}, {walked.name} = {missed} with {dict(sizes)}"


def _bind(program: Program, lets: list[Let], bounds: set[object]) -> None:
    for stmt in lets:
        if Ref(stmt.name) in bounds:
            program.names[stmt.name] = program.value(stmt.value)


def _needed(
    program: Program, owner: Axis, single: Axis, walked: Axis, count: int, extent: int
) -> Pairs:
    """The support on owner positions inside their axis × positions of both walked axes."""
    rows = np.asarray(program.positions[owner.name]).reshape(-1)
    rows = rows[rows < int(program.value(owner.extent))]
    inner = Program(program.kernel, {}, program.config, {}, dict(program.names))
    inner.positions = dict(program.positions)
    inner.positions[owner.name] = rows[:, None, None]
    inner.positions[single.name] = np.arange(count)[:, None]
    inner.positions[walked.name] = np.arange(extent)
    support = True if walked.support is None else inner.value(walked.support)
    return np.broadcast_to(support, (len(rows), count, extent))


def visits(kernel: Kernel) -> int:
    """Blocks that the programs of one tile in the middle of long axes visit: what masks leave."""
    outer = nested(kernel)
    assert outer is not None, kernel.name
    size, block = 2048, 64
    config = Config(tuple((name, block) for name in blocks(kernel)))
    sizes = {name: 1 if name[0] == "B" else size for name in kernel.sizes} | {"ZERO": 0}
    program = Program(kernel, {}, config, {}, {**sizes, **dict(config.blocks)})
    for axis in kernel.axes:
        if axis.kind in GRID_KINDS:
            program.enter(axis, size // 2 if axis.kind is AxisKind.TILE else 0)
    _bind(program, [s for s in kernel.body if isinstance(s, Let)], {outer.lo, outer.hi})
    positions = np.arange(int(program.value(outer.lo)), int(program.value(outer.hi)))
    program.positions[outer.axis] = positions
    loops = [stmt for stmt in outer.body if isinstance(stmt, For)]
    lets = [stmt for stmt in outer.body if isinstance(stmt, Let)]
    _bind(program, lets, {bound for loop in loops for bound in (loop.lo, loop.hi)})
    counts = [-(-(program.value(loop.hi) - program.value(loop.lo)) // block) for loop in loops]
    return sum(int(np.maximum(count + 0 * positions, 0).sum()) for count in counts)

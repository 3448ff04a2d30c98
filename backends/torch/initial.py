"""Initial values: the law of each parameter as one printed line of reset_parameters."""

from __future__ import annotations

import zlib

from tensorlang.backends.torch.body import Module
from tensorlang.backends.torch.names import attribute
from tensorlang.check.program import Param, Program
from tensorlang.library.initialiser import Fan, Law
from tensorlang.registry import initialisers
from tensorlang.size import product


def reset_lines(file: Module, program: Program) -> list[str]:
    """The body of reset_parameters, without indentation; empty where there is nothing to set."""
    lines: list[str] = []
    drawn = False
    for param in program.params:
        line, draws = _line(file, param)
        if line:
            lines.append(line)
            drawn = drawn or draws
    if drawn:
        lines.insert(0, f"seed = {file.require('_seed')}()")
    return lines


def _line(file: Module, param: Param) -> tuple[str, bool]:
    row = initialisers()[param.initialiser.name]
    sizes = tuple(axis.size for axis in param.axes)
    total, fan_in = product(sizes), param.fan_in
    assert isinstance(total, int) and isinstance(fan_in, int), param
    args = {name: float(value) for name, value in param.initialiser.args}
    numbers = row.bound(args, Fan(fan_in, total // max(fan_in, 1)))
    name = attribute(param.name)
    seed = f"seed + {zlib.crc32(param.name.encode())}"
    match row.law:
        case Law.NORMAL:
            mean, std = numbers
            return f"{file.require('_normal')}({name}, {seed}, mean={mean!r}, std={std!r})", True
        case Law.UNIFORM:
            low, high = numbers
            return f"{file.require('_uniform')}({name}, {seed}, low={low!r}, high={high!r})", True
        case Law.ORTHOGONAL:
            return f"{file.require('_orthogonal')}({name}, {seed}, gain={numbers[0]!r})", True
        case Law.CONSTANT:
            shown = {0.0: "zeros", 1.0: "ones"}.get(numbers[0])
            if shown is not None:
                return f"nn.init.{shown}_({name})", False
            return f"nn.init.constant_({name}, {numbers[0]!r})", False
        case Law.EYE:
            return f"{file.require('_eye')}({name}, {numbers[0]!r})", False
        case Law.GIVEN:
            return f"nn.init.constant_({name}, torch.nan)", False

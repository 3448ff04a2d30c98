"""Launch constants of emitted modules: which kernels each serves, what it may be, and how one that
was measured takes its place (tensorlang/tune_file.py)."""

from __future__ import annotations

import ast
import hashlib
import itertools
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from tensorlang.backends.triton.kernel_ir import Config, Kernel
from tensorlang.backends.triton.print import to_triton
from tensorlang.backends.triton.region import Printed
from tensorlang.backends.triton.validate import problems
from tensorlang.tune_file import ANY, Entry

Times = Callable[[Sequence[Config]], Sequence[float]]
WARPS = (4, 8)
STAGES = (1, 2, 3, 4)
GAIN = 0.98
"""What a configuration must need of the present one's time to take its place."""


@dataclass(frozen=True, slots=True)
class Launch:
    """A constant of the module and the kernels that it serves; `rows` by precision and chip, or
    one by ANY."""

    constant: str
    kernels: tuple[Kernel, ...]
    rows: Mapping[str, Config | None]
    literal: str
    digest: str

    def row(self, precision: str, chip: str) -> tuple[str, Config | None]:
        """The precision of an entry for it, and the row that a launch takes now."""
        if ANY in self.rows:
            return ANY, self.rows[ANY]
        return precision, self.rows.get(f"{precision} {chip}", self.rows.get(precision))


def launches(printed: Printed) -> tuple[Launch, ...]:
    """The constants in a region's code that are set there, in order."""
    out = []
    for found in re.finditer(r"^([A-Z_0-9]+) = (\{\n.*?^\}|\(\{.*)$", printed.code, re.M | re.S):
        constant, literal = found.groups()
        literal = literal if literal.startswith("{") else literal.split("\n")[0]
        own = tuple(k for k in printed.kernels if k.name.upper() == constant) or printed.kernels
        value = ast.literal_eval(literal)
        rows = value if isinstance(value, dict) else {ANY: value}
        configs = {key: None if row is None else _config(row) for key, row in rows.items()}
        text = "\n".join(to_triton(kernel).replace(printed.name, "_") for kernel in own)
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        out.append(Launch(constant, own, configs, literal, digest))
    return tuple(out)


def _config(row: tuple[dict[str, int], int, int]) -> Config:
    blocks, warps, stages = row
    return Config(tuple(blocks.items()), warps, stages)


# --- application ---------------------------------------------------------------------------------
def tuned(printed: Printed, entries: Sequence[Entry]) -> tuple[Printed, tuple[Entry, ...]]:
    """The region with measured configurations, and the entries that were used."""
    code, tables, used = printed.code, dict(printed.tables), []
    for launch in launches(printed):
        rows = dict(launch.rows)
        for entry in entries:
            config = Config(entry.blocks, entry.warps, entry.stages)
            if entry.kernel == launch.digest and _fits(launch, entry, config):
                key = ANY if entry.precision == ANY else f"{entry.precision} {entry.chip}"
                rows[key] = config
                used.append(entry)
        if rows != launch.rows:
            literal = _text(rows)
            before = f"{launch.constant} = {launch.literal}\n"
            assert before in code, launch.constant
            code = code.replace(before, f"{launch.constant} = {literal}\n")
            table = f'{{"half": {literal}}}' if ANY in rows else literal
            tables |= {kernel.name: table for kernel in launch.kernels}
    return replace(printed, code=code, tables=tables), tuple(used)


def _fits(launch: Launch, entry: Entry, config: Config) -> bool:
    """Whether a configuration is one for this constant: its names, and every rule of kernels."""
    key, present = launch.row(entry.precision, entry.chip)
    if key != entry.precision or present is None:
        return False
    if dict(present.blocks).keys() != dict(config.blocks).keys():
        return False
    return _accepted(launch.kernels, config)


def _text(rows: Mapping[str, Config | None]) -> str:
    def row(config: Config | None) -> str:
        if config is None:
            return "None"
        return repr((dict(config.blocks), config.warps, config.stages)).replace("'", '"')

    if ANY in rows:
        return row(rows[ANY])
    return "\n".join(["{", *(f'    "{key}": {row(c)},' for key, c in rows.items()), "}"])


# --- choice --------------------------------------------------------------------------------------
def shapes(launch: Launch, present: Config, precision: str) -> tuple[Config, ...]:
    """Blocks and warps to try: the present ones first, those of other chips, halved and doubled."""
    bases = [present]
    bases += [c for key, c in launch.rows.items() if c and key.split()[0] == precision]
    found = [present]
    for base in bases:
        for sides in itertools.product(*_sides(base)):
            for warps in dict.fromkeys((base.warps, *WARPS)):
                found.append(Config(sides, warps, present.stages))
    return tuple(c for c in dict.fromkeys(found) if c == present or _accepted(launch.kernels, c))


def depths(launch: Launch, present: Config) -> tuple[Config, ...]:
    """Pipeline stages to try, those of `present` first."""
    found = [present, *(replace(present, stages=stages) for stages in STAGES)]
    return tuple(c for c in dict.fromkeys(found) if c == present or _accepted(launch.kernels, c))


def _sides(base: Config) -> Iterator[tuple[tuple[str, int], ...]]:
    fitted = any(name == "BD" for name, _ in base.blocks)  # then a launch sets the tile itself
    for name, block in base.blocks:
        scaled = (block,) if fitted or block == 1 else (block, block // 2, block * 2)
        yield tuple((name, side) for side in scaled)


def _accepted(kernels: Sequence[Kernel], config: Config) -> bool:
    """Whether kernels with this configuration alone obey every rule."""
    return not any(problems(replace(kernel, configs=(config,))) for kernel in kernels)


def choose(launch: Launch, precision: str, chip: str, times: Times) -> Config | None:
    """The fastest configuration, blocks and warps first and then stages; the present one where it
    is as good; None where torch computes, or nothing ran. `times`: seconds by candidate, inf if
    it cannot run."""
    key, present = launch.row(precision, chip)
    if present is None:
        return None
    best = _fastest(shapes(launch, present, key), times)
    return None if best is None else _fastest(depths(launch, best), times)


def _fastest(candidates: Sequence[Config], times: Times) -> Config | None:
    """The fastest, the first where none is faster by a margin; None if none runs."""
    seconds = times(candidates)
    least = min(range(len(candidates)), key=lambda k: seconds[k])
    if math.isinf(seconds[least]):
        return None
    return candidates[least] if seconds[least] < GAIN * seconds[0] else candidates[0]

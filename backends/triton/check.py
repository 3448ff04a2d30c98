"""Compiles the kernels of an emitted module for a chip that need not be there: registers, spills,
shared memory. Reports are cached by the kernel's text, its configuration, the chip and Triton."""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

SHARED = {"sm_80": 163 * 1024, "sm_90": 227 * 1024, "gfx942": 64 * 1024}
CHIPS = {"sm_80": "ampere", "sm_90": "hopper", "gfx942": "cdna"}
_FORM = 2
"""Of what a report says: older ones are not read."""


@dataclass(frozen=True, slots=True)
class KernelReport:
    """What one kernel needs. `spills` are bytes of registers a thread keeps in memory."""

    name: str
    arch: str
    registers: int
    spills: int
    shared: int
    seconds: float
    error: str = ""

    @property
    def problem(self) -> str | None:
        """Why the kernel is not fit for the chip, None if it is."""
        if self.error:
            return self.error
        if self.spills:
            return f"spills {self.spills} bytes of registers"
        if self.shared > SHARED[self.arch]:
            most = SHARED[self.arch]
            return f"needs {self.shared} bytes of shared memory, {self.arch} has {most}"
        return None


@dataclass(frozen=True, slots=True)
class Job:
    """One kernel in one configuration. `kinds` are (tensor, dtype kind) in order."""

    name: str
    source: str
    kinds: tuple[tuple[str, str], ...]
    blocks: Mapping[str, int]
    warps: int
    stages: int
    precision: str
    arch: str

    @property
    def key(self) -> str:
        named = self.source.replace(self.name, "kernel")
        rest = [self.kinds, sorted(self.blocks.items()), self.warps, self.stages, self.precision]
        tools = [importlib.metadata.version("triton"), _FORM]
        text = json.dumps([named, rest, self.arch, *tools])
        return hashlib.sha256(text.encode()).hexdigest()[:32]


def check(source: str, arch: str, precision: str = "half") -> list[KernelReport]:
    """Compile every kernel of an emitted module for sm_90, sm_80 or gfx942, in a subprocess.

    `precision` is "half" (bfloat16), "float" or "double". Raises ValueError for an unknown chip.
    """
    if arch not in SHARED:
        raise ValueError(f"no such chip: {arch}; known: {', '.join(SHARED)}")
    jobs = list(_jobs(source, arch, precision))
    found = {job.key: _cached(job) for job in jobs}
    missing = {job.key: job for job in jobs if found[job.key] is None}
    for key, report in zip(missing, compiled(list(missing.values())), strict=True):
        found[key] = report
        if not report.error:
            path = _cache() / f"{key}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(asdict(report)))
    out = []
    for job in jobs:
        known = found[job.key]
        assert known is not None, job.name
        out.append(KernelReport(**{**asdict(known), "name": job.name}))
    return out


def compiled(jobs: Sequence[Job]) -> list[KernelReport]:
    """Compile in a fresh process: Triton must not have been imported to interpret."""
    if not jobs:
        return []
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, "-m", "tensorlang.backends.triton.compile_worker"],
        input=json.dumps([asdict(job) for job in jobs]),
        capture_output=True,
        text=True,
        env=environment,
    )
    if done.returncode:
        raise RuntimeError(f"compiling kernels failed:\n{done.stderr[-4000:]}")
    return [KernelReport(**report) for report in json.loads(done.stdout.splitlines()[-1])]


def _cache() -> Path:
    root = os.environ.get("TENSORLANG_CACHE") or Path.home() / ".cache" / "tensorlang"
    return Path(root) / "kernels"


def _cached(job: Job) -> KernelReport | None:
    path = _cache() / f"{job.key}.json"
    if not path.exists():
        return None
    return KernelReport(**json.loads(path.read_text()))


def _jobs(source: str, arch: str, precision: str) -> list[Job]:
    """Kernels and configurations as the module's KERNELS table gives them."""
    tree = ast.parse(source)
    functions = {n.name: n for n in tree.body if isinstance(n, ast.FunctionDef)}
    jobs = []
    for name, (kinds, table) in _table(tree).items():
        function = functions[name]
        text = ast.get_source_segment(source, function)
        assert text is not None, name
        row = table.get(f"{precision} {CHIPS[arch]}", table.get(precision, table["half"]))
        if row is None:  # torch computes this one
            continue
        blocks, warps, stages = row
        pairs = [(tensor, dtype) for tensor, _, dtype in (k.partition(":") for k in kinds.split())]
        stages = 1 if arch.startswith("gfx") else stages
        jobs.append(Job(name, text, tuple(pairs), blocks, warps, stages, precision, arch))
    return jobs


def _table(tree: ast.Module) -> dict[str, tuple[str, dict[str, Any]]]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "KERNELS":
            assert isinstance(node.value, ast.Dict), ast.unparse(node)
            out = {}
            for key, value in zip(node.value.keys, node.value.values, strict=True):
                assert key is not None and isinstance(value, ast.Tuple), ast.unparse(value)
                kinds, table = (ast.literal_eval(part) for part in value.elts[1:])
                out[str(ast.literal_eval(key))] = (kinds, table)
            return out
    return {}

"""The process that check.py starts: jobs as JSON on its input, reports as JSON on its output."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from tensorlang.backends.triton.check import KernelReport

STORED = {"half": "*bf16", "float": "*fp32", "double": "*fp64"}
HEADER = "import triton\nimport triton.language as tl\n\n\n@triton.jit\n"


def main() -> None:
    jobs = json.load(sys.stdin)
    triton.knobs.compilation.always_compile = True  # what is cached has no log
    triton.knobs.nvidia.dump_ptxas_log = True
    with tempfile.TemporaryDirectory() as folder:
        reports = [compiled(job, Path(folder)) for job in jobs]
    print(json.dumps([asdict(report) for report in reports]))


def compiled(job: dict[str, Any], folder: Path) -> KernelReport:
    """Compile one kernel, with the hints that a contiguous caller gives: aligned pointers and
    strides, the last stride 1."""
    name, arch = job["name"], job["arch"]
    function = _function(name, job["source"], folder)
    signature, constants, hints = _arguments(job, function.arg_names)
    cuda = arch.startswith("sm_")
    target = GPUTarget("cuda", int(arch[3:]), 32) if cuda else GPUTarget("hip", arch, 64)
    options = {"num_warps": job["warps"], "num_stages": job["stages"], "enable_fp_fusion": True}
    source = ASTSource(function, signature, constants, hints)
    log = io.StringIO()
    start = time.perf_counter()
    try:
        with contextlib.redirect_stdout(log):
            made = triton.compile(source, target=target, options=options)
    except (RuntimeError, triton.CompilationError) as error:  # what the compiler could not do
        text = " ".join(str(error).split())[-400:]
        return KernelReport(name, arch, 0, 0, 0, time.perf_counter() - start, text)
    seconds = round(time.perf_counter() - start, 2)
    registers, spills = (
        _cuda(made.asm["cubin"], log.getvalue(), folder) if cuda else _amd(made.asm["amdgcn"])
    )
    return KernelReport(name, arch, registers, spills, made.metadata.shared, seconds)


def _function(name: str, source: str, folder: Path) -> Any:
    path = folder / f"module_{len(list(folder.iterdir()))}.py"
    path.write_text(HEADER + source + "\n")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None, path
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, name)


def _arguments(
    job: dict[str, Any], names: list[str]
) -> tuple[dict[str, str], dict[str, Any], dict[tuple[int], Any]]:
    kinds = dict(job["kinds"])
    double = job["precision"] == "double"
    accumulate = "*fp64" if double else "*fp32"
    pointers = {"compute": STORED[job["precision"]], "accumulate": accumulate}
    pointers |= {"bool": "*i1", "int": "*i64"}
    mode = {"half": 0, "float": 1, "double": 2}[job["precision"]]
    three = job["precision"] == "float" and job["arch"].startswith("sm_")
    fixed = {"MODE": mode, "WIDE": False, "PREC": "tf32x3" if three else "ieee", **job["blocks"]}
    last: dict[str, int] = {}
    for name in names:
        tensor, _, dimension = name.rpartition("_s")
        if tensor in kinds:
            last[tensor] = max(last.get(tensor, 0), int(dimension))
    signature: dict[str, str] = {}
    constants: dict[str, Any] = {}
    hints: dict[tuple[int], Any] = {}
    for position, name in enumerate(names):
        tensor, _, dimension = name.rpartition("_s")
        if name in kinds:
            signature[name] = pointers[kinds[name]]
            hints[position,] = [["tt.divisibility", 16]]
        elif name in fixed:
            signature[name], constants[name] = "constexpr", fixed[name]
        elif tensor in kinds and int(dimension) == last[tensor]:
            signature[name], constants[name] = "constexpr", 1
        else:
            signature[name] = "i32"
            if tensor in kinds:
                hints[position,] = [["tt.divisibility", 16]]
    return signature, constants, hints


def _cuda(cubin: bytes, log: str, folder: Path) -> tuple[int, int]:
    """(registers, bytes of them that a thread spills) from the tools that come with Triton.

    A stack may also hold what sin and cos reduce angles by: the assembler's log tells them apart.
    """
    path = folder / "kernel.cubin"
    path.write_bytes(cubin)
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    done = subprocess.run([tool, "-res-usage", path], capture_output=True, text=True, check=True)
    used = dict(re.findall(r"\b(REG|STACK):(\d+)", done.stdout))
    spilled = [int(count) for count in re.findall(r"(\d+) bytes spill stores", log)]
    return int(used["REG"]), sum(spilled) if spilled else int(used["STACK"])


def _amd(text: str) -> tuple[int, int]:
    used = dict(re.findall(r"\.(vgpr_count|private_segment_fixed_size):\s*(\d+)", text))
    return int(used["vgpr_count"]), int(used["private_segment_fixed_size"])


if __name__ == "__main__":
    main()

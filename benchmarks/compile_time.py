"""Time from spec to emitted module, example by example, and its growth on generated layers.

`python -m benchmarks.compile_time`. Import time is measured in fresh interpreters; compile times in
this one, with the libraries already imported and caches cold for every spec.
"""

from __future__ import annotations

import math
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch

import tensorlang as tl
from benchmarks.long_layer import long_layer
from benchmarks.timing import save

EXAMPLES = Path(__file__).parent.parent / "examples"


@dataclass(frozen=True, slots=True)
class Lines:
    """A section of the result file."""

    title: str
    lines: list[str]

    def text(self) -> str:
        return "\n".join([f"### {self.title}", "", *self.lines])


def main() -> None:
    for target in ("torch", "triton"):
        _compile(EXAMPLES / "linear.tl", target)  # imports, once
    sections = [importing(), examples(), growth((250, 500, 1000, 2000))]
    save("compile_time", sections, torch.device("cpu"))


def importing(rounds: int = 5) -> Lines:
    """Median time of `import tensorlang` in fresh interpreters."""
    code = "import time; t = time.perf_counter(); import tensorlang; print(time.perf_counter() - t)"
    taken = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
        for _ in range(rounds)
    ]
    return Lines("import tensorlang", [f"median {statistics.median(taken) * 1e3:.0f} ms"])


def examples() -> Lines:
    """Compile every example for both targets."""
    rows = ["| example | torch ms | triton ms |", "|---|---|---|"]
    for path in sorted(EXAMPLES.glob("*.tl")):
        taken = [_compile(path, target) for target in ("torch", "triton")]
        rows.append(f"| {path.stem} | " + " | ".join(f"{t * 1e3:.0f}" for t in taken) + " |")
    return Lines("parse + check + plan + emit", rows)


def growth(counts: tuple[int, ...]) -> Lines:
    """Compile generated layers; the exponent is between the first and the last."""
    taken = []
    with tempfile.TemporaryDirectory() as folder:
        for count in counts:
            path = Path(folder) / f"long_{count}.tl"
            path.write_text(long_layer(count))
            taken.append(_compile(path, "torch"))
    rows = ["| equations | s |", "|---|---|"]
    rows += [f"| {count} | {t:.2f} |" for count, t in zip(counts, taken, strict=True)]
    exponent = math.log(taken[-1] / taken[0]) / math.log(counts[-1] / counts[0])
    return Lines("a long layer", [*rows, "", f"exponent {exponent:.2f}"])


def _compile(path: Path, target: str) -> float:
    start = time.perf_counter()
    assert tl.compile(str(path), target=target).source
    return time.perf_counter() - start


if __name__ == "__main__":
    main()

"""The table of docs/triton.md: `make docs`, or `python -m docs.build_kernels`.

Kernels are compiled for sm_90 and run in Triton's interpreter, which takes minutes the first time;
both are cached by the kernels' text. `--interpreted` is the process that runs them.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

import tensorlang as tl
from docs.build import ROOT, spliced
from tensorlang.backends.triton.check import KernelReport, check
from tensorlang.driver import Compiled
from tensorlang.plan.cost import at, held_bytes
from tensorlang.plan.plan import Plan
from tensorlang.plan.slots import typed_shapes
from tests.example_cases import CASES, SMALL, Case

PAGE = ROOT / "docs" / "triton.md"
ARCH = "sm_90"
HEAD = (
    "| layer | regions | error | kernels a call | registers | spills | shared | bytes / least |",
    "|---|---|---|---|---|---|---|---|",
)


def main(arguments: list[str]) -> None:
    if "--interpreted" in arguments:
        print(json.dumps({name: _run(_case(name)) for name in json.load(sys.stdin)}))
        return
    PAGE.write_text(spliced(PAGE.read_text(), "table", table()))


def table() -> str:
    """A row for every example layer that has kernels, at its default hyperparameters."""
    layers = list(dict.fromkeys((case.file, case.layer) for case in CASES))
    compiled = {name: _compiled(*name) for name in layers}
    fused = [name for name in layers if "KERNELS" in compiled[name].source]
    ran = _interpreted(fused)
    rows = [_row(name, compiled[name], ran[name[1]]) for name in fused]
    return "\n".join([*HEAD, *rows]) + "\n"


def _compiled(file: str, layer: str) -> Compiled:
    return tl.compile(ROOT / "examples" / f"{file}.tl", target="triton", layers=[layer])


def _row(name: tuple[str, str], compiled: Compiled, ran: tuple[float, int]) -> str:
    reports: list[KernelReport] = check(compiled.source, ARCH)
    plans = [plan for unit in compiled.units for plan in unit.plans.values()]
    families = Counter(r.backend for plan in plans for r in plan.regions if r.backend != "torch")
    moved, least = (sum(count(plan) for plan in plans) for count in (_moved, _least))
    cells = (
        f"{name[0]}: {name[1]}",
        ", ".join(f"{n} × {family}" for family, n in sorted(families.items())),
        f"{ran[0]:.0e}",
        str(ran[1]),
        str(max(r.registers for r in reports)),
        str(max(r.spills for r in reports)),
        f"{max(r.shared for r in reports) / 1024:.0f} KiB",
        f"{moved / least:.1f}",
    )
    return f"| {' | '.join(cells)} |"


def _moved(plan: Plan) -> float:
    return sum(at(region.regimes[0].cost.bytes, {}) for region in plan.regions)


def _least(plan: Plan) -> float:
    """Inputs, params and results, each once."""
    shapes = typed_shapes(plan)
    inside = {slot for region in plan.regions for slot in region.outputs}
    read = {slot for region in plan.regions for slot in region.inputs} - inside
    return sum(at(held_bytes(slot, shapes), {}) for slot in {*read, *plan.outputs})


# --- in the interpreter --------------------------------------------------------------------------
def _case(layer: str) -> Case:
    return next(case for case in CASES if case.layer == layer)


def _interpreted(names: list[tuple[str, str]]) -> dict[str, tuple[float, int]]:
    """The error of float32 against float64, and operators called by a forward pass, by layer."""
    root = os.environ.get("TENSORLANG_CACHE") or Path.home() / ".cache" / "tensorlang"
    folder = Path(root) / "interpreted"
    folder.mkdir(parents=True, exist_ok=True)
    paths = {layer: folder / f"{_digest(_case(layer))}.json" for _, layer in names}
    missing = [layer for layer, path in paths.items() if not path.exists()]
    if missing:
        done = subprocess.run(
            [sys.executable, "-m", "docs.build_kernels", "--interpreted"],
            input=json.dumps(missing),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            cwd=ROOT,
            env={**os.environ, "TRITON_INTERPRET": "1"},
        )
        for layer, found in json.loads(done.stdout.splitlines()[-1]).items():
            paths[layer].write_text(json.dumps(found))
    return {layer: tuple(json.loads(path.read_text())) for layer, path in paths.items()}


def _digest(case: Case) -> str:
    hypers = {case.layer: dict(case.hypers)}
    made = tl.compile(case.path, target="triton", bind=hypers, layers=[case.layer])
    return hashlib.sha256(made.source.encode()).hexdigest()[:24]


class _Calls(TorchDispatchMode):
    count = 0

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += op.namespace.startswith("tensorlang_")
        return op(*args, **(kwargs or {}))


def _run(case: Case) -> tuple[float, int]:
    torch.manual_seed(0)
    module = getattr(tl.load(case.path, target="triton"), case.layer)(**case.hypers)
    exact = getattr(tl.load(case.path), case.layer)(**case.hypers)
    given = [x.float() if x.is_floating_point() else x for x in case.draw(SMALL)]
    with torch.no_grad():
        for param in module.parameters():
            param.normal_()
        exact.load_state_dict(module.state_dict())
        with _Calls() as calls:
            made = module(*given)
        want = exact.double()(*(x.double() if x.is_floating_point() else x for x in given))
    pairs = zip(_tuple(made), _tuple(want), strict=True)
    return max(float((y - w).abs().max() / w.abs().max()) for y, w in pairs), calls.count


def _tuple(x: Any) -> tuple[Any, ...]:
    return x if isinstance(x, tuple) else (x,)


if __name__ == "__main__":
    main(sys.argv[1:])

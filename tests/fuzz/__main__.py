"""`python -m tests.fuzz N`: run N random programs; resumes where the state file says it stopped."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tests.fuzz.cases import Mismatch
from tests.fuzz.citizens import asked
from tests.fuzz.compare import compare
from tests.fuzz.decisions import seeded
from tests.fuzz.interpreted import Interpreter
from tests.fuzz.programs import program
from tests.fuzz.shrink import shrink

SAVE_EVERY = 5.0  # seconds
Failing = Callable[[str], Mismatch | None]


def main() -> int:
    """Run the programs of one shard; exit code 1 if one of them failed, now or earlier."""
    options = _options()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    state = {"next": 0, "compared": 0, "failed": []}
    if options.state.exists():
        state = json.loads(options.state.read_text())
    shard, shards = map(int, options.shard.split("/"))
    numbers = [k for k in range(state["next"], options.count) if k % shards == shard]
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[failed]} failed"))
    interpreter = Interpreter() if options.interpret else None
    saved = time.monotonic()
    with Progress(*columns, TimeRemainingColumn()) as progress:
        task = progress.add_task("programs", total=len(numbers), failed=len(state["failed"]))
        for number in numbers:
            if found := _check(options, number, interpreter, state):
                path, text = found
                state["failed"].append([number, str(path)])
                progress.console.print(text, markup=False, soft_wrap=True, highlight=False)
            state["next"] = number + 1
            if found or time.monotonic() - saved > SAVE_EVERY or number == numbers[-1]:
                options.state.write_text(json.dumps(state))
                saved = time.monotonic()
            progress.update(task, advance=1, failed=len(state["failed"]))
    print(
        f"{state['next']} programs ({state['compared']} draws compared in this shard), "
        f"{len(state['failed'])} failed"
    )
    return 1 if state["failed"] else 0


def _check(
    options: argparse.Namespace,
    number: int,
    interpreter: Interpreter | None,
    state: dict[str, int],
) -> tuple[Path, str] | None:
    """File and text of a failure, its program shrunk; None if all is well."""
    text = program(seeded(f"{options.seed}/{number}"))

    def here(text: str) -> Mismatch | None:
        try:
            state["compared"] += compare(text, number, checks=asked(number, options.checks))
        except Mismatch as mismatch:
            return mismatch
        return None

    ways: list[Failing] = [here]
    if interpreter is not None and number % options.interpret == 0:
        worker = interpreter
        ways.append(lambda text: worker.compare(text, number))
    for way in ways:
        found = way(text)
        if found is None:
            continue
        refused = found.kind.startswith("refused")
        small = text if options.as_drawn or refused else _shrunk(text, way, found)
        wrong = way(small) or found
        path: Path = options.out / f"{hashlib.sha256(small.encode()).hexdigest()[:12]}.tl"
        path.write_text(small)
        return path, f"program {number}: {wrong}\n{path}\n{small}"
    return None


def _shrunk(text: str, way: Failing, found: Mismatch) -> str:
    def fails(candidate: str) -> bool:
        again = way(candidate)
        return again is not None and again.kind == found.kind

    return shrink(text, fails)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("count", type=int, help="programs 0 to count - 1 of this seed")
    parser.add_argument("--shard", default="0/1", help="i/k: every k-th program from the i-th on")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("build/fuzz"), help="where failures go")
    parser.add_argument("--state", type=Path, help="next number and failures (default: in --out)")
    parser.add_argument(
        "--interpret",
        type=int,
        default=8,
        help="every so many programs, run the Triton kernels in Triton's interpreter too; 0: never",
    )
    parser.add_argument(
        "--checks",
        type=float,
        default=1.0,
        help="so many times the usual share of programs goes through vmap, torch.compile, export"
        " and second derivatives",
    )
    parser.add_argument("--as-drawn", action="store_true", help="do not shrink failing programs")
    options = parser.parse_args()
    if options.state is None:
        shard = options.shard.replace("/", "_of_")
        options.state = options.out / f"state_{options.seed}_{shard}.json"
    return options


if __name__ == "__main__":
    sys.exit(main())

"""`python -m tests.fuzz N`: run N random programs; resumes where the state file says it stopped."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path
from random import Random

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tests.fuzz.compare import Mismatch, compare
from tests.fuzz.programs import program
from tests.fuzz.shrink import shrink


def main() -> int:
    """Run the programs of one shard; exit code 1 if one of them failed, now or earlier."""
    options = _options()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    shard, shards = map(int, options.shard.split("/"))
    state_file = options.out / f"state_{options.seed}_{shard}_of_{shards}.json"
    state = json.loads(state_file.read_text()) if state_file.exists() else {"next": 0, "failed": []}
    numbers = [k for k in range(state["next"], options.count) if k % shards == shard]
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[failed]} failed"),
        TimeRemainingColumn(),
    )
    with Progress(*columns) as progress:
        task = progress.add_task("programs", total=len(numbers), failed=len(state["failed"]))
        for number in numbers:
            found = check(options.seed, number)
            if found is not None:
                path = options.out / f"{hashlib.sha256(found[0].encode()).hexdigest()[:12]}.tl"
                path.write_text(found[0])
                state["failed"].append([number, str(path)])
                progress.console.print(
                    f"program {number}: {found[1]}\n{path}\n{found[0]}", markup=False
                )
            state["next"] = number + 1
            state_file.write_text(json.dumps(state))
            progress.update(task, advance=1, failed=len(state["failed"]))
    print(f"{state['next']} programs, {len(state['failed'])} failed")
    return 1 if state["failed"] else 0


def check(seed: int, number: int) -> tuple[str, str] | None:
    """The shrunk program and what is wrong with it, or None."""
    text = program(Random(f"{seed}/{number}"))
    wrong = failure(text, number)
    if wrong is None:
        return None
    kind = _kind(wrong)
    small = shrink(text, lambda candidate: _kind(failure(candidate, number)) == kind)
    return small, failure(small, number) or wrong


def failure(text: str, number: int) -> str | None:
    try:
        compare(text, number)
    except Mismatch as mismatch:
        return mismatch.what
    return None


def _kind(wrong: str | None) -> str:
    """What stays the same while a program is made shorter."""
    if wrong is None:
        return ""
    words = wrong.replace("{", " ").split()
    known = [w for w in ("refuses", "compiling", "running", "off", "slope") if w in words]
    code = next((w for w in words if "[E0" in w or w.endswith("Error:")), "")
    return f"{known[:1]} {code}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int)
    parser.add_argument("--shard", default="0/1", help="k/n: every n-th program from the k-th on")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("build/fuzz"), help="state and failures")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

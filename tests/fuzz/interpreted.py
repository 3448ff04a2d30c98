"""The triton target with its kernels run by Triton's interpreter, in a process of its own.

Triton reads TRITON_INTERPRET when it is imported. One line of JSON asks, one answers.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

from tests.fuzz.cases import Mismatch
from tests.fuzz.compare import compare


class Interpreter:
    """A worker process, started at its first question."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[str] | None = None

    def compare(self, text: str, seed: int) -> Mismatch | None:
        """What is wrong with the kernels of a program."""
        if self.process is None:
            self.process = subprocess.Popen(
                [sys.executable, "-m", __name__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, "TRITON_INTERPRET": "1"},
            )
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps([text, seed]) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            self.process = None
            return Mismatch("interpreter died", "the process of Triton's interpreter ended")
        kind, what = json.loads(line)
        return Mismatch(kind, what) if kind else None


def main() -> None:
    for line in sys.stdin:
        text, seed = json.loads(line)
        answer = ("", "")
        try:
            compare(text, seed, ({"target": "triton"},))
        except Mismatch as found:
            answer = (f"interpreted: {found.kind}", str(found))
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()

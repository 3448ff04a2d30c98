"""The benchmark of kernels runs at toy sizes where there is no GPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.gpu_workloads import WORKLOADS

pytest.importorskip("triton")
ROOT = Path(__file__).parent.parent


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def test_every_workload_at_toy_sizes() -> None:
    done = _run("--toy")
    assert done.returncode == 0, done.stderr[-4000:]
    for workload in WORKLOADS:
        assert f"### {workload.title}" in done.stdout
        for name in workload.peers:  # raced, or why not
            assert name in done.stdout
    assert done.stdout.count("| tensorlang triton |") == 2 * len(WORKLOADS)
    assert "TOO MUCH" not in done.stdout and "another value" not in done.stdout


def test_without_a_gpu_it_says_so() -> None:
    done = _run("axial")
    assert done.returncode == 2 and "--toy" in done.stderr

"""Emitted modules as real files: what a reader sees in tests/golden is what users get.

`UPDATE=1 pytest tests/test_torch_golden.py` writes them anew (refused where CI is set).
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import tensorlang as tl

GOLDEN = Path(__file__).parent / "golden"
EXAMPLES = Path(__file__).parent.parent / "examples"

FILES: dict[str, tuple[str, tuple[str, ...] | None, dict[str, Any]]] = {
    "axial": ("axial", None, {"d": 128}),
    "conv2d": ("conv2d", None, {}),
    "grassmann": ("grassmann", None, {}),
    "linear": ("linear", None, {}),
    "message_passing": ("message_passing", None, {}),
    "third_order": ("third_order", None, {}),
    "third_order_causal": (
        "third_order",
        ("ThirdOrderAttention",),
        {"ThirdOrderAttention": {"causal": True}},
    ),
}
"""File name: the example, its layers (None: all), hyperparameters."""

every_file = pytest.mark.parametrize("name", FILES)


def _emitted(name: str) -> str:
    example, layers, bind = FILES[name]
    text: str = tl.compile(EXAMPLES / f"{example}.tl", layers=layers, bind=bind).source
    # the version is no part of what a golden pins
    return text.replace(f"TensorLang {tl.__version__} ", "TensorLang ", 1)


@every_file
def test_the_emitted_file_is_the_golden_one(name: str) -> None:
    path = GOLDEN / f"{name}.py"
    if os.environ.get("UPDATE"):
        assert not os.environ.get("CI"), "goldens are not written in CI"
        path.write_text(_emitted(name), encoding="utf-8")
    golden = path.read_text(encoding="utf-8")
    assert golden.strip(), f"{name}.py is empty"
    assert _emitted(name) == golden, "UPDATE=1 writes it anew"


@every_file
def test_a_formatter_and_a_linter_find_nothing_to_mend(name: str) -> None:
    ruff = [sys.executable, "-m", "ruff"]
    options = ["--isolated", "--line-length", "100", "--target-version", "py311", "-"]
    rules = ["--select", "E,F,I,B,UP,C4,SIM"]
    for command in (["format", "--diff"], ["check", *rules]):
        done = subprocess.run(
            [*ruff, *command, *options], input=_emitted(name), capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr

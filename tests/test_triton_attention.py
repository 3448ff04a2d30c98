"""Attention kernels in Triton's interpreter (tests/interpreted_attention.py)."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tests.interpreted import in_a_process
from tests.interpreted_attention import CHECKS


@pytest.fixture(scope="module")
def results() -> Mapping[str, str | None]:
    """What every check said."""
    return in_a_process("tests.interpreted_attention")


@pytest.mark.parametrize("name", CHECKS)
def test_in_the_interpreter(name: str, results: Mapping[str, str | None]) -> None:
    if results[name] is not None:
        pytest.fail(results[name], pytrace=False)

"""Random well-typed programs: every target agrees with the reference, in values and derivatives."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, note, settings

from tests.fuzz.citizens import asked
from tests.fuzz.compare import compare, variants
from tests.fuzz.decisions import Decisions, decisions, seeded
from tests.fuzz.programs import program

CHUNKS = 6
FOUND = Path(__file__).parent / "fuzz" / "found"


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_programs_of_a_fixed_seed(chunk: int) -> None:
    """300 programs; `python -m tests.fuzz 300` shrinks what fails here."""
    for number in range(chunk, 300, CHUNKS):
        text = program(seeded(f"0/{number}"))
        both, off = variants(number)[:2], variants(number)[2 + number % 2]
        try:
            compare(text, number, (*both, off), asked(number))
        except Exception as error:
            error.add_note(f"program {number} of seed 0:\n{text}")
            raise


@settings(
    max_examples=30,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.generate, Phase.shrink),
)
@given(decisions())
def test_programs_that_hypothesis_draws(source: Decisions) -> None:
    text = program(source)
    note(text)
    compare(text, 0, variants(0)[:2])


def test_equal_seeds_draw_equal_programs() -> None:
    assert program(seeded("0/7")) == program(seeded("0/7")) != program(seeded("0/8"))


@pytest.mark.parametrize("path", sorted(FOUND.glob("*.tl")), ids=lambda path: path.stem)
def test_programs_that_failed_once(path: Path) -> None:
    """Random programs on which a target once differed, shrunk."""
    for seed in range(3):
        assert compare(path.read_text(), seed, checks=("vmap", "curved"))

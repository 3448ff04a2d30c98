"""The table of docs/triton.md has every example layer with kernels; `make docs` fills it in."""

from __future__ import annotations

from docs.build_kernels import HEAD, PAGE
from tests.example_cases import CASES


def test_the_table_names_layers_that_are_there() -> None:
    part = PAGE.read_text().split("<!-- table -->\n")[1].split("<!-- end table -->")[0]
    head, rule, *rows = part.splitlines()
    assert (head, rule) == HEAD
    layers = {f"{case.file}: {case.layer}" for case in CASES}
    named = [row.split("|")[1].strip() for row in rows]
    assert named and set(named) <= layers and len(set(named)) == len(named)
    for row in rows:
        assert row.split("|")[6].strip() == "0", f"spills: {row}"

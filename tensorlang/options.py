"""What a compilation may be told. Every field is hashed into the header of the emitted file."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class Options:
    """Options of one compilation; equal options and sources give equal bytes.

    `without` names rewrites that are off. `ranges` bounds dynamic sizes as (dim, least, most).
    `memory` bounds the bytes of intermediates. `profile` names the device whose costs are assumed,
    or the file of one that `tensorlang profile` measured. `path_finder` is "auto" or "cotengra".
    `dtype` is the default dtype of parameters ("float32" unless given). `index_checks` keeps the
    range check of gathered indices in eager runs on the CPU. `tune` is a file of configurations
    of kernels that `tensorlang tune` measured.
    """

    target: str = "torch"
    profile: str = "cpu"
    without: tuple[str, ...] = ()
    ranges: tuple[tuple[str, int, int], ...] = ()
    memory: int | None = None
    dtype: str | None = None
    index_checks: bool = True
    path_finder: str = "auto"
    tune: str | None = None

    def text(self) -> str:
        """The options that differ from their defaults, as the header states them."""
        changed = [
            f"{field.name}={getattr(self, field.name)!r}"
            for field in fields(self)
            if field.name == "target" or getattr(self, field.name) != field.default
        ]
        return " ".join(changed)

"""Tune files: measured launch configurations by kernel, as `tensorlang tune` writes them.

A kernel is told by a hash of its text, so a file serves any spec that has the same kernels, and an
entry for a kernel that has changed since is not used.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tensorlang.requests import BadRequest

ANY = "any"
"""Precision of kernels that have one configuration for all dtypes."""
PRECISIONS = ("half", "float", "double", ANY)
_FORM = 1
_FIELDS = {"kernel", "names", "precision", "arch", "triton", "blocks", "warps", "stages"}


@dataclass(frozen=True, slots=True)
class Entry:
    """The configuration found best for the kernels that one launch constant serves.

    `kernel` is the hash of their texts, `names` what they were called; `arch` is sm_90 or gfx942.
    """

    kernel: str
    names: tuple[str, ...]
    precision: str
    arch: str
    triton: str
    blocks: tuple[tuple[str, int], ...]
    warps: int
    stages: int

    @property
    def chip(self) -> str:
        """The chip as emitted modules tell them apart. Raises BadRequest for another."""
        if re.fullmatch(r"gfx9\w+", self.arch):
            return "cdna"
        found = re.fullmatch(r"sm_(\d{2,3})", self.arch)
        if found is None or int(found[1]) < 80:
            raise BadRequest(
                f"tuned for {self.arch!r}; kernels are tuned for sm_80 and later, gfx9"
            )
        return "hopper" if int(found[1]) >= 90 else "ampere"


def read(path: str) -> tuple[Entry, ...]:
    """The entries of a file, of each kernel, precision and chip that of the latest Triton.

    Raises BadRequest for a file that cannot be read or contradicts itself.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadRequest(f"cannot read the tune file {path}: {error}") from None
    try:
        made = json.loads(text)
    except ValueError as error:
        raise BadRequest(f"{path} is no tune file: {error}") from None
    if not isinstance(made, dict) or made.get("form") != _FORM:
        raise BadRequest(f'{path} is no tune file: it has no "form": {_FORM}')
    entries = made.get("entries")
    if not isinstance(entries, list):
        raise BadRequest(f"{path} is no tune file: it has no list of entries")
    latest: dict[tuple[str, str, str], Entry] = {}
    for number, given in enumerate(entries, 1):
        try:
            entry = _entry(given)
            key = (entry.kernel, entry.precision, entry.chip if entry.precision != ANY else ANY)
        except BadRequest as error:
            raise BadRequest(f"{path}: entry {number}: {error}") from None
        other = latest.get(key)
        if other is not None and other.arch != entry.arch:
            archs = f"{other.arch} and {entry.arch}"
            raise BadRequest(f"{path}: entry {number}: one configuration would serve {archs}")
        if other is None or _version(entry.triton) >= _version(other.triton):
            latest[key] = entry
    return tuple(latest.values())


def _entry(given: Any) -> Entry:
    if not isinstance(given, Mapping) or given.keys() != _FIELDS:
        raise BadRequest(f"it has the fields {', '.join(sorted(_FIELDS))}")
    texts = [given[name] for name in ("kernel", "precision", "arch", "triton")]
    names, blocks = given["names"], given["blocks"]
    if not all(isinstance(text, str) for text in [*texts, *_listed(names)]):
        raise BadRequest("kernel, names, precision, arch and triton are text")
    if given["precision"] not in PRECISIONS:
        raise BadRequest(f"a precision is one of {', '.join(PRECISIONS)}")
    if not isinstance(blocks, Mapping) or not blocks:
        raise BadRequest('blocks are given as {"BM": 64}')
    for what, value in [*blocks.items(), ("warps", given["warps"])]:
        if type(value) is not int or value < 1 or value & (value - 1):
            raise BadRequest(f"{what} is {value!r}, no power of two")
    if type(given["stages"]) is not int or not 1 <= given["stages"] <= 8 or given["warps"] > 32:
        raise BadRequest("there are 1 to 32 warps and 1 to 8 stages")
    kernel, precision, arch, triton = texts
    sides = tuple(blocks.items())
    return Entry(
        kernel, tuple(names), precision, arch, triton, sides, given["warps"], given["stages"]
    )


def _listed(names: Any) -> list[Any]:
    return names if isinstance(names, list) else [None]


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text))


def merged(before: Sequence[Entry], made: Sequence[Entry]) -> tuple[Entry, ...]:
    """New entries, and the older ones of other kernels, precisions and chips."""
    taken = {(e.kernel, e.precision, e.arch) for e in made}
    kept = [e for e in before if (e.kernel, e.precision, e.arch) not in taken]
    return (*kept, *made)


def to_json(entries: Sequence[Entry]) -> str:
    """The text of a tune file."""
    rows = [
        {
            "kernel": e.kernel,
            "names": list(e.names),
            "precision": e.precision,
            "arch": e.arch,
            "triton": e.triton,
            "blocks": dict(e.blocks),
            "warps": e.warps,
            "stages": e.stages,
        }
        for e in entries
    ]
    return json.dumps({"form": _FORM, "entries": rows}, indent=2) + "\n"


def fingerprint(path: str) -> str:
    """The file's name and a hash of its content, for the header of what was compiled with it."""
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise BadRequest(f"cannot read the tune file {path}: {error}") from None
    return f"{Path(path).name}:{hashlib.sha256(content).hexdigest()[:12]}"

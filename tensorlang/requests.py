"""What a user may ask for on the command line or in Python, parsed; errors for bad requests."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from tensorlang.check.constant import evaluate
from tensorlang.check.program import Value
from tensorlang.diagnostics import Diagnostic, SpecError
from tensorlang.source import Source
from tensorlang.syntax.parse import parse


class BadRequest(TypeError):
    """A layer, hyperparameter, input or option that does not exist, or an impossible value."""


class BadShape(ValueError):
    """Shapes that do not fit the layer."""


_BIND = re.compile(r"\s*(?:(?P<layer>\w+)\.)?(?P<name>\w+)\s*=(?P<value>[^\n\r]*)", re.DOTALL)
_RANGE = re.compile(r"\s*(?P<dim>\w+|\.\.\.)\s*=\s*(?P<least>\d+)\s*:\s*(?P<most>\d+)\s*")
_SIZES = re.compile(r"\s*(?P<dim>\w+|\.\.\.)\s*=\s*(?P<sizes>\d+(?:\s*,\s*\d+)*)\s*")
_MEMORY = re.compile(r"\s*(?P<count>\d+(?:\.\d+)?)\s*(?P<unit>[KMGT]?B?)\s*", re.IGNORECASE)


def binds(texts: Iterable[str]) -> dict[str, Any]:
    """`["d=64", "Block.heads=4"]` as `compile` takes it; values as the language writes them."""
    out: dict[str, Any] = {}
    for text in texts:
        found = _BIND.fullmatch(text)
        if found is None:
            raise BadRequest(f"--bind takes [LAYER.]NAME=VALUE, not {text!r}")
        layer, name, value = found.group("layer", "name", "value")
        place = out if layer is None else out.setdefault(layer, {})
        place[name] = _value(text, value)
    return out


def value(text: str) -> Value:
    """A value as the language writes it: 64, 0.2, [8, 8]."""
    return _value(text, text, "")


def _value(text: str, value: str, option: str = "--bind ") -> Value:
    """Evaluate a value of the language, such as 64, 2^10, true, [1, 2, 4] or "x"."""
    source = Source(f"{option}{text}", f"layer L(x = {value}):\n    output Y[] = 0\n")
    faults: list[Diagnostic] = []
    try:
        (layer,) = parse(source).items
        (hyper,) = layer.hypers  # type: ignore[union-attr]
    except (SpecError, ValueError):
        shown = f"{text[:60]}…" if len(text) > 60 else text
        raise BadRequest(f"{option}{shown}: this is no value of the language") from None
    assert hyper.default is not None
    made = evaluate(hyper.default, {}, faults.append, mode="value")
    if made is None:
        raise BadRequest(f"{option}{text}: {faults[0].message()}")
    return made


def ranges(texts: Iterable[str]) -> tuple[tuple[str, int, int], ...]:
    """`["n=1:4096"]` as Options.ranges."""
    out = []
    for text in texts:
        found = _RANGE.fullmatch(text)
        if found is None or int(found["least"]) > int(found["most"]):
            raise BadRequest(f"--range takes DIM=LEAST:MOST, such as n=1:4096, not {text!r}")
        out.append((found["dim"], int(found["least"]), int(found["most"])))
    return tuple(out)


def range_options(given: Mapping[str, tuple[int, int]]) -> tuple[tuple[str, int, int], ...]:
    """`{"n": (1, 4096)}` as Options.ranges."""
    out = []
    for dim, limits in given.items():
        if not (isinstance(limits, list | tuple) and len(limits) == 2 and limits[0] <= limits[1]):
            raise BadRequest(f"a range is (least, most), such as (1, 4096): {dim} has {limits!r}")
        out.append((dim, int(limits[0]), int(limits[1])))
    return tuple(out)


def memory(text: str | None) -> int | None:
    """`2GB` as bytes."""
    if text is None:
        return None
    found = _MEMORY.fullmatch(text)
    if found is None:
        raise BadRequest(f"--memory takes a size such as 2GB or 512MB, not {text!r}")
    scale = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}[found["unit"].upper().rstrip("B")]
    return int(float(found["count"]) * 1024**scale)


def sizes(texts: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """`["n=1,16,256"]` as sizes by dim; `batch` is the size of `...`."""
    out = {}
    for text in texts:
        found = _SIZES.fullmatch(text)
        if found is None:
            raise BadRequest(f"--at takes DIM=SIZE,SIZE,..., such as n=1,16,256, not {text!r}")
        out[found["dim"]] = tuple(int(size) for size in found["sizes"].split(","))
    return out


def shapes(texts: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """`["X=2,64,128"]` as shapes by input name; `X=` is a scalar."""
    out = {}
    for text in texts:
        name, equals, sizes = text.partition("=")
        parts = [part.strip() for part in sizes.split(",") if part.strip()]
        if equals and all(re.fullmatch(r"[0-9]{1,15}", part) for part in parts):
            out[name.strip()] = tuple(map(int, parts))
        else:
            raise BadRequest(f"a shape is given as NAME=SIZE,SIZE,..., not {text!r}")
    return out

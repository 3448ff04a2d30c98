"""What a device charges for a step: arithmetic at the rate that a shape reaches, bytes, a call.

The figures rank plans, they do not predict times. `tensorlang profile` measures those of a device.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

_FRESH = 1 << 25  # bytes from which malloc of glibc asks the system
Curve = tuple[tuple[int, float], ...]
"""Share of the full rate by the extent of a side, ascending; between points on a log scale."""


@dataclass(frozen=True, slots=True)
class Profile:
    """`flops` per second of a large square GEMM, bytes per second, seconds of a call.

    `rows`, `columns`, `inner` are the shares of the full rate that a GEMM [m, k] x [k, n] reaches
    when only m, only n, only k is small; `batched` that of many small square ones. `bandwidth` is
    that of large tensors, `cached` how many times more passes over fewer bytes reach. `copy` is
    the rate in bytes per second (read and written) at which axes are permuted. `loop` is the
    seconds of an inner loop of a product that broadcasts, `fresh` the seconds per byte of results
    so large that their memory is asked of the system every time.
    """

    name: str
    flops: float
    bandwidth: float
    copy: float
    launch: float
    rows: Curve
    columns: Curve
    inner: Curve
    batched: Curve
    cached: Curve
    loop: float = 0.0
    fresh: float = 0.0

    def _pass(self, moved: float) -> float:
        extent = max(moved, self.cached[0][0])
        return moved / (self.bandwidth * share(self.cached, extent))

    def gemm(self, batch: float, m: float, n: float, k: float, moved: float) -> float:
        """Seconds for `batch` products of [m, k] and [k, n] that move this many bytes."""
        work = 2.0 * batch * m * n * k
        reached = share(self.rows, m) * share(self.columns, n) * share(self.inner, k)
        calls = 1.0
        if batch > 1:
            thin = min(1.0, 2 * share(self.rows, min(m, n)))  # a vector reaches less than a cube
            reached = min(reached, thin * share(self.batched, (m * n * k) ** (1 / 3)))
            calls += thin < 1.0  # its axis comes and goes
        arithmetic = work / (self.flops * max(reached, 1e-4))
        return max(arithmetic, self._pass(moved)) + calls * self.launch

    def product(self, loops: float, moved: float) -> float:
        """Seconds for a product without a sum: a pass, in so many inner loops."""
        return self._pass(moved) + self.loop * loops + self.launch

    def first_touch(self, made: float) -> float:
        """Seconds to touch memory first: a result of few bytes reuses what was freed."""
        return self.fresh * made if made >= _FRESH else 0.0

    def permuted(self, moved: float) -> float:
        """Seconds to copy a tensor into another order of axes, bytes read and written."""
        extent = max(moved, self.cached[0][0])
        return moved / (self.copy * share(self.cached, extent)) + self.launch

    def stream(self, moved: float) -> float:
        """Seconds for a pointwise pass over this many bytes."""
        return self._pass(moved) + self.launch


def share(curve: Curve, extent: float) -> float:
    """The curve at an extent."""
    below = curve[0]
    if extent <= below[0]:
        return below[1] * extent / below[0]
    for above in curve[1:]:
        if extent <= above[0]:
            part = math.log(extent / below[0]) / math.log(above[0] / below[0])
            return float(below[1] * (above[1] / below[1]) ** part)
        below = above
    return below[1]


def half_at(extent: float) -> Curve:
    """The curve x / (x + extent): half the rate at `extent`."""
    return tuple((1 << k, (1 << k) / ((1 << k) + extent)) for k in range(11))


# Where the numbers come from. cpu: fitted to GEMMs, passes and copies on one core of a server with
# AVX-512. a100, h100, h200: published peaks of tensor cores in TF32 with what large GEMMs reach of
# them, and of memory; sides are half at the extent of a tile, a call is a launch from Python.
# generic: a GPU of a few years ago, for rankings that suit no device in particular.
# flops: arithmetic alone, the rest is free: orders are those of fewest operations.
_FREE: Curve = ((1, 1.0),)


def _gpu(name: str, flops: float, bandwidth: float, tile: float) -> Profile:
    curve = half_at(tile)
    return Profile(name, flops, bandwidth, bandwidth / 2, 5e-6, curve, curve, curve, curve, _FREE)


_CPU_SIDE: Curve = (
    (1, 0.08), (2, 0.11), (4, 0.2), (8, 0.4), (16, 0.7), (32, 0.88), (64, 0.95), (128, 1.0)
)  # fmt: skip
_CPU_BATCHED: Curve = (
    (1, 0.003), (2, 0.006), (4, 0.01), (8, 0.09), (13, 0.18), (20, 0.3), (32, 0.62), (64, 0.75),
    (128, 0.9), (256, 1.0)
)  # fmt: skip
_CPU_CACHED: Curve = (
    (3 << 19, 5.0),
    (3 << 20, 1.7),
    (3 << 23, 1.5),
    (3 << 24, 1.1),
    (3 << 25, 1.0),
)
PROFILES: Mapping[str, Profile] = {
    profile.name: profile
    for profile in (
        Profile(
            "cpu",
            2.1e11,
            1.8e10,
            1e10,
            3e-6,
            _CPU_SIDE,
            _CPU_SIDE,
            _CPU_SIDE,
            _CPU_BATCHED,
            _CPU_CACHED,
            loop=1.5e-9,
            fresh=3.5e-10,
        ),
        _gpu("generic", 1e13, 5e11, 24.0),
        _gpu("a100", 1e14, 1.6e12, 32.0),
        _gpu("h100", 3e14, 2.8e12, 48.0),
        _gpu("h200", 3e14, 4.0e12, 48.0),
        Profile("flops", 1e12, math.inf, math.inf, 0.0, _FREE, _FREE, _FREE, _FREE, _FREE),
    )
}


class BadProfile(ValueError):
    """A profile that does not exist or cannot be read."""


def profile_of(name: str) -> Profile:
    """A shipped profile by its name, or one of your own by the path of its .json file.

    Raises BadProfile.
    """
    if name in PROFILES:
        return PROFILES[name]
    if not name.endswith(".json"):
        known = ", ".join(PROFILES)
        raise BadProfile(f"there is no profile {name!r}; there are {known}, or give a .json file")
    return read(_text(name))


def fingerprint(name: str) -> str:
    """What tells one profile from another in the header of a file: a name or a content's hash."""
    if name in PROFILES or not name.endswith(".json"):
        return name
    return f"{Path(name).name}:{hashlib.sha256(_text(name).encode()).hexdigest()[:12]}"


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadProfile(f"cannot read the profile {path}: {error}") from None


def to_json(profile: Profile) -> str:
    """The profile as the file that `profile_of` reads."""
    return json.dumps(asdict(profile), indent=2) + "\n"


@lru_cache(maxsize=64)
def read(text: str) -> Profile:
    """The profile that a JSON text states. Raises BadProfile."""
    try:
        given: Any = json.loads(text)
        curves = {
            key: tuple((int(extent), _positive(part)) for extent, part in given[key])
            for key in ("rows", "columns", "inner", "batched", "cached")
        }
        numbers = {key: _positive(given[key]) for key in ("flops", "bandwidth", "copy", "launch")}
        made = Profile(
            str(given["name"]),
            numbers["flops"],
            numbers["bandwidth"],
            numbers["copy"],
            numbers["launch"],
            curves["rows"],
            curves["columns"],
            curves["inner"],
            curves["batched"],
            curves["cached"],
            *(_at_least_zero(given.get(key, 0.0)) for key in ("loop", "fresh")),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise BadProfile(f"this is no profile of a device: {error!r}") from None
    for curve in curves.values():
        extents = [extent for extent, _ in curve]
        if not extents or extents[0] < 1 or extents != sorted(set(extents)):
            raise BadProfile(f"extents of a curve must ascend from 1 or more, got {extents}")
    return made


def _at_least_zero(value: Any) -> float:
    return _positive(value) if value else 0.0


def _positive(value: Any) -> float:
    out = float(value)
    if not 0 < out < math.inf:
        raise ValueError(f"{value!r} is not positive")
    return out

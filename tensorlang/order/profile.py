"""What a device charges for a step: arithmetic at the rate that a shape reaches, bytes, a launch.

Order-of-magnitude figures; they rank plans, they do not predict times.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Profile:
    """`flops` per second of a large GEMM, `bandwidth` in bytes per second, `launch` in seconds.

    `skinny` is the extent of a GEMM side at which half the rate is reached.
    """

    name: str
    flops: float
    bandwidth: float
    launch: float
    skinny: float

    def gemm(self, batch: float, m: float, n: float, k: float, moved: float) -> float:
        """Seconds for `batch` products of [m, k] and [k, n] that move this many bytes."""
        work = 2.0 * batch * m * n * k
        reached = 1.0
        for extent in (m, n, k):
            reached *= extent / (extent + self.skinny)
        return max(work / (self.flops * max(reached, 1e-3)), moved / self.bandwidth) + self.launch

    def stream(self, moved: float) -> float:
        """Seconds for a pointwise pass over this many bytes."""
        return moved / self.bandwidth + self.launch


PROFILES = {
    profile.name: profile
    for profile in (
        Profile("cpu", 1e11, 1.5e10, 4e-6, 6.0),
        Profile("generic", 1e13, 5e11, 5e-6, 24.0),
        Profile("a100", 1e14, 1.6e12, 5e-6, 32.0),
        Profile("h100", 3e14, 2.8e12, 5e-6, 48.0),
        Profile("h200", 3e14, 4.0e12, 5e-6, 48.0),
    )
}

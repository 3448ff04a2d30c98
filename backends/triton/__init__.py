"""The Triton target."""

from tensorlang.backends.triton.emit import emit, kernels

__all__ = ["emit", "kernels"]

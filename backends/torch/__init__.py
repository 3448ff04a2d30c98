"""The torch target: plans as stand-alone PyTorch modules."""

from tensorlang.backends.torch.emit import KernelPrinter, emit

__all__ = ["KernelPrinter", "emit"]

from tensorlang.backends.triton.kernel_ir import Kernel


def validate(kernel: Kernel) -> None:
    """Placeholder."""
